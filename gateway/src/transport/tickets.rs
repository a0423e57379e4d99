//! Where sessions meet customer service: their commands, what they say in tickets, and the tickets they come back to.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::value::to_raw_value;
use uuid::Uuid;

use super::reader;
use crate::hub::{Shard, unix_millis};
use crate::log::Append;
use crate::protocol::json::{self, Ack, Call, ClientFrame, Refusal};
use crate::protocol::{
    Control, ErrorCode, LogId, Message, MessageBody, RawJson, Sender, Target, TicketId, UserId,
};
use crate::security::{Identity, Scopes};
use crate::ticket::{Party, Said};
use crate::transport::Connection;

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
