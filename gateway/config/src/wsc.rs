//! `WscConfig`: the configuration of the service itself; the resource's `spec.wsc` is this type.
//!
//! The same words and defaults as the reference, in camelCase. Sections are types of their own; conditions that span
//! sections are stated here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::closed::closed;
use crate::{
    AckConfig, ByteSize, DistributedConfig, GroupConfig, Origin, PerformanceConfig, RecordConfig,
    RedisConfig, Seconds, SecurityConfig, SseConfig, TicketConfig, schema,
};

closed! {
    /// What happens when a user connects once more than allowed.
    pub enum ConnectionPolicy {
        /// The oldest session is told why and closed.
        KickOld = "kickOld",
        /// The new connection is refused.
        KickNew = "kickNew",
        /// Both stay.
        AllowAll = "allowAll",
    }
}

closed! {
    /// What happens to a session that reads more slowly than it is sent to.
    pub enum SlowConsumerPolicy {
        /// It is closed with a code that tells it to come back.
        Disconnect = "disconnect",
        /// The message that has waited longest is dropped.
        DropOldest = "dropOldest",
        /// The message that just came is dropped.
        DropNewest = "dropNewest",
        /// What does not fit stays in the user's inbox.
        Spill = "spill",
    }
}

/// The WebSocket communication service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = schema::kubernetes)]
pub struct WscConfig {
    /// Whether there is a WebSocket (and SSE) listener. HTTP, gRPC and health go on without.
    pub enabled: bool,
    /// The address to listen on. Peers are told the pod's own.
    #[schemars(transform = schema::ip)]
    pub node_ip: IpAddr,
    /// The port to listen on. 0, in a file only: any free one.
    #[schemars(range(min = 1, max = 65_535), extend("x-wsc-zero" = true))]
    pub node_port: u16,
    /// Where WebSocket clients connect.
    #[schemars(length(min = 1, max = 128), regex(pattern = schema::PATH))]
    pub path: String,
    /// How long a connection may be quiet before the server pings it.
    #[schemars(transform = schema::between("1s", "1h"))]
    pub heartbeat_interval: Seconds,
    /// How long nothing at all may come from a client before it is closed. Must exceed `heartbeatInterval`.
    #[schemars(transform = schema::between("2s", "24h"))]
    pub client_timeout: Seconds,
    /// How many messages wait for a slow reader before `slowConsumerPolicy` decides.
    #[schemars(range(min = 1, max = 65_536))]
    pub message_buffer_size: u32,
    /// How many bytes wait for a slow reader before `slowConsumerPolicy` decides. At least `security.maxMessageSize`.
    #[schemars(transform = schema::between("1KiB", "1GiB"))]
    pub outbox_bytes: ByteSize,
    /// What happens when the outbox is full, by user type: `disconnect` (also for types not named), `dropOldest`,
    /// `dropNewest` or `spill`.
    #[schemars(extend("maxProperties" = 16))]
    pub slow_consumer_policy: BTreeMap<String, SlowConsumerPolicy>,
    /// The origins that browsers may come from, exact or `*.example.com`. Empty: the same origin, or none.
    #[schemars(length(max = 64))]
    pub websocket_origins: Vec<Origin>,
    /// Whether a user can have several sessions.
    pub allow_multi_login: bool,
    /// The most sessions of a user in the whole cluster. 0: no limit.
    #[schemars(range(min = 0, max = 10_000))]
    pub max_connections_per_user: u32,
    /// What happens when a user connects once more than allowed: `kickOld`, `kickNew` or `allowAll`.
    pub connection_policy: ConnectionPolicy,
    /// Acknowledgements.
    pub ack: AckConfig,
    /// Records of messages.
    pub record: RecordConfig,
    /// Server-Sent Events.
    pub sse: SseConfig,
    /// Several nodes as one service.
    pub distributed: DistributedConfig,
    /// The Redis that nodes share.
    pub redis: RedisConfig,
    /// Groups of users.
    pub group: GroupConfig,
    /// Tickets.
    pub ticket: TicketConfig,
    /// Limits of a node, buffers, compression and what is measured.
    pub performance: PerformanceConfig,
    /// Who gets in, what they may send and how much of it.
    pub security: SecurityConfig,
}

impl WscConfig {
    /// What to bind for WebSocket and SSE.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.node_ip, self.node_port)
    }

    /// What happens when the outbox of a session of this user type is full.
    pub fn slow_consumer(&self, user_type: &str) -> SlowConsumerPolicy {
        self.slow_consumer_policy
            .get(user_type)
            .copied()
            .unwrap_or(SlowConsumerPolicy::Disconnect)
    }
}

impl Default for WscConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            node_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            node_port: 8081,
            path: "/ws".to_owned(),
            heartbeat_interval: Seconds::from_secs(30),
            client_timeout: Seconds::from_secs(90),
            message_buffer_size: 256,
            outbox_bytes: ByteSize::from_kib(1024),
            slow_consumer_policy: BTreeMap::new(),
            websocket_origins: Vec::new(),
            allow_multi_login: true,
            max_connections_per_user: 3,
            connection_policy: ConnectionPolicy::KickOld,
            ack: AckConfig::default(),
            record: RecordConfig::default(),
            sse: SseConfig::default(),
            distributed: DistributedConfig::default(),
            redis: RedisConfig::default(),
            group: GroupConfig::default(),
            ticket: TicketConfig::default(),
            performance: PerformanceConfig::default(),
            security: SecurityConfig::default(),
        }
    }
}
