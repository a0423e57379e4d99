//! `kick`: ends sessions, with a reason that their clients are told.

use clap::Args;
use serde_json::Value;

use crate::Failure;
use crate::api::{Api, encode, query};
use crate::connection::Connection;
use crate::output::{Format, Table, print};

/// Whose sessions end.
#[derive(Debug, Args)]
pub struct KickCommand {
    /// The user whose sessions end, all of them.
    #[arg(required_unless_present = "session")]
    user: Option<String>,
    /// The one session that ends instead.
    #[arg(long, value_name = "ID", conflicts_with = "user")]
    session: Option<String>,
    /// Told to the client; at most 123 bytes are kept.
    #[arg(long)]
    reason: Option<String>,
}

pub(crate) async fn run(
    command: &KickCommand,
    connection: &Connection,
    format: Format,
) -> Result<(), Failure> {
    let api = Api::new(connection)?;
    let path = match (&command.session, &command.user) {
        (Some(session), _) => format!("/v1/sessions/{}", encode(session)),
        (None, user) => format!(
            "/v1/users/{}/sessions",
            encode(user.as_deref().unwrap_or_default())
        ),
    };
    let reason = query(&[("reason", command.reason.clone())]);
    let answer = api.delete(&format!("{path}{reason}")).await?;
    let count = |name| answer.get(name).and_then(Value::as_u64).unwrap_or_default();
    if count("local_sessions") == 0 && count("nodes") == 0 {
        return Err(Failure::NotFound(
            "nobody was there to be sent away".to_owned(),
        ));
    }
    Ok(print(format, &answer, Table::fields)?)
}
