//! Messages that their recipient is to acknowledge: sent again with growing pauses until that has happened.
//!
//! Each session repeats for itself, on whichever node it is. What is given up here stays in the inbox; that nobody
//! acknowledged it, its sender hears from the node that took it.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::{Instant, sleep};

use super::Shard;
use crate::hub::{Outgoing, unix_millis};
use crate::protocol::{LogId, TicketId, Transport};
use crate::transport::{Connection, Owed};

/// Messages a session may owe an acknowledgement for and still have repeated; beyond, they are not repeated.
const OWED_MAX: usize = 1024;

impl Shard {
    /// Repeats a message until it is acknowledged, if that was asked for.
    pub(super) fn await_ack(self: &Rc<Self>, connection: &Rc<Connection>, message: &Outgoing) {
        let (Some(mark), Some(session)) = (message.mark(), connection.session()) else {
            return;
        };
        let Some(id) = mark.ack.clone() else {
            return;
        };
        let (rules, ticket) = match &mark.log {
            LogId::Ticket(ticket) => (self.settings().ticket_acks, Some(ticket.clone())),
            LogId::Inbox(_) | LogId::Group(_) | LogId::Broadcast => (self.settings().acks, None),
        };
        let Some(rules) = rules else {
            return;
        };
        let mut owed = session.owed.borrow_mut();
        if owed.len() >= OWED_MAX || owed.contains_key(&id) {
            return;
        }
        owed.insert(Arc::clone(&id), (Instant::now(), ticket));
        drop(owed);
        let (shard, connection, message) =
            (Rc::clone(self), Rc::clone(connection), message.clone());
        tokio::task::spawn_local(async move {
            for attempt in 0..rules.retries() {
                sleep(rules.pause(attempt, rand::random_range(0.0..1.0))).await;
                if connection.is_closing()
                    || !owes(&connection, &id)
                    || has_said_so_elsewhere(&shard, &connection, &id).await
                {
                    return;
                }
                shard.push(&connection, message.waiting(connection.codec()));
                shard.count(|stats| _ = stats.repeated.fetch_add(1, Relaxed));
            }
            settle(&connection, &id);
        });
    }

    /// The client has acknowledged a message: it is not sent again. The ticket that it was known to be in.
    pub fn acknowledged(&self, connection: &Connection, id: &str) -> Option<TicketId> {
        let (began, ticket) = settle(connection, id)?;
        self.context().instruments.acknowledged(began.elapsed());
        ticket
    }
}

/// The client of an event stream acknowledges by requests, which any node takes: the record has it.
async fn has_said_so_elsewhere(shard: &Shard, connection: &Connection, id: &str) -> bool {
    let Some(session) = connection.session() else {
        return true;
    };
    if connection.transport() != Transport::Sse {
        return false;
    }
    let inbox = LogId::Inbox(session.identity().user.clone());
    let log = shard.context().delivery.log();
    let records = log.records(&inbox, &[id.to_owned()], unix_millis()).await;
    // While the log cannot be read, once too often is the lesser evil.
    let said = records.unwrap_or_default().into_iter().flatten();
    let said = said
        .take(1)
        .any(|record| record.delivered_at.or(record.read_at).is_some());
    if said {
        settle(connection, id);
    }
    said
}

fn owes(connection: &Connection, id: &str) -> bool {
    connection
        .session()
        .is_some_and(|session| session.owed.borrow().contains_key(id))
}

/// When it was first sent, and the ticket it is in, if it was owed.
fn settle(connection: &Connection, id: &str) -> Option<Owed> {
    let session = connection.session()?;
    session.owed.borrow_mut().remove(id)
}
