//! `sessions`: who is online, and a user's sessions.

use clap::Args;
use serde_json::Value;

use crate::Failure;
use crate::api::{Api, encode};
use crate::connection::Connection;
use crate::output::{Format, Table, cell, print};

/// Whose sessions.
#[derive(Debug, Args)]
pub struct SessionsCommand {
    /// The user whose sessions are listed; without one, the users online are.
    user: Option<String>,
    /// At most so many users.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub(crate) async fn run(
    command: &SessionsCommand,
    connection: &Connection,
    format: Format,
) -> Result<(), Failure> {
    let api = Api::new(connection)?;
    let Some(user) = &command.user else {
        let list = ("/v1/users/online", "users");
        let answer = api.pages(list, &[], command.limit).await?;
        return Ok(print(format, &answer, users)?);
    };
    let answer = api
        .get(&format!("/v1/users/{}/sessions", encode(user)))
        .await?;
    let sessions = answer.get("sessions").and_then(Value::as_array);
    if sessions.is_none_or(Vec::is_empty) {
        return Err(Failure::NotFound(format!("{user} has no session")));
    }
    print(format, &answer, |answer| {
        let fields = [
            "session_id",
            "user_type",
            "transport",
            "node",
            "device",
            "connected_at",
        ];
        Table::of(&fields, answer.get("sessions").unwrap_or(&Value::Null))
    })?;
    Ok(())
}

fn users(answer: &Value) -> Table {
    let mut table = Table::new(&["user"]);
    for user in answer
        .get("users")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        table.row(vec![cell(Some(user))]);
    }
    table
}
