//! A frame that cannot be dealt with at once: what it needs is waited for.
//!
//! The reader digests nothing more of what the client said meanwhile, so that order is kept, and one frame of a connection
//! waits at a time.

use std::rc::Rc;

use super::open::{Opening, open};
use super::{extended, groups, rate, reader, renew, tickets, watching};
use crate::hub::{Later, Shard};
use crate::protocol::json::{Ack, ClientFrame};
use crate::protocol::{Control, ErrorCode, LogId, MessageBody, RawJson, Target};
use crate::session::decide::{Decision, decide};
use crate::transport::{Connection, Session};

/// Deals with a frame that had to wait, and with what that takes.
pub(super) async fn take(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    text: &str,
    later: &mut Later,
) {
    if connection.is_closing() {
        return;
    }
    let identity = connection.session().map(Session::identity);
    let frame = match ClientFrame::parse(text) {
        Ok(frame) => frame,
        Err(refusal) => return reader::refuse(shard, connection, &refusal),
    };
    let decision = decide(&frame, identity.as_deref(), shard.settings().offered());
    if !rate::within(shard, connection, (&decision, frame.id()), text.len()) {
        return;
    }
    match decision {
        Decision::Authenticate(auth) if connection.session().is_some() => {
            renew::renew(shard, connection, (&frame, auth.token())).await;
        }
        Decision::Authenticate(auth) => {
            let identity = reader::authenticate(shard, connection, auth.token()).await;
            // A goodbye that was said meanwhile keeps its time.
            if let Some(identity) = identity.filter(|_| !connection.is_closing()) {
                let resume = auth.resume.clone();
                open(shard, connection, Opening { identity, resume }).await;
            }
        }
        Decision::Acknowledge(ack) => {
            for place in shard.acknowledged(connection, &ack) {
                match place {
                    Some(ticket) => {
                        tickets::acknowledge(shard, connection, (&ticket, &ack), &frame).await;
                    }
                    None => acknowledge(shard, connection, &ack, &frame).await,
                }
            }
        }
        Decision::Call(call) if tickets::takes(call.kind) => {
            tickets::call(shard, connection, call).await;
        }
        Decision::Call(call) if call.kind.starts_with("presence.") => {
            let answer = watching::call(shard, connection, &call).await;
            answered(shard, connection, answer, &frame);
        }
        Decision::Call(call) if call.kind.starts_with(groups::PREFIX) => {
            groups::call(shard, connection, call).await;
        }
        Decision::Call(call) => {
            let message = format!("{}: nothing here takes this command", call.kind);
            reader::refuse(
                shard,
                connection,
                &frame.refuse(ErrorCode::NotSupported, message),
            );
        }
        Decision::Publish(target, body) if shard.context().service.decides_messages() => {
            extended::take(shard, connection, (target, body), text.len(), later).await;
        }
        Decision::Publish(target, body) => {
            publish(shard, connection, (target, body), text.len(), later).await;
        }
        now => reader::act(shard, connection, now, text.len(), later),
    }
}

/// Answers a command.
fn answered(
    shard: &Shard,
    connection: &Rc<Connection>,
    answer: Result<Box<RawJson>, (ErrorCode, String)>,
    frame: &ClientFrame<'_>,
) {
    match answer {
        Ok(data) => {
            connection.good_frame();
            let ref_id = frame.id();
            let data = &data;
            shard.say(connection, &Control::Result { ref_id, data });
        }
        Err((code, message)) => {
            reader::refuse(shard, connection, &frame.refuse(code, message));
        }
    }
}

/// Sends a message on its way; one to a group once it is let through.
pub(super) async fn publish(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    (target, body): (Target, MessageBody<'_>),
    size: usize,
    later: &mut Later,
) {
    match target {
        Target::Group(group) => {
            groups::publish(shard, connection, (group, body), size, later).await;
        }
        Target::Ticket(ticket) => {
            tickets::say(shard, connection, (ticket, body), size).await;
        }
        Target::User(_) | Target::Broadcast | Target::Application => {
            let decision = Decision::Publish(target, body);
            reader::act(shard, connection, decision, size, later);
        }
    }
}

async fn acknowledge(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    ack: &Ack<'_>,
    frame: &ClientFrame<'_>,
) {
    let Some(session) = connection.session() else {
        return;
    };
    let delivery = &shard.context().delivery;
    let identity = session.identity();
    let user = &identity.user;
    let inbox = LogId::Inbox(user.clone());
    let noted = delivery.acknowledge(inbox, (user, ack.about()), ack.state);
    match noted.await {
        Ok(()) => connection.good_frame(),
        Err(error) => {
            let message = format!(
                "the acknowledgement of {} may not be stored: {error}",
                ack.id
            );
            let refusal = frame.refuse(ErrorCode::Unavailable, message);
            reader::refuse(shard, connection, &refusal);
        }
    }
}
