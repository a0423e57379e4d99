//! Connections for the time of one HTTP request: a frame that came by itself needs somebody to be told about it.
//!
//! They are kept apart from the others, so that nothing is delivered to them, and end with their request.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::{SessionKey, Shard};
use crate::hub::{Command, Hub, ShardId};
use crate::protocol::{Codec, Disconnect};
use crate::transport::{Connection, Socket};

/// Held by everything that may still have something to say about a frame. When the last one lets go, the shard hears of
/// it, after whatever was said.
#[derive(Debug)]
pub struct Question {
    hub: Arc<Hub>,
    shard: ShardId,
    key: SessionKey,
}

impl Drop for Question {
    fn drop(&mut self) {
        // In a queue without room the answer is lost as well, and the request has a deadline.
        let _full = self.hub.try_post(self.shard, Command::Answered(self.key));
    }
}

impl Shard {
    /// Takes in a connection for one frame.
    pub fn ask(&self, socket: Socket, peer: SocketAddr) -> Rc<Connection> {
        let generation = self.generation.get().wrapping_add(1);
        self.generation.set(generation);
        let key = SessionKey {
            slot: SessionKey::OF_REQUESTS,
            generation,
        };
        let connection = Rc::new(Connection::new(
            key,
            (socket, Codec::bare()),
            peer,
            self.now(),
        ));
        connection.ask(Question {
            hub: Arc::clone(&self.context.hub),
            shard: self.id,
            key,
        });
        let mut asked = self.asked.borrow_mut();
        asked.insert(generation, Rc::clone(&connection));
        connection
    }

    /// The connection of this key, if it is one of these.
    pub(super) fn get_asked(&self, key: SessionKey) -> Option<Rc<Connection>> {
        let asked = self.asked.borrow();
        asked
            .get(&key.generation)
            .filter(|_| key.is_of_request())
            .cloned()
    }

    /// How many of them there are.
    pub fn asked(&self) -> usize {
        self.asked.borrow().len()
    }

    /// Nothing more will be said: what was goes out, and then the end.
    pub fn nothing_more(&self, key: SessionKey) {
        if let Some(connection) = self.get_asked(key) {
            connection.begin_close(Disconnect::ClientClosed);
            self.mark_dirty(&connection);
        }
    }

    /// Forgets a connection whose request is answered.
    pub fn answered(&self, connection: &Rc<Connection>) {
        self.asked.borrow_mut().remove(&connection.key().generation);
        connection.begin_close(Disconnect::ClientClosed);
        connection.cut();
        connection.outbox().borrow_mut().clear();
    }
}
