//! A shard: the sessions of one thread. Everything here runs on that thread, so nothing is locked.
//!
//! A delivery puts a reference to the encoded frame into an outbox and the session on the dirty list; the flusher runs
//! once the turn's other tasks have run and writes each dirty session with one `send`. A session's place is freed by its
//! reading task alone, so a key stays valid while anyone on this thread works with it.

mod asked;
mod awaiting;
mod catch_up;
mod close;
mod deliver;
mod groups;
mod members;
mod publish;
mod report;
mod turn;

pub use asked::Question;
pub use members::unix_millis;
pub use publish::{Later, Passed};

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::Instant;
use wsc_wire::Inflater;

use self::catch_up::Settling;
use self::turn::HandedOut;
use super::command::SessionKey;
use super::wheel::Wheel;
use super::{Hub, ShardHandle, ShardId, ShardStats};
use crate::admission::Admission;
use crate::cluster::Cluster;
use crate::delivery::Delivery;
use crate::group::Groups;
use crate::presence::PresenceDesk;
use crate::protocol::{Disconnect, GroupId, SessionId, Transport, UserId};
use crate::security::Revocations;
use crate::service::Service;
use crate::session::liveness::{self, TICK, Tick};
use crate::session::{Gather, Limits, QueuePool};
use crate::settings::Settings;
use crate::telemetry::Instruments;
use crate::ticket::Tickets;
use crate::tls::ListenerTls;
use crate::transport::{Connection, Upgrades};

/// What every shard of a node shares.
#[derive(Clone)]
pub struct ShardContext {
    /// All shards.
    pub hub: Arc<Hub>,
    /// The way to other nodes.
    pub cluster: Cluster,
    /// Stores messages and delivers them.
    pub delivery: Delivery,
    /// Who is in which group.
    pub groups: Groups,
    /// Customer service.
    pub tickets: Tickets,
    /// What sessions go by to begin with; [`Shard::settings`] is what they go by now.
    pub settings: Arc<Settings>,
    /// Limits.
    pub admission: Admission,
    /// Live instruments.
    pub instruments: Instruments,
    /// Answers upgrade requests.
    pub upgrades: Upgrades,
    /// What the listener shows, if it speaks TLS.
    pub tls: Option<Arc<ListenerTls>>,
    /// What the application added.
    pub service: Arc<Service>,
    /// Who is online, for those who watch.
    pub presence: PresenceDesk,
    /// The tokens that are over before their time.
    pub revocations: Arc<Revocations>,
}

/// The sessions of one thread.
pub struct Shard {
    id: ShardId,
    context: ShardContext,
    settings: RefCell<Arc<Settings>>,
    /// The bounds of outboxes, which every delivery asks for: of sockets, and of event streams.
    limits: Cell<(Limits, Limits)>,
    began: Instant,
    connections: RefCell<Slab<Rc<Connection>>>,
    /// Connections of single requests.
    asked: RefCell<HashMap<u32, Rc<Connection>>>,
    generation: Cell<u32>,
    users: RefCell<HashMap<UserId, Vec<u32>>>,
    /// Members' sessions, by group.
    groups: RefCell<HashMap<GroupId, Vec<u32>>>,
    by_id: RefCell<HashMap<SessionId, u32>>,
    wheel: RefCell<Wheel<SessionKey>>,
    settling: RefCell<VecDeque<Settling>>,
    /// Sessions whose tickets have yet to be looked for.
    come_back: RefCell<Vec<Rc<Connection>>>,
    dirty: RefCell<Vec<Rc<Connection>>>,
    dirty_waits: Notify,
    handed_out: RefCell<Vec<HandedOut>>,
    pool: RefCell<QueuePool>,
    write_scratch: RefCell<Gather>,
    read_buffer: RefCell<Box<[u8]>>,
    inflater: RefCell<Inflater>,
    json_scratch: RefCell<Vec<u8>>,
    draining: Cell<bool>,
}

/// What a shard reads into. One buffer serves all its sessions: an idle one has none.
fn room(size: usize) -> Box<[u8]> {
    vec![0; size].into_boxed_slice()
}

impl Shard {
    /// An empty shard. Must be made on the thread that will run it.
    pub fn new(id: ShardId, context: ShardContext) -> Rc<Self> {
        Rc::new(Self {
            id,
            settings: RefCell::new(Arc::clone(&context.settings)),
            limits: Cell::new((context.settings.outbox, context.settings.sse.outbox)),
            read_buffer: RefCell::new(room(context.settings.read_buffer)),
            write_scratch: RefCell::new(Gather::new(context.settings.write_buffer)),
            context,
            began: Instant::now(),
            connections: RefCell::default(),
            asked: RefCell::default(),
            generation: Cell::new(0),
            users: RefCell::default(),
            groups: RefCell::default(),
            by_id: RefCell::default(),
            wheel: RefCell::new(Wheel::new()),
            settling: RefCell::default(),
            come_back: RefCell::default(),
            dirty: RefCell::default(),
            dirty_waits: Notify::new(),
            handed_out: RefCell::new(Vec::with_capacity(turn::NOTED_MAX)),
            pool: RefCell::default(),
            inflater: RefCell::default(),
            json_scratch: RefCell::default(),
            draining: Cell::new(false),
        })
    }

    /// This shard's number.
    pub const fn id(&self) -> ShardId {
        self.id
    }

    /// What all shards of the node share.
    pub const fn context(&self) -> &ShardContext {
        &self.context
    }

    /// What sessions go by now. Not to be kept over an await: a reload changes it.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Goes by these settings from now on. Nobody is disconnected but who may not be here by the lists of addresses.
    pub fn reload(&self, settings: Arc<Settings>) {
        self.read_buffer.replace(room(settings.read_buffer));
        self.write_scratch
            .replace(Gather::new(settings.write_buffer));
        self.limits.set((settings.outbox, settings.sse.outbox));
        let before = self.settings.replace(settings);
        let settings = self.settings();
        let patience = |settings: &Settings| (settings.patience, settings.sse.patience);
        let is_other = patience(&before) != patience(&settings);
        let rules = self.context.admission.rules();
        for connection in self.all() {
            if rules.addresses.judge(connection.peer().ip()).is_err() {
                self.close(&connection, Disconnect::AddressRefused);
            } else if is_other && !connection.is_closing() {
                self.look_anew(&connection, &settings);
            }
        }
    }

    /// Looks after a connection by another patience than before. Who was quiet for longer than one may be now is pinged
    /// first.
    fn look_anew(&self, connection: &Connection, settings: &Settings) {
        let heartbeat = settings.patience(connection.transport()).heartbeat;
        let earliest = self.now().saturating_sub(heartbeat);
        connection.heard(connection.signs().heard.max(earliest));
        // Not all at once.
        let later = connection.key().slot % heartbeat.max(1);
        self.schedule(connection, self.now().saturating_add(later));
    }

    /// The one buffer that sockets of this shard are read into. Never borrowed across an await.
    pub const fn read_buffer(&self) -> &RefCell<Box<[u8]>> {
        &self.read_buffer
    }

    /// What inflates the compressed messages of all its connections. Never borrowed across an await.
    pub const fn inflater(&self) -> &RefCell<Inflater> {
        &self.inflater
    }

    /// Whether sessions are being sent away.
    pub const fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Ticks since the shard began.
    pub fn now(&self) -> Tick {
        let ticks = self.began.elapsed().as_millis() / TICK.as_millis();
        Tick::try_from(ticks).unwrap_or(Tick::MAX)
    }

    /// This shard as outsiders see it.
    pub fn handle(&self) -> Option<&ShardHandle> {
        self.context.hub.shards().get(usize::from(self.id))
    }

    /// Counts something in this shard's statistics.
    pub fn count(&self, count: impl FnOnce(&ShardStats)) {
        if let Some(handle) = self.handle() {
            count(handle.stats());
        }
    }

    /// What `write` wrote, as one allocation of just that size.
    pub fn written(&self, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut json = self.json_scratch.borrow_mut();
        json.clear();
        write(&mut json);
        Bytes::copy_from_slice(&json)
    }

    /// Every connection, as of now.
    pub fn all(&self) -> Vec<Rc<Connection>> {
        self.connections
            .borrow()
            .iter()
            .map(|(_, connection)| Rc::clone(connection))
            .collect()
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.connections.borrow().is_empty()
    }

    /// Fires what is due.
    pub fn tick(self: &Rc<Self>) {
        if let Some(handle) = self.handle() {
            handle.pulse().fetch_add(1, Relaxed);
        }
        let mut due = Vec::new();
        self.wheel.borrow_mut().advance(self.now(), &mut due);
        for (at, key) in due {
            if let Some(connection) = self.get(key)
                && connection.timer() == at
            {
                self.look_after(&connection);
            }
        }
        self.read_settled();
    }

    fn look_after(&self, connection: &Rc<Connection>) {
        if connection.is_closing() {
            connection.cut();
            return;
        }
        let now = self.now();
        let settings = self.settings();
        let patience = settings.patience(connection.transport());
        match liveness::look(connection.signs(), patience, now) {
            liveness::Due::Wait(next) => self.schedule(connection, next),
            liveness::Due::Ping(next) => {
                self.ping(connection, now);
                self.schedule(connection, next);
            }
            liveness::Due::Close(why) => self.close(connection, why),
        }
    }

    fn ping(&self, connection: &Rc<Connection>, now: Tick) {
        connection.pinged(now);
        if let Some(session) = connection.session() {
            session.cursors.borrow_mut().pinged();
        }
        match connection.codec().ping() {
            Some(ping) => self.push_anyway(connection, Rc::new(ping)),
            // The transport looks after a silent peer; one that takes what is written is there.
            None if !connection.blocked() => connection.heard(now),
            None => {}
        }
    }

    /// The bounds of a connection's outbox.
    fn limits(&self, connection: &Connection) -> Limits {
        let (socket, events) = self.limits.get();
        match connection.transport() {
            Transport::Sse => events,
            Transport::WebSocket | Transport::Grpc | Transport::Http => socket,
        }
    }

    /// Looks at this connection at `at` or before: one that is looked at earlier is scheduled anew by that.
    fn look_by(&self, connection: &Connection, at: Tick) {
        let pending = connection.timer();
        if pending <= self.now() || pending > at {
            self.schedule(connection, at);
        }
    }

    /// Looks at this connection again at `at`, and not before.
    pub fn schedule(&self, connection: &Connection, at: Tick) {
        let at = self.wheel.borrow_mut().schedule(at, connection.key());
        connection.set_timer(at);
    }

    /// The connection behind a key, if it is still the same.
    pub fn get(&self, key: SessionKey) -> Option<Rc<Connection>> {
        let connections = self.connections.borrow();
        match connections.get(key.slot as usize) {
            Some(connection) => (connection.key() == key).then(|| Rc::clone(connection)),
            None => self.get_asked(key),
        }
    }
}
