//! How much a session may send: asked about each frame that others or the application would have to deal with.
//!
//! Pings, positions and acknowledgements that the session was asked for cost nothing: a client must be able to say that it is
//! there, and what it was told to say. Bad frames are bounded by how many come in a row.

use std::rc::Rc;
use std::time::Duration;

use super::reader::BAD_FRAMES_MAX;
use crate::admission::{Sender, TooMuch};
use crate::hub::Shard;
use crate::protocol::json::Refusal;
use crate::protocol::{Control, Disconnect, ErrorCode};
use crate::session::decide::Decision;
use crate::telemetry::Limit;
use crate::transport::Connection;

/// Whether what was decided may be done now. Otherwise the client has been told, or closed if it goes on and on.
pub(super) fn within(
    shard: &Shard,
    connection: &Rc<Connection>,
    (decision, id): (&Decision<'_>, Option<&str>),
    size: usize,
) -> bool {
    let Some(session) = connection.session() else {
        return true;
    };
    let counts = match decision {
        Decision::Publish(..) | Decision::Call(_) | Decision::Authenticate(_) => true,
        Decision::Acknowledge(ack) => !session.owed.borrow().expects(ack.about()),
        Decision::Pong(_)
        | Decision::Remember(_)
        | Decision::Refuse(_)
        | Decision::NotAuthenticated => false,
    };
    if !counts {
        return true;
    }
    let admission = &shard.context().admission;
    let Some(rules) = admission.rules().rates else {
        return true;
    };
    let fresh = || admission.meters(&session.identity().user, connection.peer().ip());
    match connection.meters(fresh).take(size, &rules) {
        Ok(()) => true,
        Err(too_much) => {
            refuse(shard, connection, too_much, id);
            false
        }
    }
}

fn refuse(shard: &Shard, connection: &Rc<Connection>, too_much: TooMuch, id: Option<&str>) {
    let TooMuch { retry_after, of } = too_much;
    let (limit, whose) = match of {
        Sender::Session => (Limit::SessionRate, "of this session"),
        Sender::User => (Limit::MessageRate, "of this user"),
        Sender::Address => (Limit::AddressRate, "from this address"),
    };
    shard.context().admission.met(limit);
    let refusal = Refusal {
        code: ErrorCode::RateLimited,
        message: format!("too many messages {whose}, this one was not taken"),
        ref_id: id.map(str::to_owned),
    };
    shard.refused(connection, &refusal);
    if connection.bad_frame() > BAD_FRAMES_MAX {
        return shard.close(connection, Disconnect::RateLimited);
    }
    later(shard, connection, &refusal, retry_after);
}

/// Tells a client that it may ask again, and when.
pub(super) fn later(
    shard: &Shard,
    connection: &Rc<Connection>,
    refusal: &Refusal,
    retry_after: Duration,
) {
    let told = Control::Limited {
        refusal,
        retry_after_ms: millis(retry_after),
    };
    shard.say(connection, &told);
}

/// At least one: zero would ask for the same answer again.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).map_or(u64::MAX, |millis| millis + 1)
}
