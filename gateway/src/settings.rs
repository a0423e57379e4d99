//! The configuration as the running gateway needs it: resolved once, immutable, shared by reference.
//!
//! After [`Settings::resolve`] nobody touches the raw configuration: units are those of the code that uses them, secrets
//! have been read, and what cannot be served has been refused.

mod secrets;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wsc_config::{
    Acceptance, GatewayConfig, PerformanceConfig, RebalanceConfig, SlowConsumerPolicy,
    TicketConfig, WscConfig,
};

use crate::delivery::AckRules;
use crate::group::GroupSettings;
use crate::jwks::FetchError;
use crate::protocol::{Target, Transport};
use crate::security::{
    ApiKeyError, FetchedKeys, JwtSettings, KeyError, Keys, OriginPolicy, QueryToken, SealKeyError,
    TokenVerifier,
};
use crate::service::HookPlanError;
use crate::session::decide::Offered;
use crate::session::liveness::{Patience, ticks};
use crate::session::{Limits, OverflowPolicy};
use crate::tls::TlsError;

pub use secrets::Secrets;

/// Why the configuration cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A secret's file is there but cannot be read.
    #[error("secret {name} in {dir}")]
    Secret {
        /// The file's name.
        name: String,
        /// The directory.
        dir: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Authentication is on and there is no key to check tokens with.
    #[error("wsc.security.enableAuth: no jwt-key in the secrets directory")]
    NoKey,
    /// A key of tokens cannot be used.
    #[error("keys of tokens")]
    Key(#[source] KeyError),
    /// The keys of tokens cannot be fetched from where they should be.
    #[error("keys of tokens")]
    Jwks(#[from] FetchError),
    /// The API key cannot be used.
    #[error("api-key")]
    ApiKey(#[source] ApiKeyError),
    /// A listener cannot speak TLS.
    #[error("TLS")]
    Tls(#[from] TlsError),
    /// Sealing is on and there is no key.
    #[error("wsc.security.enableEncryption: no encryption-key in the secrets directory")]
    NoSealKey,
    /// A hook cannot be.
    #[error("hooks")]
    Hook(#[from] HookPlanError),
    /// A key contents are sealed with cannot be used.
    #[error("{name}")]
    SealKey {
        /// Its file.
        name: String,
        /// Why.
        #[source]
        source: SealKeyError,
    },
}

/// What event streams go by.
#[derive(Debug)]
pub struct SseSettings {
    /// Where clients connect.
    pub path: String,
    /// A comment goes down a stream that has been quiet for so long.
    pub heartbeat: Duration,
    /// A stream that takes nothing of what is written for so long is closed.
    pub timeout: Duration,
    /// Both in ticks.
    pub patience: Patience,
    /// Bounds of a stream's outbox.
    pub outbox: Limits,
}

impl SseSettings {
    fn resolve(wsc: &WscConfig) -> Self {
        let (heartbeat, timeout) = (wsc.sse.heartbeat.into(), wsc.sse.timeout.into());
        Self {
            path: wsc.sse.path.clone(),
            heartbeat,
            timeout,
            patience: Patience {
                heartbeat: ticks(heartbeat),
                timeout: ticks(timeout),
            },
            outbox: Limits {
                messages: wsc.sse.message_buffer as usize,
                bytes: wsc.outbox_bytes.len(),
            },
        }
    }
}

/// What sessions and transports go by.
#[derive(Debug)]
pub struct Settings {
    /// This node's name.
    pub node: String,
    /// Where WebSocket clients connect.
    pub path: String,
    /// Allowed origins.
    pub origins: OriginPolicy,
    /// Checks tokens; `None`: authentication is off and clients name themselves.
    pub verifier: Option<TokenVerifier>,
    /// How long a token issued now can be good for, the leeway included on both ends.
    pub longest_token: Duration,
    /// User types that may connect.
    pub user_types: Vec<String>,
    /// Whether a token may stand in the query.
    pub query_token: QueryToken,
    /// From the accepted socket to the answered upgrade.
    pub handshake_timeout: Duration,
    /// From the upgrade to the `auth` frame.
    pub auth_timeout: Duration,
    /// Heartbeat as configured, for the welcome frame.
    pub heartbeat: Duration,
    /// Timeout as configured, for the welcome frame.
    pub client_timeout: Duration,
    /// Both in ticks.
    pub patience: Patience,
    /// The largest message from a client in bytes.
    pub max_message: usize,
    /// The event streams.
    pub sse: SseSettings,
    /// Connections this node takes.
    pub max_connections: u64,
    /// Bounds of every outbox.
    pub outbox: Limits,
    /// What a full outbox means, by user type.
    pub overflow: BTreeMap<String, OverflowPolicy>,
    /// The most users that a session may watch; 0: none.
    pub max_watched: usize,
    /// Whether messages are stored at all.
    pub stores: bool,
    /// Types of messages that are not stored.
    pub transient_types: Vec<String>,
    /// What there may be of groups.
    pub groups: GroupSettings,
    /// How messages that ask for an acknowledgement are repeated; `None`: they are refused.
    pub acks: Option<AckRules>,
    /// Whether there are tickets.
    pub tickets: bool,
    /// How messages in tickets are repeated until they are acknowledged; `None`: they are not.
    pub ticket_acks: Option<AckRules>,
    /// How hard messages are compressed for clients that offer permessage-deflate; `None`: not at all.
    pub compression: Option<u8>,
    /// Bytes a shard reads at once.
    pub read_buffer: usize,
    /// Bytes of small frames that go out in one write.
    pub write_buffer: usize,
    /// How a surplus of connections is given away.
    pub rebalance: RebalanceConfig,
    /// Echo data frames instead of serving: for protocol suites.
    pub echo: bool,
}

impl Settings {
    /// Resolves the configuration of a node of this name. `fetched`: the keys of tokens, where somebody fetches them.
    pub fn resolve(
        config: &GatewayConfig,
        secrets: &Secrets,
        node: &str,
        fetched: Option<Arc<FetchedKeys>>,
    ) -> Result<Self, SettingsError> {
        let wsc = &config.wsc;
        let security = &wsc.security;
        let heartbeat = wsc.heartbeat_interval.into();
        let client_timeout = wsc.client_timeout.into();
        Ok(Self {
            node: node.to_owned(),
            path: wsc.path.clone(),
            origins: OriginPolicy::new(&wsc.websocket_origins),
            verifier: verifier(config, secrets, fetched)?,
            longest_token: security.token_expiration.get() + 2 * security.jwt.leeway.get(),
            user_types: security.allowed_user_types.clone(),
            query_token: if security.allow_query_token {
                QueryToken::Allowed
            } else {
                QueryToken::Refused
            },
            handshake_timeout: security.handshake_timeout.into(),
            auth_timeout: security.auth_timeout.into(),
            heartbeat,
            client_timeout,
            patience: Patience {
                heartbeat: ticks(heartbeat),
                timeout: ticks(client_timeout),
            },
            max_message: security.max_message_size.len(),
            sse: SseSettings::resolve(wsc),
            max_connections: u64::from(wsc.performance.max_connections_per_node),
            outbox: Limits {
                messages: wsc.message_buffer_size as usize,
                bytes: wsc.outbox_bytes.len(),
            },
            overflow: wsc
                .slow_consumer_policy
                .iter()
                .map(|(kind, policy)| (kind.clone(), overflow(*policy)))
                .collect(),
            max_watched: wsc.presence.max_watched as usize,
            stores: wsc.delivery.acceptance != Acceptance::None,
            transient_types: wsc.delivery.transient_types.clone(),
            groups: GroupSettings::new(&wsc.group),
            acks: AckRules::new(&wsc.ack),
            tickets: wsc.ticket.enabled,
            ticket_acks: ticket_acks(&wsc.ticket),
            compression: compression(&wsc.performance),
            read_buffer: wsc.performance.read_buffer_size.len(),
            write_buffer: wsc.performance.write_buffer_size.len(),
            rebalance: config.rebalance.clone(),
            echo: false,
        })
    }

    /// When a connection of this kind is pinged and given up.
    pub const fn patience(&self, transport: Transport) -> Patience {
        match transport {
            Transport::Sse => self.sse.patience,
            Transport::WebSocket | Transport::Grpc | Transport::Http => self.patience,
        }
    }

    /// What a session may ask for.
    pub const fn offered(&self) -> Offered {
        Offered {
            stores: self.stores,
            acks: self.acks.is_some(),
            groups: self.groups.rules.enabled,
            group_records: self.groups.records,
            tickets: self.tickets,
            ticket_acks: self.tickets && self.ticket_acks.is_some(),
        }
    }

    /// Whether messages to groups are kept.
    pub const fn keeps_groups(&self) -> bool {
        self.stores && self.groups.records
    }

    /// Whether a message of this type is stored; `asked`: what its sender said about it.
    pub fn keeps(&self, target: &Target, kind: &str, asked: Option<bool>) -> bool {
        let usual = match target {
            Target::User(_) | Target::Group(_) | Target::Ticket(_) => {
                !self.transient_types.iter().any(|known| known == kind)
            }
            Target::Broadcast | Target::Application => false,
        };
        let may = match target {
            Target::Group(_) => self.keeps_groups(),
            Target::User(_) | Target::Ticket(_) | Target::Broadcast | Target::Application => {
                self.stores
            }
        };
        may && asked.unwrap_or(usual)
    }

    /// What a full outbox means for this user type.
    pub fn overflow(&self, user_type: &str) -> OverflowPolicy {
        self.overflow.get(user_type).copied().unwrap_or_default()
    }
}

/// How messages in tickets are repeated.
pub fn ticket_acks(config: &TicketConfig) -> Option<AckRules> {
    let rules = || AckRules::steady(config.ack_timeout.into(), config.max_retry);
    config.enable_ack.then(rules)
}

fn compression(performance: &PerformanceConfig) -> Option<u8> {
    // 1 to 9, as the schema says.
    let level = u8::try_from(performance.compression_level).unwrap_or(u8::MAX);
    performance.enable_compression.then_some(level)
}

fn verifier(
    config: &GatewayConfig,
    secrets: &Secrets,
    fetched: Option<Arc<FetchedKeys>>,
) -> Result<Option<TokenVerifier>, SettingsError> {
    let security = &config.wsc.security;
    if !security.enable_auth {
        return Ok(None);
    }
    let keys = match fetched {
        Some(fetched) => Keys::Fetched(fetched),
        None => Keys::Fixed(Arc::new(secrets.token_keys(security.jwt.algorithm)?)),
    };
    let settings = JwtSettings::from_config(security);
    Ok(Some(TokenVerifier::new(settings, keys)))
}

fn overflow(policy: SlowConsumerPolicy) -> OverflowPolicy {
    match policy {
        SlowConsumerPolicy::Disconnect => OverflowPolicy::Disconnect,
        SlowConsumerPolicy::Spill => OverflowPolicy::Spill,
        SlowConsumerPolicy::DropOldest => OverflowPolicy::DropOldest,
        SlowConsumerPolicy::DropNewest => OverflowPolicy::DropNewest,
    }
}
