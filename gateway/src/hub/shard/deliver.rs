//! From a command to a socket: outboxes, the dirty list, and the flush once per turn.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;

use super::{SessionKey, Shard};
use crate::hub::outgoing::Local;
use crate::hub::{Outgoing, Recipients};
use crate::protocol::{Control, Disconnect, LogId, Position, Start, Told, Transport, UserId, sse};
use crate::session::{Flushed, Meet, OverflowPolicy, Pushed, Waiting};
use crate::transport::Connection;

impl Shard {
    /// Puts a message into the outbox of everyone it is for.
    pub fn deliver(self: &Rc<Self>, to: &Recipients, message: &Outgoing) {
        let message = Local::new(message);
        match to {
            Recipients::All => self.deliver_all(&message),
            Recipients::User(user) => self.deliver_user(user, &message),
            Recipients::Group(group) => self.deliver_group(group, &message),
            Recipients::Session(key) => {
                if let Some(connection) = self.get(*key) {
                    self.hand(&connection, &message);
                }
            }
        }
    }

    /// Gives one session a message: a stored one only if it is the session's next.
    pub(super) fn hand(self: &Rc<Self>, connection: &Rc<Connection>, message: &Local<'_>) {
        let Some(mark) = message.mark() else {
            return self.push(connection, message.waiting(connection.codec()));
        };
        let Some(session) = connection.session() else {
            return;
        };
        let mut cursors = session.cursors.borrow_mut();
        let start = match mark.log {
            LogId::Ticket(_) => self.context().tickets.policy().start(mark.start),
            _ => mark.start,
        };
        // The policies that drop are about what is nowhere else.
        if session.overflow != OverflowPolicy::Disconnect && !self.has_room(connection, message) {
            // It stays in its log; the session reads it from there when the client has made room.
            if cursors.spill(&mark.log, mark.position, start) {
                self.catch_up(connection, mark.log.clone());
            }
            self.count(|stats| _ = stats.spilled.fetch_add(1, Relaxed));
            return;
        }
        let met = cursors.meet(&mark.log, mark.position, start);
        drop(cursors);
        match met {
            Meet::Next => {
                self.push(connection, message.waiting(connection.codec()));
                self.tell_places(connection);
                self.await_ack(connection, message.outgoing());
            }
            Meet::FellBehind => self.catch_up(connection, mark.log.clone()),
            Meet::Seen | Meet::Behind => {}
        }
    }

    /// Tells a client that remembers one `Last-Event-ID` for everything where it is in all its logs. With one log, the
    /// message has said it.
    pub(super) fn tell_places(&self, connection: &Rc<Connection>) {
        let Some(session) = connection.session() else {
            return;
        };
        if connection.transport() != Transport::Sse {
            return;
        }
        let cursors = session.cursors.borrow();
        if !cursors.follows_others() {
            return;
        }
        let inbox = LogId::Inbox(session.identity().user.clone());
        let places = sse::places(&cursors.places(&inbox));
        drop(cursors);
        if let Some(places) = places {
            self.push(connection, Rc::new(places));
        }
    }

    fn has_room(&self, connection: &Rc<Connection>, message: &Local<'_>) -> bool {
        let len = message.frame(connection.codec()).len();
        let fits = || {
            connection
                .outbox()
                .borrow()
                .fits(len, self.limits(connection))
        };
        fits() || (!connection.blocked() && self.write_out(connection).is_some() && fits())
    }

    /// A log that one of this shard's users reads reaches this far; whoever is behind reads it.
    pub fn reaches(self: &Rc<Self>, user: &UserId, log: &LogId, (head, start): (Position, Start)) {
        for connection in self.of_user(user) {
            let Some(session) = connection.session() else {
                continue;
            };
            let is_behind = session.cursors.borrow_mut().reaches(log, head, start);
            if is_behind {
                self.catch_up(&connection, log.clone());
            }
        }
    }

    /// Tells one session something; the session may have ended meanwhile.
    pub fn tell(&self, key: SessionKey, told: &Told) {
        if let Some(connection) = self.get(key) {
            self.say(&connection, &told.control());
        }
    }

    /// Puts a frame of the protocol's own in one outbox, under its bounds.
    pub fn say(&self, connection: &Rc<Connection>, control: &Control<'_>) {
        self.push(connection, Rc::new(connection.codec().control(control)));
    }

    /// The same whatever the bounds: the last words, which are few.
    pub fn say_anyway(&self, connection: &Rc<Connection>, control: &Control<'_>) {
        self.push_anyway(connection, Rc::new(connection.codec().control(control)));
    }

    // Pushing may close a slow session, which frees nothing here: its reading task does, in a turn of its own. So both
    // maps may stay borrowed.
    pub(super) fn deliver_all(self: &Rc<Self>, message: &Local<'_>) {
        let began = Instant::now();
        let connections = self.connections.borrow();
        for (_, connection) in connections
            .iter()
            .filter(|(_, connection)| connection.session().is_some())
        {
            self.hand(connection, message);
        }
        self.context().instruments.fanout(began.elapsed());
        self.handed_out(message.outgoing(), connections.len());
    }

    pub(super) fn deliver_user(self: &Rc<Self>, user: &UserId, message: &Local<'_>) {
        let users = self.users.borrow();
        let connections = self.connections.borrow();
        let slots = users.get(user).map(Vec::as_slice).unwrap_or_default();
        for connection in slots
            .iter()
            .filter_map(|slot| connections.get(*slot as usize))
        {
            self.hand(connection, message);
        }
        self.handed_out(message.outgoing(), slots.len());
    }

    /// Puts a frame in one outbox under its bounds; a client that reads too slowly meets its policy.
    pub fn push(&self, connection: &Rc<Connection>, frame: impl Into<Waiting>) {
        let frame = frame.into();
        if connection.is_closing() {
            return;
        }
        let limits = self.limits(connection);
        let policy = connection
            .session()
            .map(|session| session.overflow)
            .unwrap_or_default();
        // A burst within one turn is not a slow reader: what the socket takes leaves first.
        let full = !connection.outbox().borrow().fits(frame.size(), limits);
        if full && !connection.blocked() && self.write_out(connection).is_none() {
            return;
        }
        let mut outbox = connection.outbox().borrow_mut();
        let pushed = outbox.push(frame, limits, policy, &mut self.pool.borrow_mut());
        drop(outbox);
        match pushed {
            Pushed::Queued => self.mark_dirty(connection),
            Pushed::DroppedOldest(count) => {
                self.count(|stats| _ = stats.dropped_oldest.fetch_add(count as u64, Relaxed));
                self.mark_dirty(connection);
            }
            Pushed::DroppedNewest => {
                self.count(|stats| _ = stats.dropped_newest.fetch_add(1, Relaxed));
            }
            Pushed::Overflow => self.close(connection, Disconnect::SlowConsumer),
        }
    }

    /// Puts a frame in one outbox whatever its bounds: control frames, which are few.
    pub fn push_anyway(&self, connection: &Rc<Connection>, frame: impl Into<Waiting>) {
        let mut outbox = connection.outbox().borrow_mut();
        outbox.push_unbounded(frame, &mut self.pool.borrow_mut());
        drop(outbox);
        self.mark_dirty(connection);
    }

    /// Puts a connection on the dirty list, once.
    pub fn mark_dirty(&self, connection: &Rc<Connection>) {
        if connection.blocked() || connection.set_dirty(true) {
            return;
        }
        let mut dirty = self.dirty.borrow_mut();
        if dirty.is_empty() {
            self.dirty_waits.notify_one();
        }
        dirty.push(Rc::clone(connection));
    }

    /// Writes dirty connections, once per turn, until the shard ends.
    pub async fn flush_forever(self: Rc<Self>) {
        let mut turn = Vec::new();
        loop {
            self.dirty_waits.notified().await;
            std::mem::swap(&mut *self.dirty.borrow_mut(), &mut turn);
            for connection in turn.drain(..) {
                connection.set_dirty(false);
                self.flush(&connection);
            }
            self.write_scratch.borrow_mut().forget();
            self.written_out();
        }
    }

    /// Writes what waits for one connection, and waits for the socket if it does not take all.
    fn flush(self: &Rc<Self>, connection: &Rc<Connection>) {
        match self.write_out(connection) {
            Some(flushed) if flushed.blocked => self.flush_later(connection),
            Some(_) if connection.is_closing() => connection.said_goodbye(),
            // Its client cannot say that it is there, but it takes what is written.
            Some(_) if connection.transport() != Transport::WebSocket => {
                connection.heard(self.now());
            }
            Some(_) | None => {}
        }
    }

    /// Writes what the socket takes now. A broken one is cut: its reading task hears of it and frees the place.
    pub(super) fn write_out(&self, connection: &Connection) -> Option<Flushed> {
        let mut outbox = connection.outbox().borrow_mut();
        let scratch = &mut *self.write_scratch.borrow_mut();
        let written = outbox.flush(connection.socket(), scratch, &mut self.pool.borrow_mut());
        let Ok(flushed) = written else {
            connection.cut();
            return None;
        };
        self.count(|stats| {
            stats
                .messages_sent
                .fetch_add(flushed.frames as u64, Relaxed);
            stats.bytes_sent.fetch_add(flushed.bytes as u64, Relaxed);
            stats.writes.fetch_add(flushed.writes as u64, Relaxed);
        });
        Some(flushed)
    }

    /// Waits for a full socket to drain. Only slow clients cost this task.
    fn flush_later(self: &Rc<Self>, connection: &Rc<Connection>) {
        if connection.set_blocked(true) {
            return;
        }
        let (shard, connection) = (Rc::clone(self), Rc::clone(connection));
        tokio::task::spawn_local(async move {
            let began = Instant::now();
            let writable = connection.writable().await.is_ok();
            let session = connection.session().map(|session| session.id);
            let session = session.as_ref().map(|id| id as &dyn std::fmt::Display);
            shard.context().instruments.write(session, began.elapsed());
            connection.set_blocked(false);
            if writable {
                shard.mark_dirty(&connection);
            } else {
                connection.cut();
            }
        });
    }
}
