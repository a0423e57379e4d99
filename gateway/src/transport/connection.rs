//! One connection of a shard: its socket, its outbox, its identity once it has one, and the little state between them.
//!
//! Lives on its shard's thread. Everything is a `Cell` or borrowed for a moment; nothing is held over an await.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::Semaphore;

use super::Socket;
use crate::admission::SessionMeters;
use crate::hub::{Question, SessionKey};
use crate::protocol::{Codec, Disconnect, GroupId, SessionId, Transport};
use crate::security::{Grant, Identity};
use crate::service::Client;
use crate::session::liveness::{Signs, Tick};
use crate::session::{Cursors, Debts, Outbox, OverflowPolicy};

/// The authenticated state of a connection.
#[derive(Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is; changes with a new token of the same user.
    identity: RefCell<Rc<Identity>>,
    /// What a full outbox means.
    pub overflow: OverflowPolicy,
    /// When it began, Unix milliseconds.
    pub connected_at: u64,
    /// How far it has come in the logs it follows.
    pub cursors: RefCell<Cursors>,
    /// The groups whose messages it gets.
    pub groups: RefCell<Vec<GroupId>>,
    /// Messages it has yet to acknowledge.
    pub owed: RefCell<Debts>,
    /// The turn among the logs that it reads; there while it reads any.
    reading: RefCell<Option<Rc<Semaphore>>>,
}

impl Session {
    /// Whose it is, as the last token said.
    pub fn identity(&self) -> Rc<Identity> {
        Rc::clone(&self.identity.borrow())
    }

    /// For whoever reads a log for it: one at a time holds messages.
    pub fn reading_turn(&self) -> Rc<Semaphore> {
        let mut reading = self.reading.borrow_mut();
        let fresh = || Rc::new(Semaphore::new(1));
        Rc::clone(reading.get_or_insert_with(fresh))
    }

    /// Whoever read a log gives its turn back. A session that reads none keeps nothing for it.
    pub fn has_read(&self, turn: Rc<Semaphore>) {
        drop(turn);
        let mut reading = self.reading.borrow_mut();
        let is_last = |turn: &Rc<Semaphore>| Rc::strong_count(turn) == 1;
        drop(reading.take_if(|turn| is_last(turn)));
    }

    /// Gets the messages of a group from here on. Most sessions are in one group or few: there is room for no more.
    pub fn enter(&self, group: &GroupId) {
        let mut groups = self.groups.borrow_mut();
        groups.reserve_exact(1);
        groups.push(group.clone());
    }

    /// Goes by another token of the same user.
    pub fn renew(&self, identity: Identity) {
        self.identity.replace(Rc::new(identity));
    }
}

/// One connection.
pub struct Connection {
    key: SessionKey,
    socket: Socket,
    codec: Codec,
    peer: SocketAddr,
    session: OnceCell<Box<Session>>,
    client: OnceCell<Client>,
    grant: OnceCell<Box<Grant>>,
    meters: OnceCell<Box<SessionMeters>>,
    outbox: RefCell<Outbox>,
    question: Cell<Option<Arc<Question>>>,
    began: Tick,
    heard: Cell<Tick>,
    pinged: Cell<Tick>,
    until: Cell<Option<(Tick, Disconnect)>>,
    timer: Cell<Tick>,
    seq: Cell<u64>,
    bad_frames: Cell<u8>,
    disconnect: Cell<Option<Disconnect>>,
    peer_closed: Cell<bool>,
    dirty: Cell<bool>,
    blocked: Cell<bool>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("Connection");
        out.field("key", &self.key).field("peer", &self.peer);
        out.finish_non_exhaustive()
    }
}

impl Connection {
    /// A fresh connection without identity.
    pub fn new(
        key: SessionKey,
        (socket, codec): (Socket, Codec),
        peer: SocketAddr,
        now: Tick,
    ) -> Self {
        Self {
            key,
            socket,
            codec,
            peer,
            session: OnceCell::new(),
            client: OnceCell::new(),
            grant: OnceCell::new(),
            meters: OnceCell::new(),
            outbox: RefCell::default(),
            question: Cell::default(),
            began: now,
            heard: Cell::new(now),
            pinged: Cell::new(now),
            until: Cell::new(None),
            timer: Cell::new(0),
            seq: Cell::new(0),
            bad_frames: Cell::new(0),
            disconnect: Cell::new(None),
            peer_closed: Cell::new(false),
            dirty: Cell::new(false),
            blocked: Cell::new(false),
        }
    }

    /// Where it is in its shard.
    pub const fn key(&self) -> SessionKey {
        self.key
    }

    /// Where the client is, as far as anybody trusted says.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The socket, for writing.
    pub const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The form in which frames are written to it.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// How the client is connected.
    pub const fn transport(&self) -> Transport {
        self.codec.transport()
    }

    /// What waits to be written.
    pub const fn outbox(&self) -> &RefCell<Outbox> {
        &self.outbox
    }

    /// Its session, once it has an identity.
    pub fn session(&self) -> Option<&Session> {
        self.session.get().map(AsRef::as_ref)
    }

    /// Makes it a session. A second identity is not taken.
    pub fn set_session(
        &self,
        id: SessionId,
        identity: Identity,
        overflow: OverflowPolicy,
        connected_at: u64,
    ) {
        let session = Box::new(Session {
            id,
            identity: RefCell::new(Rc::new(identity)),
            overflow,
            connected_at,
            cursors: RefCell::default(),
            groups: RefCell::default(),
            owed: RefCell::default(),
            reading: RefCell::default(),
        });
        debug_assert!(self.session.get().is_none());
        self.session.get_or_init(|| session);
    }

    /// The session as extensions see it; nothing where nobody wants to.
    pub fn client(&self) -> Option<&Client> {
        self.client.get()
    }

    /// Notes how extensions see it.
    pub fn set_client(&self, client: Client) {
        self.client.get_or_init(|| client);
    }

    /// What the application gave it beyond its token.
    pub fn granted(&self) -> Option<&Grant> {
        self.grant.get().map(AsRef::as_ref)
    }

    /// Notes what the application gave it.
    pub fn grant(&self, grant: Grant) {
        self.grant.get_or_init(|| Box::new(grant));
    }

    /// What its messages are counted by; `fresh` finds it for the first of them.
    pub fn meters(&self, fresh: impl FnOnce() -> SessionMeters) -> &SessionMeters {
        self.meters.get_or_init(|| Box::new(fresh()))
    }

    /// Makes it the connection of one frame, about which this is the question.
    pub fn ask(&self, question: Question) {
        self.question.set(Some(Arc::new(question)));
    }

    /// For whoever may still have something to say about its one frame; nothing on other connections.
    pub fn question(&self) -> Option<Arc<Question>> {
        let question = self.question.take();
        self.question.set(question.clone());
        question
    }

    /// Everybody who may have something to say has been asked.
    pub fn asked_all(&self) {
        self.question.take();
    }

    /// Waits until there is something to read.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// The same of a socket, for its one reading task.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_readable(cx)
    }

    /// Waits until something can be written.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Reads what is there, `WouldBlock` when nothing is. `Ok(0)`: the peer has ended.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.try_read(buffer)
    }

    /// When it began.
    pub const fn began(&self) -> Tick {
        self.began
    }

    /// Notes that something came from the client.
    pub fn heard(&self, now: Tick) {
        self.heard.set(now);
    }

    /// Notes that the client was pinged.
    pub fn pinged(&self, now: Tick) {
        self.pinged.set(now);
    }

    /// When its right to be here ends, and why.
    pub fn set_until(&self, until: Option<(Tick, Disconnect)>) {
        self.until.set(until);
    }

    /// What the timers go by.
    pub fn signs(&self) -> Signs {
        Signs {
            heard: self.heard.get(),
            pinged: self.pinged.get(),
            until: self.until.get(),
        }
    }

    /// The tick its timer fires at; older entries of the wheel mean nothing.
    pub fn timer(&self) -> Tick {
        self.timer.get()
    }

    /// Notes when its timer fires.
    pub fn set_timer(&self, at: Tick) {
        self.timer.set(at);
    }

    /// The number of the next message it sends, from 1.
    pub fn next_seq(&self) -> u64 {
        self.seq.set(self.seq.get() + 1);
        self.seq.get()
    }

    /// Counts a bad frame; how many there were in a row.
    pub fn bad_frame(&self) -> u8 {
        self.bad_frames.set(self.bad_frames.get().saturating_add(1));
        self.bad_frames.get()
    }

    /// A good frame ends a row of bad ones.
    pub fn good_frame(&self) {
        self.bad_frames.set(0);
    }

    /// Begins the end for this reason; `false` when it has begun already.
    pub fn begin_close(&self, why: Disconnect) -> bool {
        let first = self.disconnect.get().is_none();
        if first {
            self.disconnect.set(Some(why));
        }
        first
    }

    /// Whether the end has begun.
    pub fn is_closing(&self) -> bool {
        self.disconnect.get().is_some()
    }

    /// Why it ends, if it does.
    pub fn disconnect(&self) -> Option<Disconnect> {
        self.disconnect.get()
    }

    /// Notes that the client has sent its close frame.
    pub fn peer_has_closed(&self) {
        self.peer_closed.set(true);
    }

    /// The last that there was to say is written. A WebSocket's client answers a close frame; when it has, nothing is left
    /// to say (RFC 6455 §7.1.1). Others hear the end as such.
    pub fn said_goodbye(&self) {
        match self.transport() {
            Transport::WebSocket if self.peer_closed.get() => self.cut(),
            Transport::WebSocket => {}
            Transport::Sse | Transport::Grpc | Transport::Http => self.socket.end(self.why()),
        }
    }

    /// Cuts the socket; the reading task ends by that.
    pub fn cut(&self) {
        self.socket.cut(self.why());
    }

    fn why(&self) -> Disconnect {
        self.disconnect.get().unwrap_or(Disconnect::ConnectionLost)
    }

    /// Sets whether it is on the dirty list; what it was before.
    pub fn set_dirty(&self, dirty: bool) -> bool {
        self.dirty.replace(dirty)
    }

    /// Whether its socket is full.
    pub fn blocked(&self) -> bool {
        self.blocked.get()
    }

    /// Sets whether its socket is full; what it was before.
    pub fn set_blocked(&self, blocked: bool) -> bool {
        self.blocked.replace(blocked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_stays_within_its_budget() {
        // With the counts of its `Rc` one more would be the allocator's next size, a quarter larger.
        assert!(
            size_of::<Connection>() <= 240,
            "{}",
            size_of::<Connection>()
        );
        assert!(size_of::<Session>() <= 224, "{}", size_of::<Session>());
    }
}
