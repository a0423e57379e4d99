//! `records`: what became of the messages of one sender, whomever they went to.

use clap::Args;
use serde_json::Value;

use super::log::state;
use crate::Failure;
use crate::api::Api;
use crate::connection::Connection;
use crate::output::{Format, Table, cell, print};

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
    let filter = [
        ("sender", Some(command.sender.clone())),
        ("since", command.since.map(|since| since.to_string())),
    ];
    let list = ("/v1/records", "records");
    let answer = api.pages(list, &filter, command.limit).await?;
    Ok(print(format, &answer, table)?)
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
