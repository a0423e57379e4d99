//! `stats`: what a node counts.

use clap::Args;
use serde_json::Value;

use crate::Failure;
use crate::api::Api;
use crate::connection::Connection;
use crate::output::{Format, Table, cell, print};

/// Nothing to choose.
#[derive(Debug, Args)]
pub struct StatsCommand {}

pub(crate) async fn run(connection: &Connection, format: Format) -> Result<(), Failure> {
    let answer = Api::new(connection)?.get("/v1/stats").await?;
    Ok(print(format, &answer, table)?)
}

/// One value a row; what belongs to a user type, a transport or a node has its name in the field.
fn table(answer: &Value) -> Table {
    let mut table = Table::new(&["field", "value"]);
    for (name, value) in answer.as_object().into_iter().flatten() {
        match value {
            Value::Object(parts) => {
                for (part, value) in parts {
                    table.row(vec![format!("{name}.{part}"), cell(Some(value))]);
                }
            }
            Value::Array(nodes) => {
                for node in nodes {
                    let field = |name| cell(node.get(name));
                    let told = format!(
                        "{} connections at {}",
                        field("connections"),
                        field("address")
                    );
                    table.row(vec![format!("{name}.{}", field("name")), told]);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                table.row(vec![name.clone(), cell(Some(value))]);
            }
        }
    }
    table
}
