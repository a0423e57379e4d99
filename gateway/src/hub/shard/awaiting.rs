//! Messages that their recipient is to acknowledge: sent again with growing pauses until that has happened.
//!
//! Each session repeats for itself, on whichever node it is. What is given up here stays in the inbox; that nobody
//! acknowledged it, its sender hears from the node that took it.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::{Instant, sleep};

use super::Shard;
use crate::hub::Outgoing;
use crate::log::{About, AckState, MessageName};
use crate::protocol::json::{self, Ack};
use crate::protocol::{LogId, TicketId, Transport};
use crate::session::Debt;
use crate::transport::Connection;

impl Shard {
    /// Repeats a message until it is acknowledged, if that was asked for.
    pub(super) fn await_ack(self: &Rc<Self>, connection: &Rc<Connection>, message: &Outgoing) {
        let (Some(mark), Some(session)) = (message.mark(), connection.session()) else {
            return;
        };
        let Some(id) = mark.ack.clone() else {
            return;
        };
        let Some(sender) = json::sender_of(&message.parcel().json) else {
            return;
        };
        let (rules, ticket) = match &mark.log {
            LogId::Ticket(ticket) => (self.settings().ticket_acks, Some(ticket.clone())),
            LogId::Inbox(_) | LogId::Group(_) | LogId::Broadcast => (self.settings().acks, None),
        };
        let Some(rules) = rules else {
            return;
        };
        let name = MessageName::new(&sender, &id);
        let log = mark.log.clone();
        let debt = Debt {
            since: Instant::now(),
            ticket,
        };
        let key = (id, Arc::from(&*sender));
        if !session.owed.borrow_mut().add(key, debt) {
            return;
        }
        let (shard, connection, message) =
            (Rc::clone(self), Rc::clone(connection), message.clone());
        tokio::task::spawn_local(async move {
            for attempt in 0..rules.retries() {
                sleep(rules.pause(attempt, rand::random_range(0.0..1.0))).await;
                if connection.is_closing()
                    || !owes(&connection, about(&name))
                    || has_said_so_elsewhere(&shard, &connection, (&log, &name)).await
                {
                    return;
                }
                shard.push(&connection, message.waiting(connection.codec()));
                shard.count(|stats| _ = stats.repeated.fetch_add(1, Relaxed));
            }
            settle(&connection, about(&name), AckState::Delivered);
        });
    }

    /// The client has acknowledged messages: they are not sent again. Where they are, each place once; `None` is the inbox.
    pub fn acknowledged(&self, connection: &Connection, ack: &Ack<'_>) -> Vec<Option<TicketId>> {
        let mut places = Vec::new();
        for debt in settle(connection, ack.about(), ack.state) {
            self.context()
                .instruments
                .acknowledged(debt.since.elapsed());
            if !places.contains(&debt.ticket) {
                places.push(debt.ticket);
            }
        }
        if ack.ticket.is_some() || places.is_empty() {
            return vec![ack.ticket.clone()];
        }
        places
    }
}

fn about(MessageName { sender, id }: &MessageName) -> About<'_> {
    About {
        id,
        sender: Some(sender),
    }
}

/// The client of an event stream acknowledges by requests, which any node takes: the log has it.
async fn has_said_so_elsewhere(
    shard: &Shard,
    connection: &Connection,
    (log, name): (&LogId, &MessageName),
) -> bool {
    let Some(session) = connection.session() else {
        return true;
    };
    if connection.transport() != Transport::Sse {
        return false;
    }
    let user = session.identity().user.clone();
    let awaits = shard.context().delivery.log().awaits(log, name, &user);
    // While the log cannot be read, once too often is the lesser evil.
    let said = !awaits.await.unwrap_or(true);
    if said {
        settle(connection, about(name), AckState::Delivered);
    }
    said
}

fn owes(connection: &Connection, about: About<'_>) -> bool {
    connection
        .session()
        .is_some_and(|session| session.owed.borrow().has(about))
}

fn settle(connection: &Connection, about: About<'_>, state: AckState) -> Vec<Debt> {
    let session = connection.session();
    session.map_or_else(Vec::new, |session| {
        session.owed.borrow_mut().settle(about, state)
    })
}
