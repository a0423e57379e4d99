//! `log`: what was sent to a user, a group, a ticket or everyone and is kept, with what became of it.

use clap::Args;
use serde_json::Value;

use crate::Failure;
use crate::api::{Api, encode, query};
use crate::connection::Connection;
use crate::output::{Format, Table, cell, print};

/// Which log, and which piece of it.
#[derive(Debug, Args)]
#[command(after_help = "\
One call prints one piece. Where the next one begins is printed below the table, and is `next` in JSON: give it as --after.")]
pub struct LogCommand {
    /// The user whose inbox is read.
    #[arg(required_unless_present_any = ["group", "ticket", "broadcasts"])]
    user: Option<String>,
    /// The group whose log is read.
    #[arg(long, value_name = "ID", conflicts_with_all = ["user", "ticket", "broadcasts"])]
    group: Option<String>,
    /// The ticket whose log is read.
    #[arg(long, value_name = "ID", conflicts_with_all = ["user", "broadcasts"])]
    ticket: Option<String>,
    /// Read the stored broadcasts.
    #[arg(long, conflicts_with = "user")]
    broadcasts: bool,
    #[command(flatten)]
    piece: Piece,
}

/// Which piece of a log.
#[derive(Debug, Args)]
pub(crate) struct Piece {
    /// Begin after this place, EPOCH.OFFSET.
    #[arg(long, value_name = "POSITION", conflicts_with = "since")]
    after: Option<String>,
    /// Begin with what was stored at this time, Unix milliseconds.
    #[arg(long, value_name = "MILLIS")]
    since: Option<u64>,
    /// At most so many messages, up to 1000.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
}

impl LogCommand {
    fn path(&self) -> String {
        let of = |kind: &str, id: &str| format!("/v1/{kind}/{}/log", encode(id));
        match (&self.user, &self.group, &self.ticket) {
            (Some(user), ..) => of("users", user),
            (_, Some(group), _) => of("groups", group),
            (.., Some(ticket)) => of("tickets", ticket),
            (None, None, None) => "/v1/broadcasts/log".to_owned(),
        }
    }
}

pub(crate) async fn run(
    command: &LogCommand,
    connection: &Connection,
    format: Format,
) -> Result<(), Failure> {
    read(&command.path(), &command.piece, connection, format).await
}

/// Prints one piece of a log, and where the next one begins.
pub(crate) async fn read(
    log: &str,
    piece: &Piece,
    connection: &Connection,
    format: Format,
) -> Result<(), Failure> {
    let piece = [
        ("after", piece.after.clone()),
        ("since", piece.since.map(|since| since.to_string())),
        ("limit", Some(piece.limit.to_string())),
    ];
    let path = format!("{log}{}", query(&piece));
    let answer = Api::new(connection)?.get(&path).await?;
    print(format, &answer, messages)?;
    if format == Format::Table {
        note(&answer);
    }
    Ok(())
}

fn messages(answer: &Value) -> Table {
    let mut table = Table::new(&["pos", "at", "from", "type", "content", "state"]);
    let messages = answer.get("messages").and_then(Value::as_array);
    for logged in messages.into_iter().flatten() {
        let message =
            |name: &str| cell(logged.get("message").and_then(|message| message.get(name)));
        table.row(vec![
            cell(logged.get("pos")),
            cell(logged.get("at")),
            message("from"),
            message("type"),
            message("content"),
            state(logged.get("record")).to_owned(),
        ]);
    }
    table
}

/// The last thing that became of a message.
pub(super) fn state(record: Option<&Value>) -> &'static str {
    let Some(record) = record else { return "-" };
    let has = |name: &str| record.get(name).is_some();
    match () {
        () if has("read_at") => "read",
        () if has("delivered_at") => "delivered",
        () if has("expired_at") => "expired",
        () => "accepted",
    }
}

/// For whoever watches: what is missing, and how to go on.
fn note(answer: &Value) {
    if let Some(gap) = answer.get("gap").and_then(Value::as_str) {
        eprintln!("wscctl: messages before these are missing: {gap}");
    }
    if answer.get("more") == Some(&Value::Bool(true)) {
        eprintln!(
            "wscctl: there is more: --after {}",
            cell(answer.get("next"))
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_state_of_a_message_is_the_last_that_became_of_it() {
        assert_eq!(state(None), "-");
        let mut record = json!({"sender": "a", "accepted_at": 1});
        assert_eq!(state(Some(&record)), "accepted");
        for (field, word) in [
            ("expired_at", "expired"),
            ("delivered_at", "delivered"),
            ("read_at", "read"),
        ] {
            record[field] = json!(2);
            assert_eq!(state(Some(&record)), word);
        }
    }
}
