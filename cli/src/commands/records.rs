//! `records`: what became of the messages of one sender, whomever they went to.

use clap::Args;
use serde_json::{Value, json};

use super::log::state;
use crate::Failure;
use crate::api::{Api, query};
use crate::connection::Connection;
use crate::output::{Format, Table, cell, print};

/// Records on one page.
const PAGE: usize = 1000;

/// Whose messages.
#[derive(Debug, Args)]
pub struct RecordsCommand {
    /// Who sent them: a user, or what a backend called itself; `system` where it named nobody.
    #[arg(long, value_name = "ID")]
    sender: String,
    /// Begin with what was sent at this time, Unix milliseconds.
    #[arg(long, value_name = "MILLIS")]
    since: Option<u64>,
    /// At most so many records.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub(crate) async fn run(
    command: &RecordsCommand,
    connection: &Connection,
    format: Format,
) -> Result<(), Failure> {
    let api = Api::new(connection)?;
    let answer = pages(&api, command).await?;
    Ok(print(format, &answer, table)?)
}

/// The pages of the list, as one answer.
async fn pages(api: &Api, command: &RecordsCommand) -> Result<Value, Failure> {
    let limit = usize::try_from(command.limit).unwrap_or(usize::MAX);
    let mut records: Vec<Value> = Vec::new();
    let mut cursor = None;
    while records.len() < limit {
        let page = [
            ("sender", Some(command.sender.clone())),
            ("since", command.since.map(|since| since.to_string())),
            ("limit", Some((limit - records.len()).min(PAGE).to_string())),
            ("cursor", cursor),
        ];
        let mut answer = api.get(&format!("/v1/records{}", query(&page))).await?;
        if let Some(Value::Array(page)) = answer.get_mut("records").map(Value::take) {
            records.extend(page);
        }
        let next = answer.get("next_cursor").and_then(Value::as_str);
        cursor = next.map(ToOwned::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    let mut answer = json!({ "records": records });
    if let (Some(cursor), Some(answer)) = (cursor, answer.as_object_mut()) {
        answer.insert("next_cursor".to_owned(), cursor.into());
    }
    Ok(answer)
}

fn table(answer: &Value) -> Table {
    let mut table = Table::new(&["at", "log", "id", "pos", "state"]);
    let records = answer.get("records").and_then(Value::as_array);
    for sent in records.into_iter().flatten() {
        let record = sent.get("record");
        table.row(vec![
            cell(record.and_then(|record| record.get("accepted_at"))),
            cell(sent.get("log")),
            cell(sent.get("id")),
            cell(sent.get("pos")),
            state(record).to_owned(),
        ]);
    }
    table
}
