//! The WSC configuration: every key with its unit, default, bounds and description, in one place.
//!
//! Two readers share these types: the operator, whose resource carries [`WscConfig`] as `spec.wsc`, and the gateway, whose
//! file is a [`GatewayConfig`]. From them come the schema of the resource, its CEL rules and the reference in `docs/`.
//! The crate decides and never does: no runtime, no client, no files; callers hand in text and get a value or problems.

mod ack;
mod check;
mod cidr;
mod closed;
mod delivery;
mod distributed;
mod drain;
mod duration;
mod etcd;
mod gateway;
mod group;
mod hook;
mod jwks;
mod jwt;
mod keys;
mod listen;
mod load;
mod log;
mod nearest;
mod origin;
mod performance;
mod presence;
mod problems;
mod rebalance;
mod record;
mod redis;
mod reference;
mod reload;
mod schema;
mod secret;
mod security;
mod size;
mod sse;
mod status;
mod telemetry;
mod ticket;
mod tls;
mod tree;
mod wsc;

pub use ack::AckConfig;
pub use cidr::{Cidr, CidrError};
pub use delivery::{Acceptance, DeliveryConfig};
pub use distributed::{DistributedConfig, MessageRouting, NodeDiscovery};
pub use drain::DrainConfig;
pub use duration::{DurationError, Millis, Seconds, Span};
pub use etcd::{EtcdConfig, EtcdTlsConfig};
pub use gateway::{GatewayConfig, GatewayMeta};
pub use group::GroupConfig;
pub use hook::{
    FailurePolicy, HookBatch, HookCircuit, HookConfig, HookLocal, HookPoint, HookRetry,
    HookService, HookTarget, HookTls, HookTransport,
};
pub use jwks::JwksConfig;
pub use jwt::{JwtAlgorithm, JwtConfig};
pub use keys::{Key, KeyStatus, keys};
pub use listen::{AdminConfig, GrpcConfig, HttpConfig};
pub use load::ConfigError;
pub use log::{LogConfig, LogFormat, LogLevel};
pub use origin::{Origin, OriginError};
pub use performance::PerformanceConfig;
pub use presence::PresenceConfig;
pub use problems::{Fault, Problem, Problems, Source};
pub use rebalance::RebalanceConfig;
pub use record::RecordConfig;
pub use redis::{RedisClusterConfig, RedisConfig, RedisSentinelConfig, RedisTlsConfig};
pub use reference::reference;
pub use reload::{Changes, live_keys};
pub use schema::between;
pub use secret::SecretKeyRef;
pub use security::{MessageRateLimitConfig, SecurityConfig};
pub use size::{ByteSize, KibSize, Size, SizeError};
pub use sse::SseConfig;
pub use status::Since;
pub use telemetry::{OtlpConfig, OtlpProtocol, TelemetryConfig};
pub use ticket::{AssignStrategy, TicketConfig};
pub use tls::TlsConfig;
pub use wsc::{ConnectionPolicy, SlowConsumerPolicy, WscConfig};
