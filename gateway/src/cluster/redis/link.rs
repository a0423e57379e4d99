//! `RedisLink`: the connections to Redis, some for commands and one for pub/sub, kept alive by one task.
//!
//! All live and die together: a node that hears nothing must not believe that it is part of the cluster. Every
//! operation has a deadline. What breaks is made anew with backoff and jitter, for ever; nothing waits for it: without a
//! connection an operation fails at once. Commands take turns on the pool, so only what waits for the answer before it
//! goes on is in order; what must be in order without waiting, as messages are, keeps to the pool's first connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use ::redis::{ErrorKind, PushInfo, PushKind, RedisError, RedisResult, Value};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::calls::RedisCalls;
use super::dial::{Dialled, Ears, Line, OnPush, dial};
use super::keys::Keys;
use crate::cluster::backend::Listener;
use crate::cluster::params::Topology;
use crate::cluster::wire::Wire;
use crate::cluster::{ClusterError, RedisParams};
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
    pub(super) keys: Keys,
    wire: Arc<Wire>,
    current: ArcSwapOption<Connection>,
}

#[derive(Debug)]
struct Connection {
    generation: u64,
    commands: Vec<Line>,
    /// How often one was picked.
    turns: AtomicUsize,
    /// Dropping it ends the subscription.
    _messages: Line,
}

/// Which connection of the pool.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lane {
    /// Each in turn.
    Any,
    /// Always the same.
    First,
}

impl RedisLink {
    pub(in crate::cluster) fn new(redis: &RedisParams, cluster: &str, wire: Arc<Wire>) -> Self {
        Self {
            redis: redis.clone(),
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
        match timeout(deadline, self.connect(generation, node, listener)).await {
            Ok(Ok(connection)) => self.current.store(Some(Arc::new(connection))),
            Ok(Err(error)) => return error.to_string(),
            Err(_) => {
                return format!("no answer to connecting within {} ms", deadline.as_millis());
            }
        }
        tracing::info!(at = self.redis.described(), "connected to redis");
        self.wire.connected(generation);
        self.wire.distrusted(generation).await
    }

    async fn connect(
        &self,
        generation: u64,
        node: &NodeId,
        listener: &Arc<dyn Listener>,
    ) -> RedisResult<Connection> {
        let ears = Ears {
            commands: self.ear(generation, None),
            messages: self.ear(generation, Some(listener.clone())),
        };
        let Dialled {
            commands,
            mut messages,
        } = dial(&self.redis, &ears).await?;
        messages
            .listen(&[self.keys.channel(node), self.keys.channel_of_all()])
            .await?;
        Ok(Connection {
            generation,
            commands,
            turns: AtomicUsize::new(0),
            _messages: messages,
        })
    }

    /// What is heard over a connection: messages, and that it is of no more use. In a Redis Cluster a connection for commands
    /// heals by itself, one for messages does not: what was sent meanwhile is lost, and others must know.
    fn ear(&self, generation: u64, listener: Option<Arc<dyn Listener>>) -> OnPush {
        let wire = self.wire.clone();
        let is_healing = self.is_cluster() && listener.is_none();
        Arc::new(move |push: PushInfo| match push.kind {
            PushKind::Disconnection if !is_healing => {
                wire.distrust(generation, "the connection was closed".to_owned());
            }
            PushKind::SUnsubscribe => {
                wire.distrust(generation, "a channel moved to another server".to_owned());
            }
            PushKind::Message | PushKind::SMessage => {
                if let (Some(listener), Some(envelope)) = (&listener, payload(push.data)) {
                    listener.offer(envelope);
                }
            }
            _ => {}
        })
    }

    fn is_cluster(&self) -> bool {
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

    /// A connection, and which dialling made it.
    pub(super) fn line(&self, lane: Lane) -> Result<(u64, Line), ClusterError> {
        let current = self.current.load();
        let connection = current.as_ref().ok_or(ClusterError::Disconnected)?;
        let turn = match lane {
            Lane::First => 0,
            Lane::Any => connection.turns.fetch_add(1, Relaxed) % connection.commands.len().max(1),
        };
        let line = connection.commands.get(turn).cloned();
        Ok((
            connection.generation,
            line.ok_or(ClusterError::Disconnected)?,
        ))
    }

    /// What became of an operation. One that shows a connection to be of no more use ends that.
    pub(super) fn judge<T>(
        &self,
        operation: &'static str,
        generation: u64,
        answer: Result<RedisResult<T>, tokio::time::error::Elapsed>,
    ) -> Result<T, ClusterError> {
        let millis = u64::try_from(self.redis.deadline.as_millis()).unwrap_or(u64::MAX);
        match answer {
            Ok(Ok(value)) => Ok(value),
            Err(_) => Err(ClusterError::Deadline { operation, millis }),
            Ok(Err(error)) if error.is_timeout() => {
                Err(ClusterError::Deadline { operation, millis })
            }
            Ok(Err(error)) if is_broken(&error) => {
                // One member of a Redis Cluster is not all of it: the canary judges the whole.
                if !self.is_cluster() {
                    self.wire.distrust(generation, error.to_string());
                }
                Err(ClusterError::Disconnected)
            }
            Ok(Err(source)) => {
                if is_replica(&source) && !self.is_cluster() {
                    self.wire.distrust(generation, source.to_string());
                }
                Err(ClusterError::Refused { operation, source })
            }
        }
    }
}

/// Whether the connection is of no more use. A server's refusal is not that.
fn is_broken(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse) || error.is_connection_dropped()
}

/// Whether this is no longer the primary: the name may lead to another one by now.
fn is_replica(error: &RedisError) -> bool {
    matches!(error.code(), Some("READONLY" | "MASTERDOWN"))
}

fn payload(mut data: Vec<Value>) -> Option<Bytes> {
    match data.pop()? {
        Value::BulkString(payload) => Some(payload.into()),
        _ => None,
    }
}
