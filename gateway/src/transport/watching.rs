//! The commands `presence.subscribe` and `presence.unsubscribe`: a session watches users, whatever node they are on.

use std::rc::Rc;

use serde::Deserialize;

use crate::hub::Shard;
use crate::presence::{WatchError, described};
use crate::protocol::json::Call;
use crate::protocol::{ErrorCode, RawJson, UserId};
use crate::security::Scopes;
use crate::transport::Connection;

/// Users that one command may name.
const NAMED: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Users {
    users: Vec<String>,
}

/// Runs such a command; the answer, or what to tell the client instead.
pub(super) async fn call(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    call: &Call<'_>,
) -> Result<Box<RawJson>, (ErrorCode, String)> {
    let users = users(call)?;
    if connection.key().is_of_request() {
        let message =
            "presence: changes would come when the request is over: subscribe by WebSocket or gRPC";
        return Err((ErrorCode::NotSupported, message.to_owned()));
    }
    let (desk, watcher) = (&shard.context().presence, (shard.id(), connection.key()));
    let answer = match call.kind {
        "presence.subscribe" => {
            permitted(shard, connection)?;
            let most = shard.settings().max_watched;
            let standing = desk.watch(watcher, &users, most).await;
            let standing = standing.map_err(|error| refusal(&error))?;
            if connection.is_closing() {
                desk.forget(watcher);
            }
            serde_json::json!({ "users": standing.iter().map(described).collect::<Vec<_>>() })
        }
        "presence.unsubscribe" => {
            desk.unwatch(watcher, &users);
            serde_json::json!({})
        }
        kind => {
            return Err((
                ErrorCode::BadFrame,
                format!("{kind}: there is no such command"),
            ));
        }
    };
    serde_json::value::to_raw_value(&answer)
        .map_err(|error| (ErrorCode::Unavailable, error.to_string()))
}

fn users(call: &Call<'_>) -> Result<Vec<UserId>, (ErrorCode, String)> {
    let bad = |why: String| (ErrorCode::BadFrame, why);
    let data = call.data.map_or("{}", RawJson::get);
    let named: Users = serde_json::from_str(data)
        .map_err(|error| bad(format!("expected data.users, a list of ids: {error}")))?;
    if named.users.is_empty() || named.users.len() > NAMED {
        let count = named.users.len();
        return Err(bad(format!(
            "data.users: has {count} entries, allowed are 1 to {NAMED}"
        )));
    }
    let ids = named.users.iter().enumerate();
    let ids = ids.map(|(index, id)| {
        UserId::new(id).map_err(|error| bad(format!("data.users[{index}]: {error}")))
    });
    ids.collect()
}

fn permitted(shard: &Shard, connection: &Connection) -> Result<(), (ErrorCode, String)> {
    if shard.settings().max_watched == 0 {
        let message = "presence: clients may not watch others (wsc.presence.maxWatched)";
        return Err((ErrorCode::NotSupported, message.to_owned()));
    }
    let scopes = connection
        .session()
        .map_or(Scopes::NONE, |session| session.identity().scopes);
    if scopes.contains(Scopes::PRESENCE) || scopes.contains(Scopes::ADMIN) {
        return Ok(());
    }
    let message = "presence: the token's scope lacks \"presence\"";
    Err((ErrorCode::Forbidden, message.to_owned()))
}

fn refusal(error: &WatchError) -> (ErrorCode, String) {
    let code = match error {
        WatchError::TooMany(_) => ErrorCode::Forbidden,
        WatchError::Cluster(_) => ErrorCode::Unavailable,
    };
    (code, error.to_string())
}
