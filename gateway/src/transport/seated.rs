//! How many sessions a user may have, as two steps of opening one.
//!
//! Where the new one may be refused, it is asked for before it begins. Where old ones have to go, the new one begins first:
//! it can then be sent away itself by one that comes right after it, on whatever node.

use std::rc::Rc;

use crate::admission::{Seating, Yields};
use crate::cluster::Forward;
use crate::hub::{KickWhom, Shard};
use crate::protocol::{Disconnect, SessionId, UserId};
use crate::transport::Connection;

/// What a client is told whose session has to go.
const REASON: &str = "a newer session of this user took its place";

/// Asks for the session before it begins, where it may be refused. False: it was, or the client has left meanwhile.
pub(super) async fn first(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    (user, session): (&UserId, SessionId),
) -> bool {
    let context = shard.context();
    if !refuses_new(shard) {
        return true;
    }
    let seating = context
        .admission
        .seat(&context.cluster, user, session)
        .await;
    if seating == Seating::Full {
        shard.close(connection, Disconnect::TooManySessions);
    }
    if connection.is_closing() {
        context.admission.unseat(user, session);
        return false;
    }
    true
}

/// Seats a session that has begun, and sends away those that have to go for it.
pub(super) async fn then(shard: &Rc<Shard>, (user, session): (&UserId, SessionId)) {
    let context = shard.context();
    if context.admission.is_seated(user, session) {
        return;
    }
    let seating = context
        .admission
        .seat(&context.cluster, user, session)
        .await;
    // Full only if the policy has changed in this very moment; it holds for the next.
    let Seating::In(kicked) = seating else { return };
    let own = context.cluster.identity().0;
    for (session, node) in kicked {
        if node == *own {
            context
                .hub
                .order_kick(KickWhom::Session(session), REASON)
                .await;
        } else {
            let work = Forward::KickSession {
                session,
                reason: REASON.to_owned(),
                report: Box::new(move |outcome| {
                    if let Err(error) = outcome {
                        tracing::warn!(%session, %error, "a session that has to go was not told");
                    }
                }),
            };
            context.cluster.forward(work).await;
        }
    }
}

fn refuses_new(shard: &Shard) -> bool {
    let rules = shard.context().admission.rules().sessions;
    rules.is_some_and(|rules| rules.yields == Yields::Newest)
}
