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
use crate::transport::Connection;

/// Messages a session may owe an acknowledgement for and still have repeated; beyond, they are not repeated.
const OWED_MAX: usize = 1024;

impl Shard {
    /// Repeats a message until it is acknowledged, if that was asked for.
    pub(super) fn await_ack(self: &Rc<Self>, connection: &Rc<Connection>, message: &Outgoing) {
        let wanted = message.mark().and_then(|mark| mark.ack.clone());
        let (Some(id), Some(session)) = (wanted, connection.session()) else {
            return;
        };
        let Some(rules) = self.settings().acks else {
            return;
        };
        let mut owed = session.owed.borrow_mut();
        if owed.len() >= OWED_MAX || owed.contains_key(&id) {
            return;
        }
        owed.insert(Arc::clone(&id), Instant::now());
        drop(owed);
        let (shard, connection, message) =
            (Rc::clone(self), Rc::clone(connection), message.clone());
        tokio::task::spawn_local(async move {
            for attempt in 0..rules.retries() {
                sleep(rules.pause(attempt, rand::random_range(0.0..1.0))).await;
                if connection.is_closing() || !owes(&connection, &id) {
                    return;
                }
                let frame = message.form(connection.codec()).clone();
                shard.push(&connection, Rc::new(frame));
                shard.count(|stats| _ = stats.repeated.fetch_add(1, Relaxed));
            }
            settle(&connection, &id);
        });
    }

    /// The client has acknowledged a message: it is not sent again.
    pub fn acknowledged(&self, connection: &Connection, id: &str) {
        if let Some(began) = settle(connection, id) {
            self.context().instruments.acknowledged(began.elapsed());
        }
    }
}

fn owes(connection: &Connection, id: &str) -> bool {
    connection
        .session()
        .is_some_and(|session| session.owed.borrow().contains_key(id))
}

/// When it was first sent, if it was owed.
fn settle(connection: &Connection, id: &str) -> Option<Instant> {
    let session = connection.session()?;
    session.owed.borrow_mut().remove(id)
}
