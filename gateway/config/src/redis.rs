//! `RedisConfig`: the Redis behind the cluster, the logs and the limits.
//!
//! Without a host there is none: the gateway then runs alone on memory, and the operator runs a Redis of its own and
//! writes its address here. Passwords and certificates are referred to, never held.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::SecretKeyRef;
use crate::check::join;
use crate::problems::Problems;
use crate::schema::{self, Rule};

/// What a host or address may look like; names, IPv4 and bracketless IPv6.
const HOST: &str = r"^[A-Za-z0-9_.:-]*$";

/// `host:port`.
const ADDRESS: &str = concat!(
    r"^([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])",
    schema::port!(),
    "$"
);

/// Conditions between keys; [`RedisConfig::rules`] states the same.
const RULES: &[Rule] = &[
    Rule {
        cel: "!self.cluster.enabled || self.db == 0",
        message: "must be 0 with Redis Cluster",
        path: ".db",
    },
    Rule {
        cel: "!(self.cluster.enabled && self.sentinel.enabled)",
        message: "cannot be set together with cluster.enabled",
        path: ".sentinel.enabled",
    },
    Rule {
        cel: "!self.cluster.enabled || self.host != '' || self.cluster.addresses.size() > 0",
        message: "must not be empty when there is no host",
        path: ".cluster.addresses",
    },
];

/// The Redis that nodes share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::rules(RULES))]
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
    /// Connections for commands that a node holds open, beside one for messages. With `delivery.acceptance: replicated` as many
    /// more are made when they are needed, and so many lots of messages, each up to 1 MiB of many logs, wait for a replica at
    /// once.
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

    /// Notes what the keys of this section do not mean together.
    pub(crate) fn rules(&self, at: &str, problems: &mut Problems) {
        self.sentinel.rules(&join(at, "sentinel"), problems);
        if self.cluster.enabled && self.db != 0 {
            problems.invalid(
                join(at, "db"),
                format!("must be 0 with {at}.cluster.enabled, is {}", self.db),
            );
        }
        if self.cluster.enabled && self.sentinel.enabled {
            problems.invalid(
                join(at, "sentinel.enabled"),
                format!("cannot be set together with {at}.cluster.enabled"),
            );
        }
        if self.cluster.enabled && self.host.is_empty() && self.cluster.addresses.is_empty() {
            problems.invalid(
                join(at, "cluster.addresses"),
                format!("must not be empty when there is no {at}.host"),
            );
        }
        if self.tls.enabled && self.cluster.enabled && !self.tls.server_name.is_empty() {
            let why = "must be empty with cluster.enabled: members are known by the addresses they announce";
            problems.invalid(join(at, "tls.serverName"), why);
        }
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
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

/// Conditions between keys; [`RedisSentinelConfig::rules`] states the same.
const SENTINEL_RULES: &[Rule] = &[
    Rule {
        cel: "!self.enabled || self.masterName != ''",
        message: "must name the primary when sentinel is enabled",
        path: ".masterName",
    },
    Rule {
        cel: "!self.enabled || self.addresses.size() > 0",
        message: "must not be empty when sentinel is enabled",
        path: ".addresses",
    },
];

/// Finding the primary by Sentinel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::rules(SENTINEL_RULES))]
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

impl RedisSentinelConfig {
    /// Notes what the keys of this section do not mean together.
    pub(crate) fn rules(&self, at: &str, problems: &mut Problems) {
        if self.enabled && self.master_name.is_empty() {
            problems.invalid(
                join(at, "masterName"),
                format!("must name the primary when {at}.enabled is set"),
            );
        }
        if self.enabled && self.addresses.is_empty() {
            problems.invalid(
                join(at, "addresses"),
                format!("must not be empty when {at}.enabled is set"),
            );
        }
    }
}

/// Redis Cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::kubernetes)]
pub struct RedisClusterConfig {
    /// Whether Redis is a cluster.
    pub enabled: bool,
    /// Members to begin with, each `host:port`, beside `host`.
    #[schemars(length(max = 64), inner(length(min = 3, max = 260), regex(pattern = ADDRESS)))]
    pub addresses: Vec<String>,
}
