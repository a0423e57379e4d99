//! `sessions`: who is online, and a user's sessions.

use clap::Args;
use serde_json::{Value, json};

use crate::Failure;
use crate::api::{Api, encode, query};
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
        let answer = online(&api, command.limit).await?;
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

/// The pages of the list, as one answer.
async fn online(api: &Api, limit: u32) -> Result<Value, Failure> {
    let mut users: Vec<Value> = Vec::new();
    let (mut cursor, mut total) = (None, Value::Null);
    loop {
        let left = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .saturating_sub(users.len());
        if left == 0 {
            break;
        }
        let page = [
            ("limit", Some(left.min(1000).to_string())),
            ("cursor", cursor),
        ];
        let mut answer = api
            .get(&format!("/v1/users/online{}", query(&page)))
            .await?;
        if let Some(Value::Array(page)) = answer.get_mut("users").map(Value::take) {
            users.extend(page);
        }
        total = answer.get("total").cloned().unwrap_or_default();
        cursor = answer
            .get("next_cursor")
            .and_then(Value::as_str)
            .map(ToOwned::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    let mut answer = json!({ "users": users, "total": total });
    if let (Some(cursor), Some(answer)) = (cursor, answer.as_object_mut()) {
        answer.insert("next_cursor".to_owned(), cursor.into());
    }
    Ok(answer)
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
