//! `revoke`: takes tokens back, one by its id or all of a user.

use clap::Args;
use serde_json::json;

use crate::Failure;
use crate::api::Api;
use crate::connection::Connection;
use crate::output::{Format, Table, print};

/// Which tokens are over.
#[derive(Debug, Args)]
#[command(after_help = "\
Their sessions are closed with 4012 on every node, and nobody comes in with them.

Examples:
  wscctl revoke alice
  wscctl revoke alice --before 1764300000
  wscctl revoke --token-id 6f9619ff-8b86-d011-b42d-00cf4fc964ff")]
pub struct RevokeCommand {
    /// The user whose tokens are over, all that were issued by now.
    #[arg(required_unless_present = "token_id")]
    user: Option<String>,
    /// The id (jti) of the one token that is over instead.
    #[arg(long, value_name = "ID", conflicts_with = "user")]
    token_id: Option<String>,
    /// Only those of the user that were issued then or before, Unix seconds.
    #[arg(long, value_name = "TIME", conflicts_with = "token_id")]
    before: Option<u64>,
}

pub(crate) async fn run(
    command: &RevokeCommand,
    connection: &Connection,
    format: Format,
) -> Result<(), Failure> {
    let api = Api::new(connection)?;
    let mut body = serde_json::Map::new();
    if let Some(id) = &command.token_id {
        body.insert("token_id".to_owned(), json!(id));
    } else {
        body.insert("user_id".to_owned(), json!(command.user));
    }
    if let Some(before) = command.before {
        body.insert("before".to_owned(), json!(before));
    }
    let answer = api.post("/v1/revocations", &body.into()).await?;
    Ok(print(format, &answer, Table::fields)?)
}
