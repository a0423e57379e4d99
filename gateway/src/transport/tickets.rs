//! Where sessions meet customer service: their commands, what they say in tickets, and the tickets they come back to.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde_json::value::to_raw_value;
use tokio::time::sleep;
use uuid::Uuid;

use super::reader;
use crate::hub::{Shard, unix_millis};
use crate::log::Append;
use crate::protocol::json::{self, Ack, Call, ClientFrame, Refusal};
use crate::protocol::{
    Control, ErrorCode, LogId, Message, MessageBody, Position, RawJson, Sender, Target, TicketId,
    UserId,
};
use crate::security::{Identity, Scopes};
use crate::ticket::{Party, Said};
use crate::transport::Connection;

/// How long those who come are gathered, to be looked for together: in a storm a look for each would wake the desk's thread
/// as often as somebody comes.
const GATHERING: Duration = Duration::from_millis(2);

/// What the types of its commands begin with.
pub(super) fn takes(kind: &str) -> bool {
    kind.starts_with("ticket.") || kind.starts_with("agent.")
}

/// Runs a command and answers it.
pub(super) async fn call(shard: &Rc<Shard>, connection: &Rc<Connection>, call: Call<'_>) {
    let Some(session) = connection.session() else {
        return;
    };
    let tickets = &shard.context().tickets;
    let data = call.data.map(RawJson::get);
    let identity = session.identity();
    match tickets.call(&identity, call.kind, data).await {
        Ok(answer) => {
            connection.good_frame();
            // Made from strings and numbers: it cannot fail.
            let data = to_raw_value(&answer).unwrap_or_default();
            let answer = Control::Result {
                ref_id: call.id,
                data: &data,
            };
            shard.say(connection, &answer);
        }
        Err(error) => {
            let message = format!("{}: {error}", call.kind);
            refuse(shard, connection, (error.code(), message), call.id);
        }
    }
}

/// Takes what a session says in a ticket.
pub(super) async fn say(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    (ticket, body): (TicketId, MessageBody<'_>),
    size: usize,
) {
    let Some(session) = connection.session() else {
        return;
    };
    connection.good_frame();
    shard.count(|stats| {
        stats.messages_received.fetch_add(1, Relaxed);
        stats.bytes_received.fetch_add(size as u64, Relaxed);
    });
    let ref_id = body.id;
    let identity = session.identity();
    let said = said(shard, (connection, &identity), ticket, &body);
    let id = said.append.id.clone();
    let notice = shard.notice(connection, (&id, &said.append.json));
    let ticket = said.ticket.clone();
    match shard.context().tickets.say(said).await {
        Ok(accepted) => {
            let repeated = accepted.is_some_and(|accepted| accepted.repeated);
            if let Some(sent) = notice.filter(|_| !repeated) {
                shard.context().service.message_sent(sent);
            }
            if let Some(accepted) = accepted.filter(|_| ref_id.is_some()) {
                shard.say(connection, &accepted.receipt(&id).control());
            }
        }
        Err(error) => {
            let user = &identity.user;
            tracing::debug!(%ticket, %user, %error, "a message in a ticket was not taken");
            let message = format!("ticket_id: {error}");
            refuse(shard, connection, (error.code(), message), ref_id);
        }
    }
}

/// The message as its readers see it.
fn said(
    shard: &Shard,
    (connection, identity): (&Connection, &Identity),
    ticket: TicketId,
    body: &MessageBody<'_>,
) -> Said {
    let made = || Uuid::now_v7().to_string();
    let id = body.id.map_or_else(made, str::to_owned);
    let target = Target::Ticket(ticket.clone());
    let settings = shard.settings();
    let durable = settings.keeps(&target, body.kind, body.durable);
    let ack = durable && settings.ticket_acks.is_some();
    let at = unix_millis();
    let message = Message {
        target: &target,
        sender: Sender {
            id: identity.user.as_str(),
            kind: &identity.user_type,
            seq: connection.next_seq(),
        },
        id: &id,
        create_at: at,
        body: MessageBody {
            require_ack: ack,
            ..*body
        },
    };
    let json = shard.written(|out| json::write_message(&message, out));
    let user = identity.user.clone();
    let append = Append {
        sender: user.to_string(),
        own_id: body.id.is_some(),
        id,
        json,
        at,
        ack,
        trace: None,
    };
    let by = if identity.scopes.contains(Scopes::ADMIN) {
        Party::Admin(user)
    } else {
        Party::User(user)
    };
    Said {
        ticket,
        by,
        append,
        durable,
    }
}

/// Takes a participant's word for a message of a ticket.
pub(super) async fn acknowledge(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    (ticket, ack): (&TicketId, &Ack<'_>),
    frame: &ClientFrame<'_>,
) {
    let Some(session) = connection.session() else {
        return;
    };
    let identity = session.identity();
    let by_about = (&identity.user, ack.about());
    let tickets = &shard.context().tickets;
    match tickets.acknowledge(ticket, by_about, ack.state).await {
        Ok(()) => connection.good_frame(),
        Err(error) => {
            let message = format!("the acknowledgement of {}: {error}", ack.id);
            refuse(shard, connection, (error.code(), message), frame.id());
        }
    }
}

/// Has a session follow the tickets that its user takes part in, so that it gets what was said while the user was away.
pub(super) fn come_back(shard: &Rc<Shard>, connection: &Rc<Connection>) {
    let Some(session) = connection.session() else {
        return;
    };
    // Most sessions have nothing to wait for.
    if shard.context().tickets.kept_for_the_absent().is_none() {
        return;
    }
    session.cursors.borrow_mut().hold_tickets();
    if shard.comes_back(connection) {
        let shard = Rc::clone(shard);
        tokio::task::spawn_local(async move {
            sleep(GATHERING).await;
            look_for(&shard, shard.take_back()).await;
        });
    }
}

/// Asks for the tickets of all who have come.
async fn look_for(shard: &Rc<Shard>, come: Vec<Rc<Connection>>) {
    let user = |connection: &Rc<Connection>| Some(connection.session()?.identity().user.clone());
    let (users, come): (Vec<_>, Vec<_>) = come
        .into_iter()
        .filter_map(|connection| Some((user(&connection)?, connection)))
        .unzip();
    let mut open = shard.context().tickets.open_for(users).await.into_iter();
    for connection in come {
        let open = open.next().unwrap_or_default();
        if open.is_empty() {
            follow(shard, &connection, Vec::new());
            continue;
        }
        let shard = Rc::clone(shard);
        tokio::task::spawn_local(async move {
            let waiting = shard.context().tickets.kept(open).await;
            follow(&shard, &connection, waiting);
        });
    }
}

/// Follows the tickets that wait for the session, and those that it met meanwhile.
fn follow(shard: &Rc<Shard>, connection: &Rc<Connection>, waiting: Vec<(LogId, Option<Position>)>) {
    let Some(session) = connection.session() else {
        return;
    };
    let mut held = session.cursors.borrow_mut().release_tickets();
    if connection.is_closing() {
        return;
    }
    for (log, place) in waiting {
        let was_held = held.iter().position(|held| *held == log);
        let was_held = was_held.map(|at| held.swap_remove(at)).is_some();
        // Where the client said it was is better than where it may have been.
        if was_held || session.cursors.borrow().at(&log).is_none() {
            shard.follow(connection, log, Some(place.unwrap_or_default()));
        }
    }
    for log in held {
        shard.follow(connection, log, None);
    }
}

/// Whether the session's user may read this log.
pub(super) async fn may_follow(shard: &Shard, user: &UserId, log: &LogId) -> bool {
    match log {
        LogId::Ticket(ticket) => shard.context().tickets.may_read(user, ticket).await,
        LogId::Inbox(_) | LogId::Group(_) | LogId::Broadcast => false,
    }
}

/// A no of the desk is no abuse; a frame that says nothing that makes sense is. One about what is not there or is another's
/// is neither: it does not make up for nonsense.
fn refuse(
    shard: &Shard,
    connection: &Rc<Connection>,
    (code, message): (ErrorCode, String),
    ref_id: Option<&str>,
) {
    let refusal = Refusal {
        code,
        message,
        ref_id: ref_id.map(str::to_owned),
    };
    if code == ErrorCode::BadFrame {
        return reader::refuse(shard, connection, &refusal);
    }
    if !matches!(code, ErrorCode::NotFound | ErrorCode::Forbidden) {
        connection.good_frame();
    }
    shard.refused(connection, &refusal);
    shard.say(connection, &Control::Error(&refusal));
}
