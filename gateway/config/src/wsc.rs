//! `WscConfig`: the configuration of the service itself; the resource's `spec.wsc` is this type.
//!
//! The same words and defaults as the reference, in camelCase. Sections are types of their own; conditions that span
//! sections are stated here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{check, join};
use crate::closed::closed;
use crate::problems::Problems;
use crate::schema::{self, Rule, bytes, kib, seconds};
use crate::{
    AckConfig, ByteSize, DeliveryConfig, DistributedConfig, GroupConfig, Origin, PerformanceConfig,
    PresenceConfig, RecordConfig, RedisConfig, Seconds, SecurityConfig, SseConfig, TicketConfig,
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

/// Conditions between keys; [`WscConfig::rules`] states the same.
const RULES: &[Rule] = &[
    Rule {
        cel: concat!(
            seconds!("self.clientTimeout"),
            " > ",
            seconds!("self.heartbeatInterval")
        ),
        message: "must exceed heartbeatInterval",
        path: ".clientTimeout",
    },
    Rule {
        cel: concat!(
            bytes!("self.outboxBytes"),
            ".compareTo(",
            kib!("self.security.maxMessageSize"),
            ") >= 0"
        ),
        message: "must be at least security.maxMessageSize",
        path: ".outboxBytes",
    },
    Rule {
        cel: "self.slowConsumerPolicy.all(t, t in self.security.allowedUserTypes)",
        message: "every key must be one of security.allowedUserTypes",
        path: ".slowConsumerPolicy",
    },
    Rule {
        cel: "self.allowMultiLogin || self.connectionPolicy != 'allowAll'",
        message: "cannot be allowAll when allowMultiLogin is false",
        path: ".connectionPolicy",
    },
    Rule {
        cel: "self.sse.path != self.path",
        message: "must differ from path",
        path: ".sse.path",
    },
];

/// The WebSocket communication service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::rules(RULES))]
pub struct WscConfig {
    /// Whether clients are served: the listener of WebSocket and SSE, and sessions over gRPC. HTTP, the gRPC API and health go
    /// on without.
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
    /// `dropNewest` or `spill`. Messages that are stored are never dropped: their session reads them from the log later.
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
    /// Durable delivery.
    pub delivery: DeliveryConfig,
    /// Records of messages.
    pub record: RecordConfig,
    /// Who is online.
    pub presence: PresenceConfig,
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

    /// Holds every key against its bounds and against the other keys; reports all problems at once.
    ///
    /// Paths begin with `wsc`, as they do in the gateway's file.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut problems = Problems::default();
        match (schema::at(["wsc"]), serde_json::to_value(self)) {
            (Some(schema), Ok(value)) => check(schema, &value, "wsc", &mut problems),
            (_, value) => problems.invalid(
                "wsc",
                format!("cannot be held against its schema: {value:?}"),
            ),
        }
        self.rules("wsc", &mut problems);
        problems.into_result()
    }

    /// Notes what the keys of this section do not mean together.
    pub(crate) fn rules(&self, at: &str, problems: &mut Problems) {
        self.timing(at, problems);
        self.sessions(at, problems);
        self.ack.rules(&join(at, "ack"), problems);
        self.sse.rules(&join(at, "sse"), problems);
        self.distributed.rules(&join(at, "distributed"), problems);
        self.redis.rules(&join(at, "redis"), problems);
        self.ticket.rules(&join(at, "ticket"), problems);
        self.security.rules(&join(at, "security"), problems);
    }

    /// What belongs together in time and in size.
    fn timing(&self, at: &str, problems: &mut Problems) {
        let (client, heartbeat) = (self.client_timeout, self.heartbeat_interval);
        if client <= heartbeat {
            let why = format!("must exceed {at}.heartbeatInterval ({heartbeat}), is {client}");
            problems.invalid(join(at, "clientTimeout"), why);
        }
        let (outbox, message) = (self.outbox_bytes, self.security.max_message_size);
        if outbox.bytes() < message.bytes() {
            let why =
                format!("must be at least {at}.security.maxMessageSize ({message}), is {outbox}");
            problems.invalid(join(at, "outboxBytes"), why);
        }
    }

    /// What belongs together in who may connect, and where.
    fn sessions(&self, at: &str, problems: &mut Problems) {
        let allowed = &self.security.allowed_user_types;
        if let Some(stranger) = self
            .slow_consumer_policy
            .keys()
            .find(|key| !allowed.contains(key))
        {
            let why = format!(
                "every key must be one of {at}.security.allowedUserTypes, `{stranger}` is not"
            );
            problems.invalid(join(at, "slowConsumerPolicy"), why);
        }
        if !self.allow_multi_login && self.connection_policy == ConnectionPolicy::AllowAll {
            let why = format!("cannot be allowAll when {at}.allowMultiLogin is false");
            problems.invalid(join(at, "connectionPolicy"), why);
        }
        if self.sse.path == self.path {
            let why = format!("must differ from {at}.path, is `{}`", self.path);
            problems.invalid(join(at, "sse.path"), why);
        }
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
            delivery: DeliveryConfig::default(),
            record: RecordConfig::default(),
            presence: PresenceConfig::default(),
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
