//! `RedisLink`: the connections to Redis, one for commands and one for pub/sub, kept alive by one task.
//!
//! Both live and die together: a node that hears nothing must not believe that it is part of the cluster. Every
//! operation has a deadline. What breaks is made anew with backoff and jitter, for ever; nothing waits for it: without a
//! connection an operation fails at once.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, FromRedisValue, IntoConnectionInfo,
    Pipeline, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError, RedisResult,
    Script, ScriptInvocation, Value,
};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures_util::future::try_join;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::keys::Keys;
use crate::cluster::backend::Listener;
use crate::cluster::wire::Wire;
use crate::cluster::{ClusterError, RedisParams};
use crate::protocol::NodeId;
use crate::security::Sealer;

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
    commands: MultiplexedConnection,
    /// Dropping it ends the subscription.
    _subscription: MultiplexedConnection,
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
                    host = self.redis.host,
                    port = self.redis.port,
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
        tracing::info!(
            host = self.redis.host,
            port = self.redis.port,
            "connected to redis"
        );
        self.wire.connected(generation);
        self.wire.distrusted(generation).await
    }

    async fn connect(
        &self,
        generation: u64,
        node: &NodeId,
        listener: &Arc<dyn Listener>,
    ) -> RedisResult<Connection> {
        let client = self.client()?;
        let for_commands = self.config(generation, None);
        let for_messages = self.config(generation, Some(listener.clone()));
        let (commands, mut subscription) = try_join(
            client.get_multiplexed_async_connection_with_config(&for_commands),
            client.get_multiplexed_async_connection_with_config(&for_messages),
        )
        .await?;
        subscription
            .subscribe(&[self.keys.channel(node), self.keys.channel_of_all()])
            .await?;
        Ok(Connection {
            generation,
            commands,
            _subscription: subscription,
        })
    }

    fn client(&self) -> RedisResult<Client> {
        let mut settings = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_db(self.redis.db.into());
        if let Some(username) = &self.redis.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.redis.password {
            settings = settings.set_password(password.reveal());
        }
        let address = ConnectionAddr::Tcp(self.redis.host.clone(), self.redis.port);
        let info = address
            .into_connection_info()?
            .set_redis_settings(settings)
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        Client::open(info)
    }

    fn config(
        &self,
        generation: u64,
        listener: Option<Arc<dyn Listener>>,
    ) -> AsyncConnectionConfig {
        let wire = self.wire.clone();
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.redis.deadline))
            .set_response_timeout(Some(self.redis.deadline))
            .set_push_sender(
                move |push: PushInfo| -> Result<(), std::convert::Infallible> {
                    if push.kind == PushKind::Disconnection {
                        wire.distrust(generation, "the connection was closed".to_owned());
                    } else if let (PushKind::Message, Some(listener), Some(envelope)) =
                        (&push.kind, &listener, payload(push.data))
                    {
                        listener.offer(envelope);
                    }
                    Ok(())
                },
            )
    }

    /// The key `name` among those that lie in one slot with everything else under `tag`: `<prefix>{<cluster>:<tag>}:<name>`.
    /// What scales with users, groups or tickets has a tag each, so that it spreads over a Redis Cluster; a script or
    /// pipeline keeps to one tag.
    pub fn key(&self, tag: &str, name: &str) -> String {
        self.keys.tagged(tag, name)
    }

    /// Runs a pipeline under the deadline.
    pub async fn query<T: FromRedisValue>(
        &self,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<T, ClusterError> {
        let (generation, mut commands) = self.commands()?;
        let answer = timeout(self.redis.deadline, pipeline.query_async(&mut commands)).await;
        self.judge(operation, generation, answer)
    }

    /// Runs a script under the deadline. All keys it touches are passed in.
    pub async fn run<T: FromRedisValue>(
        &self,
        operation: &'static str,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, ClusterError> {
        let (generation, mut commands) = self.commands()?;
        let answer = timeout(self.redis.deadline, script.invoke_async(&mut commands)).await;
        self.judge(operation, generation, answer)
    }

    /// Runs a script and waits until a replica has what it wrote. One pipeline, since `WAIT` is about the writes of its
    /// own connection.
    pub async fn run_replicated<T: FromRedisValue>(
        &self,
        operation: &'static str,
        script: &Script,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, ClusterError> {
        let patience = self.redis.deadline / 2;
        let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let mut pipeline = Pipeline::new();
        pipeline.load_script(script).ignore().invoke_script(call);
        pipeline.cmd("WAIT").arg(1).arg(millis);
        let (value, replicas): (T, u64) = self.query(operation, &pipeline).await?;
        if replicas == 0 {
            return Err(ClusterError::NotReplicated { millis });
        }
        Ok(value)
    }

    fn commands(&self) -> Result<(u64, MultiplexedConnection), ClusterError> {
        let current = self.current.load();
        let connection = current.as_ref().ok_or(ClusterError::Disconnected)?;
        Ok((connection.generation, connection.commands.clone()))
    }

    fn judge<T>(
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
                self.wire.distrust(generation, error.to_string());
                Err(ClusterError::Disconnected)
            }
            Ok(Err(source)) => {
                if is_replica(&source) {
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
