//! `RedisConfig`: the Redis behind the cluster, the logs and the limits.
//!
//! Without a host there is none: the gateway then runs alone on memory, and the operator runs a Redis of its own and
//! writes its address here. Passwords and certificates are referred to, never held.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{SecretKeyRef, schema};

/// What a host or address may look like; names, IPv4 and bracketless IPv6.
const HOST: &str = r"^[A-Za-z0-9_.:-]*$";

/// `host:port`.
const ADDRESS: &str = r"^[A-Za-z0-9_.:\[\]-]+:[1-9][0-9]{0,4}$";

/// The Redis that nodes share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = schema::kubernetes)]
pub struct RedisConfig {
    /// Where Redis is. Empty: none; in the resource, the operator then runs one for this gateway.
    #[schemars(length(max = 253), regex(pattern = HOST))]
    pub host: String,
    /// The port of `host`.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
    /// The number of the database. Redis Cluster has only 0.
    #[schemars(range(min = 0, max = 1023))]
    pub db: u32,
    /// The most connections that a node holds open.
    #[schemars(range(min = 1, max = 1000))]
    pub pool_size: u32,
    /// The ACL user. Empty: Redis' default user.
    #[schemars(length(max = 128), regex(pattern = r"^[^\s]*$"))]
    pub username: String,
    /// The Secret with the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,
    /// Encryption on the way to Redis.
    pub tls: RedisTlsConfig,
    /// Finding the primary by Sentinel.
    pub sentinel: RedisSentinelConfig,
    /// Redis Cluster.
    pub cluster: RedisClusterConfig,
    /// What every key begins with.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9:_.-]+$"))]
    pub key_prefix: String,
}

impl RedisConfig {
    /// Whether there is a Redis at all.
    pub fn is_configured(&self) -> bool {
        !self.host.is_empty() || self.sentinel.enabled || self.cluster.enabled
    }
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 6379,
            db: 0,
            pool_size: 10,
            username: String::new(),
            password_secret_ref: None,
            tls: RedisTlsConfig::default(),
            sentinel: RedisSentinelConfig::default(),
            cluster: RedisClusterConfig::default(),
            key_prefix: "wsc:".to_owned(),
        }
    }
}

/// Encryption on the way to Redis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = schema::kubernetes)]
pub struct RedisTlsConfig {
    /// Whether Redis is spoken to by TLS.
    pub enabled: bool,
    /// The Secret with the certificates that Redis' own is judged by. Absent: the public authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// The name that Redis' certificate must carry. Empty: `host`.
    #[schemars(length(max = 253), regex(pattern = HOST))]
    pub server_name: String,
}

/// Finding the primary by Sentinel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = schema::kubernetes)]
pub struct RedisSentinelConfig {
    /// Whether the primary is asked for at `addresses` instead of being `host`.
    pub enabled: bool,
    /// The name under which the Sentinels know the primary.
    #[schemars(length(max = 128), regex(pattern = r"^[A-Za-z0-9_.-]*$"))]
    pub master_name: String,
    /// The Sentinels, each `host:port`.
    #[schemars(length(max = 16), inner(length(min = 3, max = 260), regex(pattern = ADDRESS)))]
    pub addresses: Vec<String>,
}

/// Redis Cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = schema::kubernetes)]
pub struct RedisClusterConfig {
    /// Whether Redis is a cluster.
    pub enabled: bool,
    /// Members to begin with, each `host:port`, beside `host`.
    #[schemars(length(max = 64), inner(length(min = 3, max = 260), regex(pattern = ADDRESS)))]
    pub addresses: Vec<String>,
}
