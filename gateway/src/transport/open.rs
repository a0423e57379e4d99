//! How a connection becomes a session: the one way, whatever the transport and however its identity came.
//!
//! A list of steps, each of which may wait and may refuse. Frames that arrive meanwhile are held in order by the reader.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::{extended, groups, returning, seated, tickets};
use crate::hub::Shard;
use crate::log::Most;
use crate::protocol::resume::PLACES_MAX;
use crate::protocol::{Disconnect, LogId, Position, Resume, SessionId, UserId};
use crate::security::Identity;
use crate::transport::Connection;

/// How long a client waits for the word whether it was resumed; then it is told no, and gets what there is all the same.
const RESUMING: Duration = Duration::from_secs(2);

/// What is known of a connection when it is to become a session.
#[derive(Debug)]
pub struct Opening {
    /// Who it is, verified.
    pub identity: Identity,
    /// Where the client says it was.
    pub resume: Option<Resume>,
}

/// What becomes of a connection that has just been taken in: a session at once, if its client is known.
pub(super) async fn begin(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    (identity, resume): (Option<Identity>, Option<Resume>),
) {
    if shard.is_draining() {
        shard.send_away(connection, Disconnect::Drain, Duration::ZERO);
    } else if shard.settings().echo {
        connection.set_until(None);
    } else if let Some(identity) = identity {
        open(shard, connection, Opening { identity, resume }).await;
    }
}

/// Makes a session of the connection, or closes it with the reason why not.
pub async fn open(shard: &Rc<Shard>, connection: &Rc<Connection>, opening: Opening) {
    let Opening { identity, resume } = opening;
    let user = identity.user.clone();
    shard.recognise(connection);
    shard.context().groups.prepare(&user).await;
    let (places, all) = permitted(shard, &user, resume.as_ref()).await;
    let resumed = all && !places.is_empty() && is_whole(shard, &places).await;
    if connection.is_closing() {
        return;
    }
    let session = SessionId::generate();
    let service = &shard.context().service;
    let (mut client, mut identity, mut given) = (None, identity, Vec::new());
    if service.concerns_clients() {
        match extended::admit(shard, connection, identity, session).await {
            Some(admitted) => {
                connection.set_client(admitted.client.clone());
                (client, identity) = (Some(admitted.client), admitted.identity);
                given = admitted.groups;
            }
            None => return,
        }
    }
    if !seated::first(shard, connection, (&user, session)).await {
        return;
    }
    if is_over(shard, connection, &identity) {
        return shard.context().admission.unseat(&user, session);
    }
    shard.activate(connection, (session, identity), resumed);
    if let Some(client) = &client {
        service.client_connected(client);
    }
    // At once: what arrives live must meet a session that knows where its client was.
    follow(shard, connection, LogId::Inbox(user.clone()), places);
    seated::then(shard, (&user, session)).await;
    if !given.is_empty() {
        // Rare, and larger than all the rest: nobody else is to have room for it.
        Box::pin(groups::enter_given(shard, connection, &given)).await;
    }
}

/// The places that the client named in logs it may read, and whether all were looked at: others it is not resumed in. Each
/// ticket among them is asked about, for which there is so much time; and so many places are looked at.
async fn permitted(
    shard: &Shard,
    user: &UserId,
    resume: Option<&Resume>,
) -> (Vec<(LogId, Position)>, bool) {
    let deadline = Instant::now() + RESUMING;
    let named = resume.map_or_else(Vec::new, |resume| resume.places(user));
    let (mut places, mut all) = (Vec::new(), named.len() <= PLACES_MAX);
    for (log, position) in named.into_iter().take(PLACES_MAX) {
        // What is known here is answered even then.
        match timeout_at(deadline, may_follow(shard, user, &log)).await {
            Ok(true) => places.push((log, position)),
            Ok(false) => {}
            Err(_) => all = false,
        }
    }
    (places, all)
}

/// Whether the token was taken back meanwhile; nothing waits between this and the session, so that none escapes.
fn is_over(shard: &Rc<Shard>, connection: &Rc<Connection>, identity: &Identity) -> bool {
    let is_over = shard.context().revocations.cover(identity);
    if is_over {
        shard.close(connection, Disconnect::TokenRevoked);
    }
    is_over
}

/// Whether every log goes on where the client was.
async fn is_whole(shard: &Rc<Shard>, places: &[(LogId, Position)]) -> bool {
    let log = shard.context().delivery.log();
    let all = async {
        for (id, position) in places {
            let page = log.read(id, Some(*position), Most::messages(1)).await;
            if !page.is_ok_and(|page| page.gap.is_none()) {
                return false;
            }
        }
        true
    };
    timeout(RESUMING, all).await.unwrap_or(false)
}

/// A client may ask for its own inbox, for what everyone gets, for the groups that it is in and the tickets it takes part in.
async fn may_follow(shard: &Shard, user: &UserId, log: &LogId) -> bool {
    match log {
        LogId::Inbox(_) | LogId::Broadcast => true,
        LogId::Group(group) => {
            let roster = shard.context().hub.groups().roster();
            roster.stay(user, group).is_some()
        }
        LogId::Ticket(_) => tickets::may_follow(shard, user, log).await,
    }
}

fn follow(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    inbox: LogId,
    places: Vec<(LogId, Position)>,
) {
    if !shard.settings().stores {
        return;
    }
    if !places.iter().any(|(log, _)| *log == inbox) {
        shard.follow_at_once(connection, inbox, None);
    }
    for (log, position) in places {
        if is_entered(connection, &log) {
            shard.follow(connection, log, Some(position));
        } else if let Some(session) = connection.session() {
            // It is entered later, and then goes on from there.
            session.cursors.borrow_mut().start(&log, position);
        }
    }
    returning::follow_tickets(shard, connection);
}

/// Whether the session may read this log now: a group's once its messages come to this node.
fn is_entered(connection: &Connection, log: &LogId) -> bool {
    match log {
        LogId::Group(group) => connection
            .session()
            .is_some_and(|session| session.groups.borrow().contains(group)),
        LogId::Inbox(_) | LogId::Ticket(_) | LogId::Broadcast => true,
    }
}
