//! Who is in the shard: a connection enters with its socket, becomes a session with its identity, and leaves once.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{SessionKey, Shard};
use crate::cluster::{SessionChange, SessionRecord};
use crate::hub::KickWhom;
use crate::protocol::{Codec, Control, Disconnect, Position, SessionId, Transport, UserId, json};
use crate::security::Identity;
use crate::session::liveness::{self, ticks};
use crate::transport::{Connection, Socket, extended};

/// How long a known client waits for its session. Callbacks and hooks may take half of it; a store that does not answer is
/// given up long before.
const OPENING: Duration = Duration::from_mins(1);

impl Shard {
    /// Takes in an upgraded socket. It has no identity yet and is given up when it does not get one in time.
    pub fn enter(&self, socket: Socket, codec: Codec, peer: SocketAddr) -> Rc<Connection> {
        let generation = self.generation.get().wrapping_add(1);
        self.generation.set(generation);
        let now = self.now();
        let mut connections = self.connections.borrow_mut();
        let entry = connections.vacant_entry();
        let slot = u32::try_from(entry.key()).unwrap_or(u32::MAX);
        let until = now.saturating_add(ticks(self.settings().auth_timeout));
        let connection = Rc::new(Connection::new(
            SessionKey { slot, generation },
            (socket, codec),
            peer,
            now,
        ));
        connection.set_until(Some((until, Disconnect::Unauthenticated)));
        self.context.admission.connected(peer.ip());
        entry.insert(Rc::clone(&connection));
        drop(connections);
        self.count(|stats| _ = stats.connections.fetch_add(1, Relaxed));
        self.schedule(&connection, until);
        connection
    }

    /// The client has shown who it is. What its session still waits for is no fault of the client's: when that takes too
    /// long, it is told to try again.
    pub fn recognise(&self, connection: &Connection) {
        let until = self.now().saturating_add(ticks(OPENING));
        connection.set_until(Some((until, Disconnect::Unavailable)));
        self.look_by(connection, until);
    }

    /// Gives a connection its identity: from here on it is a session, found by its user and known to the cluster.
    pub fn activate(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        (session, identity): (SessionId, Identity),
        resumed: bool,
    ) {
        self.set_expiry(connection, &identity);
        let policy = self.settings().overflow(&identity.user_type);
        let slot = connection.key().slot;
        let mut users = self.users.borrow_mut();
        users
            .entry(identity.user.clone())
            .or_insert_with(|| Vec::with_capacity(1))
            .push(slot);
        drop(users);
        self.by_id.borrow_mut().insert(session, slot);
        *self
            .context
            .hub
            .user_types()
            .lock()
            .entry(Arc::clone(&identity.user_type))
            .or_default() += 1;
        connection.set_session(session, identity, policy, unix_millis());
        self.count(|stats| stats.session_began(connection.transport()));
        if let Some(record) = self.record(connection) {
            let user = record.user.clone();
            let up = || self.context.cluster.changed(SessionChange::Up(record));
            self.context.hub.users().add(&user, self.id, up);
        }
        self.enter_groups(connection);
        if let Some(session) = connection.session() {
            self.context.tickets.arrived(&session.identity());
        }
        self.welcome(connection, resumed);
        let patience = self.settings().patience(connection.transport());
        let due = match liveness::look(connection.signs(), patience, self.now()) {
            liveness::Due::Wait(next) => next,
            liveness::Due::Ping(_) | liveness::Due::Close(_) => self.now(),
        };
        self.look_by(connection, due);
    }

    /// Has the connection end with its token. Only the distance to the expiry comes from the wall clock: later steps of it
    /// move no deadline.
    fn set_expiry(&self, connection: &Connection, identity: &Identity) {
        let left = identity
            .expires_at()
            .map(|at| at.saturating_sub(unix_time().as_secs()));
        connection.set_until(left.map(|left| {
            let ticks = ticks(Duration::from_secs(left));
            (self.now().saturating_add(ticks), Disconnect::TokenExpired)
        }));
    }

    /// Has a session go by a new token of the same user: what it may do, and until when.
    pub fn renew(&self, connection: &Connection, identity: Identity) {
        if let Some(session) = connection.session() {
            self.set_expiry(connection, &identity);
            self.context.tickets.arrived(&identity);
            session.renew(identity);
            self.schedule(connection, self.now());
        }
    }

    /// Ends every session whose token was taken back.
    pub fn end_revoked(&self) {
        let is_over = |connection: &Rc<Connection>| {
            let session = connection.session();
            session.is_some_and(|session| self.context.revocations.cover(&session.identity()))
        };
        for connection in self.all().iter().filter(|connection| is_over(connection)) {
            self.close(connection, Disconnect::TokenRevoked);
        }
    }

    fn welcome(&self, connection: &Rc<Connection>, resumed: bool) {
        let Some(session) = connection.session() else {
            return;
        };
        let identity = session.identity();
        let settings = self.settings();
        let (heartbeat, timeout) = match connection.transport() {
            Transport::Sse => (settings.sse.heartbeat, settings.sse.timeout),
            Transport::WebSocket | Transport::Grpc | Transport::Http => {
                (settings.heartbeat, settings.client_timeout)
            }
        };
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let welcome = json::Welcome {
            session_id: session.id.to_string(),
            node: &settings.node,
            user_id: identity.user.as_str(),
            user_type: &identity.user_type,
            heartbeat_interval_ms: millis(heartbeat),
            client_timeout_ms: millis(timeout),
            max_message_size: settings.max_message,
            resumed,
        };
        self.say_anyway(connection, &Control::Welcome(&welcome));
    }

    /// Everything in the user's inbox up to here has arrived at this client.
    pub fn saw(&self, connection: &Connection, position: Position) {
        if let Some(session) = connection.session() {
            self.context
                .delivery
                .saw(&session.identity().user, position);
        }
    }

    /// Frees a connection's place. Called once, by its reading task.
    pub fn leave(&self, connection: &Rc<Connection>) {
        if self.get(connection.key()).is_none() {
            return;
        }
        let removed = self
            .connections
            .borrow_mut()
            .try_remove(connection.key().slot as usize);
        debug_assert!(removed.is_some());
        let why = connection
            .disconnect()
            .unwrap_or(Disconnect::ConnectionLost);
        self.count(|stats| {
            stats.connections.fetch_sub(1, Relaxed);
            stats.count_disconnect(why);
        });
        self.context.admission.disconnected(connection.peer().ip());
        self.forget(connection);
        self.context.presence.forget((self.id, connection.key()));
        let service = &self.context.service;
        // One that was described and then refused has not connected.
        if service.hears_clients()
            && connection.session().is_some()
            && let Some(client) = extended::client_of(self, connection)
        {
            service.client_disconnected(client, why);
        }
        // What was answered in this very turn still goes out; then nothing keeps the socket, blocked or not.
        if !connection.blocked() {
            self.write_out(connection);
        }
        connection.cut();
        connection.outbox().borrow_mut().clear();
    }

    fn forget(&self, connection: &Rc<Connection>) {
        let Some(session) = connection.session() else {
            return;
        };
        self.leave_groups(connection);
        self.count(|stats| stats.session_ended(connection.transport()));
        let slot = connection.key().slot;
        let identity = session.identity();
        let user = &identity.user;
        self.context.admission.unseat(user, session.id);
        self.by_id.borrow_mut().remove(&session.id);
        let mut users = self.users.borrow_mut();
        if let Some(slots) = users.get_mut(user) {
            slots.retain(|known| *known != slot);
            if slots.is_empty() {
                users.remove(user);
            }
        }
        drop(users);
        if let Some(count) = self
            .context
            .hub
            .user_types()
            .lock()
            .get_mut(&identity.user_type)
        {
            *count = count.saturating_sub(1);
        }
        self.context.hub.users().remove(user, self.id, |_| {
            let (session, user) = (session.id, user.clone());
            self.context
                .cluster
                .changed(SessionChange::Down { session, user });
        });
    }

    /// The sessions of a user on this shard.
    pub fn of_user(&self, user: &UserId) -> Vec<Rc<Connection>> {
        let users = self.users.borrow();
        let connections = self.connections.borrow();
        let slots = users.get(user).map(Vec::as_slice).unwrap_or_default();
        slots
            .iter()
            .filter_map(|slot| connections.get(*slot as usize).cloned())
            .collect()
    }

    /// Ends sessions, telling each client why; how many.
    pub fn kick(&self, whom: &KickWhom, reason: &str) -> usize {
        let kicked = match whom {
            KickWhom::User(user) => self.of_user(user),
            KickWhom::Session(id) => {
                let slot = self.by_id.borrow().get(id).copied();
                let connections = self.connections.borrow();
                slot.and_then(|slot| connections.get(slot as usize).cloned())
                    .into_iter()
                    .collect()
            }
        };
        let live = kicked.iter().filter(|connection| !connection.is_closing());
        live.map(|connection| {
            self.say_anyway(connection, &Control::Kicked { reason });
            self.close(connection, Disconnect::Kicked);
        })
        .count()
    }

    /// Notes a session whose tickets are to be looked for; whether it is the first of those.
    pub fn comes_back(&self, connection: &Rc<Connection>) -> bool {
        let mut come = self.come_back.borrow_mut();
        come.push(Rc::clone(connection));
        come.len() == 1
    }

    /// Who has come since this was last asked.
    pub fn take_back(&self) -> Vec<Rc<Connection>> {
        self.come_back.take()
    }

    /// The authenticated sessions, for the directory.
    pub fn snapshot(&self) -> Vec<SessionRecord> {
        self.all()
            .iter()
            .filter_map(|connection| self.record(connection))
            .collect()
    }

    fn record(&self, connection: &Connection) -> Option<SessionRecord> {
        let session = connection.session()?;
        let identity = session.identity();
        let (node, epoch) = self.context.cluster.identity();
        Some(SessionRecord {
            session: session.id,
            user: identity.user.clone(),
            user_type: Arc::clone(&identity.user_type),
            node: node.clone(),
            epoch,
            transport: connection.transport().label().into(),
            device: identity.device.clone(),
            connected_at: session.connected_at,
        })
    }
}

fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Wall-clock time for data: Unix milliseconds. Deadlines never come from it.
pub fn unix_millis() -> u64 {
    u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX)
}
