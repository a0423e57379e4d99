//! `RedisLink`: the connections to Redis, some for commands and one for pub/sub, kept alive by one task.
//!
//! The link lives and dies with the one for pub/sub and the first for commands: a node that hears nothing must not believe
//! that it is part of the cluster. Any other that breaks or hangs is replaced while the link stays. Every operation has a
//! deadline. What breaks is made anew with backoff and jitter, for ever; nothing waits for it: without a connection an
//! operation fails at once. Commands take turns on the pool, so only what waits for the answer before it goes on is in
//! order; what must be in order without waiting, as messages are, keeps to the pool's first connection. What waits for a
//! replica has connections of its own.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use ::redis::{PushInfo, PushKind, RedisResult, Value};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::calls::RedisCalls;
use super::dial::{self, Dialled, Ears, Line, OnPush, dial};
use super::keys::Keys;
use super::pool::{Health, Lane, Pool, Turn};
use super::verdict::{Sign, outcome, said, sign};
use super::waits::{Waiting, Waits};
use crate::cluster::backend::Listener;
use crate::cluster::params::{Address, Topology};
use crate::cluster::wire::Wire;
use crate::cluster::{ClusterError, Password, RedisParams};
use crate::protocol::NodeId;
use crate::security::Sealer;
use crate::telemetry::{RedisPart, StoreTimes};

/// The pause before the first attempt to reconnect, doubled by each that fails.
const BACKOFF: Duration = Duration::from_millis(50);

/// The longest pause: with Redis back, a node is back within this and a round trip or two.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Connecting takes several round trips, so it gets this many times the deadline of one operation.
const CONNECTING: u32 = 2;

/// A connection that lived this long was good: the next pause is a short one.
const GOOD: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub struct RedisLink {
    redis: RedisParams,
    /// What it says to whom it connects to next.
    password: ArcSwapOption<Password>,
    pub(super) keys: Keys,
    wire: Arc<Wire>,
    current: ArcSwapOption<Connection>,
}

/// All connections of one dialling.
#[derive(Debug)]
pub(super) struct Connection {
    generation: u64,
    pool: Pool,
    waits: Waits,
    /// Where they lead; nothing: to the members of a Redis Cluster.
    at: Option<Address>,
}

impl RedisLink {
    pub(in crate::cluster) fn new(redis: &RedisParams, cluster: &str, wire: Arc<Wire>) -> Self {
        Self {
            redis: redis.clone(),
            password: ArcSwapOption::new(redis.password.clone().map(Arc::new)),
            keys: Keys::new(redis, cluster),
            wire,
            current: ArcSwapOption::empty(),
        }
    }

    /// A link of its own, for whoever needs the parts without a whole [`Cluster`](crate::cluster::Cluster).
    pub fn standalone(redis: &RedisParams, cluster: &str) -> Arc<Self> {
        Arc::new(Self::new(redis, cluster, Arc::new(Wire::down())))
    }

    /// Seals contents before they go to Redis, and opens them.
    pub fn sealer(&self) -> &Arc<Sealer> {
        &self.redis.sealer
    }

    /// Goes by another password from the next connection on; those that are there stay.
    pub fn go_by(&self, password: Option<Password>) {
        self.password.store(password.map(Arc::new));
    }

    /// Resolves once there is a connection.
    pub async fn connected(&self) {
        let mut state = self.wire.watch();
        // The sender lives as long as `self`.
        let _ = state.wait_for(|state| state.generation.is_some()).await;
    }

    /// Keeps a connection until cancelled; the listener gets what is sent to this node and to all.
    pub async fn keep(
        self: Arc<Self>,
        node: NodeId,
        listener: Arc<dyn Listener>,
        cancel: CancellationToken,
    ) {
        let mut generation = 0;
        let mut pause = BACKOFF;
        let mut reported = String::new();
        loop {
            generation += 1;
            let begun = Instant::now();
            let reason = tokio::select! {
                () = cancel.cancelled() => break,
                reason = self.live(generation, &node, &listener) => reason,
            };
            self.current.store(None);
            if reason == reported {
                tracing::debug!(reason, "still no connection to redis");
            } else {
                tracing::warn!(
                    at = self.redis.described(),
                    reason,
                    "no connection to redis"
                );
                reported.clone_from(&reason);
            }
            self.wire.lost(reason);
            if begun.elapsed() > GOOD {
                pause = BACKOFF;
            }
            tokio::select! {
                () = cancel.cancelled() => break,
                () = sleep(pause.mul_f64(rand::random_range(0.5..1.0))) => {}
            }
            pause = (pause * 2).min(BACKOFF_MAX);
        }
        self.current.store(None);
        self.wire.lost("the node ends".to_owned());
    }

    /// One connection from beginning to end; returns why it ended.
    async fn live(&self, generation: u64, node: &NodeId, listener: &Arc<dyn Listener>) -> String {
        let deadline = self.redis.deadline * CONNECTING;
        let connecting = self.connect(generation, node, listener);
        // The subscription ends here: whoever still waits for an answer keeps the rest, and would keep that as well.
        let (connection, _messages) = match timeout(deadline, connecting).await {
            Ok(Ok((connection, messages))) => (Arc::new(connection), messages),
            Ok(Err(error)) => return error.to_string(),
            Err(_) => {
                return format!("no answer to connecting within {} ms", deadline.as_millis());
            }
        };
        self.current.store(Some(connection.clone()));
        tracing::info!(at = self.redis.described(), "connected to redis");
        self.wire.connected(generation);
        tokio::select! {
            reason = self.wire.distrusted(generation) => reason,
            never = self.repair(&connection) => match never {},
        }
    }

    /// Replaces connections for commands that are in doubt, one after the other. Without a Redis that answers it comes to
    /// nothing, so that a slow one is not dialled for as many connections as there are.
    async fn repair(&self, connection: &Connection) -> Infallible {
        loop {
            let health = connection.pool.wanted().await;
            let ear = self.ear_of_commands(connection.generation, health.clone());
            let redis = self.to_dial();
            let dialling = dial::line(&redis, connection.at.as_ref(), ear);
            match timeout(self.redis.deadline * CONNECTING, dialling).await {
                Ok(Ok(line)) => {
                    tracing::info!("a connection to redis broke or hung and is replaced");
                    connection.pool.replace(line, health);
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a connection to redis cannot be replaced now");
                    sleep(BACKOFF_MAX).await;
                }
                Err(_) => tracing::debug!("redis does not answer a new connection"),
            }
        }
    }

    async fn connect(
        &self,
        generation: u64,
        node: &NodeId,
        listener: &Arc<dyn Listener>,
    ) -> RedisResult<(Connection, Line)> {
        let wanted = Arc::new(Notify::new());
        let healths: Vec<_> = (0..self.redis.pool.max(1))
            .map(|place| Health::new(place, &wanted))
            .collect();
        let ear_of = |health: &Arc<Health>| self.ear_of_commands(generation, health.clone());
        let ears = Ears {
            commands: healths.iter().map(ear_of).collect(),
            messages: self.ear_of_messages(generation, listener.clone()),
        };
        let Dialled {
            commands,
            mut messages,
            at,
        } = dial(&self.to_dial(), &ears).await?;
        messages
            .listen(&[self.keys.channel(node), self.keys.channel_of_all()])
            .await?;
        let pool = Pool::new(commands.into_iter().zip(healths), wanted);
        let connection = Connection {
            generation,
            waits: Waits::new(pool.size()),
            pool,
            at,
        };
        Ok((connection, messages))
    }

    /// Hears messages, and that no more will come. What was sent meanwhile is lost, and others must know.
    fn ear_of_messages(&self, generation: u64, listener: Arc<dyn Listener>) -> OnPush {
        let wire = self.wire.clone();
        Arc::new(move |push: PushInfo| match push.kind {
            PushKind::Disconnection => {
                wire.distrust(generation, "the connection was closed".to_owned());
            }
            PushKind::SUnsubscribe => {
                wire.distrust(generation, "a channel moved to another server".to_owned());
            }
            PushKind::Message | PushKind::SMessage => {
                if let Some(envelope) = payload(push.data) {
                    listener.offer(envelope);
                }
            }
            _ => {}
        })
    }

    /// Hears that a connection for commands is of no more use. In a Redis Cluster it heals by itself.
    fn ear_of_commands(&self, generation: u64, health: Arc<Health>) -> OnPush {
        let wire = self.wire.clone();
        let is_healing = self.is_cluster();
        Arc::new(move |push: PushInfo| match push.kind {
            PushKind::Disconnection if !is_healing && health.is_first() => {
                wire.distrust(generation, "the connection was closed".to_owned());
            }
            PushKind::Disconnection if !is_healing => health.doubt(),
            _ => {}
        })
    }

    /// What a connection is made with now.
    fn to_dial(&self) -> RedisParams {
        let password = self.password.load();
        RedisParams {
            password: password.as_deref().cloned(),
            ..self.redis.clone()
        }
    }

    /// Whether it leads to the members of a Redis Cluster, where what is asked together must lie in one slot.
    pub fn is_cluster(&self) -> bool {
        matches!(self.redis.topology, Topology::Cluster(_))
    }

    /// The command that publishes where this link listens.
    pub(super) fn publish(&self) -> &'static str {
        if self.is_cluster() {
            "SPUBLISH"
        } else {
            "PUBLISH"
        }
    }

    /// The key `name` among those that lie in one slot with everything else under `tag`: `<prefix>{<cluster>:<tag>}:<name>`.
    /// What scales with users, groups or tickets has a tag each, so that it spreads over a Redis Cluster; a script or
    /// pipeline keeps to one tag.
    pub fn key(&self, tag: &str, name: &str) -> String {
        self.keys.tagged(tag, name)
    }

    /// The link as one part of the gateway uses it.
    pub fn calls(self: &Arc<Self>, part: RedisPart) -> RedisCalls {
        RedisCalls::new(Arc::clone(self), part)
    }

    /// The deadline of each operation.
    pub(super) fn deadline(&self) -> Duration {
        self.redis.deadline
    }

    /// What is measured.
    pub(super) fn times(&self) -> &StoreTimes {
        &self.redis.times
    }

    /// All connections, if there are any.
    pub(super) fn connection(&self) -> Result<Arc<Connection>, ClusterError> {
        self.current.load_full().ok_or(ClusterError::Disconnected)
    }

    /// One connection for commands, and those it is one of.
    pub(super) fn turn(&self, lane: Lane) -> Result<(Arc<Connection>, Turn), ClusterError> {
        let connection = self.connection()?;
        let turn = connection.pool.turn(lane);
        Ok((connection, turn.ok_or(ClusterError::Disconnected)?))
    }

    /// What became of an operation on a connection of the pool. One that shows it to be of no more use ends it.
    pub(super) fn judge<T>(
        &self,
        operation: &'static str,
        (connection, turn): (&Connection, &Turn),
        answer: Result<RedisResult<T>, Elapsed>,
    ) -> Result<T, ClusterError> {
        match sign(&answer) {
            Sign::Answer => turn.answered(),
            Sign::Silence => turn.unanswered(),
            Sign::Replica => {
                turn.answered();
                self.is_replica(connection, &answer);
            }
            // One member of a Redis Cluster is not all of it: the canary judges the whole.
            Sign::Broken if self.is_cluster() => {}
            Sign::Broken if turn.is_first() => {
                self.wire.distrust(connection.generation, said(&answer));
            }
            Sign::Broken => turn.broken(),
        }
        outcome(operation, self.redis.deadline, answer)
    }

    /// A connection to wait on for a replica; its turn comes within this time or not at all.
    pub(super) async fn waiting_line(
        &self,
        operation: &'static str,
        connection: &Connection,
        patience: Duration,
    ) -> Result<Waiting, ClusterError> {
        let until = Instant::now() + patience;
        let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let most = connection.pool.size();
        let (idle, room) = match timeout_at(until, connection.waits.room()).await {
            Ok(room) => room.ok_or(ClusterError::Disconnected)?,
            Err(_) => return Err(ClusterError::ReplicaBacklog { most, millis }),
        };
        if let Some(idle) = idle {
            return Ok(Waiting::again(idle, room));
        }
        let open = Arc::new(AtomicBool::new(true));
        let closes = open.clone();
        let ear = Arc::new(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                closes.store(false, Relaxed);
            }
        });
        let redis = self.to_dial();
        let dialling = dial::line(&redis, connection.at.as_ref(), ear);
        let dialled = timeout_at(until, dialling).await;
        let line = outcome(operation, self.redis.deadline, dialled)?;
        Ok(Waiting::new(line, open, room))
    }

    /// What became of an operation that waited for a replica. Its connection is kept if it has answered.
    pub(super) fn judge_waiting<T>(
        &self,
        operation: &'static str,
        (connection, waiting): (&Connection, Waiting),
        answer: Result<RedisResult<T>, Elapsed>,
    ) -> Result<T, ClusterError> {
        match sign(&answer) {
            Sign::Answer => connection.waits.give_back(waiting),
            Sign::Replica => self.is_replica(connection, &answer),
            Sign::Silence | Sign::Broken => {}
        }
        outcome(operation, self.redis.deadline, answer)
    }

    /// What became of one of several operations that were answered together.
    pub(super) fn judge_one<T>(
        &self,
        operation: &'static str,
        connection: &Connection,
        answer: RedisResult<T>,
    ) -> Result<T, ClusterError> {
        let answer = Ok(answer);
        if sign(&answer) == Sign::Replica {
            self.is_replica(connection, &answer);
        }
        outcome(operation, self.redis.deadline, answer)
    }

    /// Redis Cluster's connections follow their primaries themselves.
    fn is_replica<T>(&self, connection: &Connection, answer: &Result<RedisResult<T>, Elapsed>) {
        if !self.is_cluster() {
            self.wire.distrust(connection.generation, said(answer));
        }
    }
}

fn payload(mut data: Vec<Value>) -> Option<Bytes> {
    match data.pop()? {
        Value::BulkString(payload) => Some(payload.into()),
        _ => None,
    }
}
