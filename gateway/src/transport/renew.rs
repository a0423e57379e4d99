//! A new token over a live session: what the user may do and until when follow it; who the user is does not change, nor what
//! the application gave the session.
//!
//! A token that is refused leaves the session as it is, until the one it has is over; it counts towards lock-out all the same.

use std::rc::Rc;

use super::{rate, reader};
use crate::admission::LockedOut;
use crate::hub::Shard;
use crate::protocol::json::ClientFrame;
use crate::protocol::{Control, ErrorCode, RawJson};
use crate::security::{Grant, Identity, Scopes};
use crate::transport::Connection;

/// Takes a new token, and tells the client until when it is good.
pub(super) async fn renew(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    (frame, token): (&ClientFrame<'_>, &str),
) {
    let (admission, address) = (&shard.context().admission, connection.peer().ip());
    if let Err(LockedOut(left)) = admission.may_try_token(address, token) {
        let why = "auth: too many wrong tokens, this one was not looked at".to_owned();
        let refusal = frame.refuse(ErrorCode::RateLimited, why);
        shard.refused(connection, &refusal);
        return rate::later(shard, connection, &refusal, left);
    }
    let verified = reader::verify(shard, token).await;
    if let Some(verified) = &verified {
        admission.tried_token(address, token, verified);
    }
    let Some(session) = connection.session() else {
        return;
    };
    if connection.is_closing() {
        return;
    }
    let refusal = match verified {
        Some(Ok(identity)) => match judge(&session.identity(), connection.granted(), identity) {
            Ok(identity) => {
                let expires_at = identity.expires_at();
                shard.renew(connection, identity);
                connection.good_frame();
                return answer(shard, connection, frame.id(), expires_at);
            }
            Err(why) => (ErrorCode::Forbidden, why.to_owned()),
        },
        Some(Err(error)) => (ErrorCode::Unauthenticated, error.to_string()),
        None => {
            let why = "authentication is off: wsc.security.enableAuth".to_owned();
            (ErrorCode::NotSupported, why)
        }
    };
    let refusal = frame.refuse(refusal.0, format!("auth: {}", refusal.1));
    reader::refuse(shard, connection, &refusal);
}

/// The identity the session has from now on. Others know its user, its type and its device: these stay.
fn judge(now: &Identity, granted: Option<&Grant>, new: Identity) -> Result<Identity, &'static str> {
    if new.user != now.user {
        return Err("the token is another user's");
    }
    // The session may have another type than its token.
    let token_type = granted.map_or(&now.user_type, |grant| &grant.token_type);
    if new.user_type != *token_type {
        return Err("the token is for another user type");
    }
    let more = granted.map_or(Scopes::NONE, |grant| grant.scopes);
    Ok(Identity {
        user_type: now.user_type.clone(),
        device: now.device.clone(),
        scopes: new.scopes.with(more),
        ..new
    })
}

fn answer(shard: &Shard, connection: &Rc<Connection>, id: Option<&str>, expires_at: Option<u64>) {
    let data = serde_json::json!({ "expires_at": expires_at });
    // A number is always JSON.
    if let Ok(data) = RawJson::from_string(data.to_string()) {
        let result = Control::Result {
            ref_id: id,
            data: &data,
        };
        shard.say(connection, &result);
    }
}
