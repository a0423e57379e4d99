//! `DistributedConfig`: how nodes find each other and who counts as alive.
//!
//! Read by the gateway's cluster parts; the operator fills in `clusterName` and refuses several replicas without
//! `enabled`. What the times mean together is checked here.

use std::time::Duration;

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::join;
use crate::closed::closed;
use crate::problems::Problems;
use crate::schema::{self, Rule, seconds};
use crate::{EtcdConfig, Seconds};

closed! {
    /// Where nodes register themselves and look for their peers.
    pub enum NodeDiscovery {
        /// Leases in the Redis of `wsc.redis`.
        Redis = "redis",
        /// Leases in the etcd of `wsc.distributed.etcd`; everything else stays in Redis.
        Etcd = "etcd",
        /// Within one process; for a single node and for tests.
        Memory = "memory",
    }
}

closed! {
    /// How the node is picked for work that any node could do but one must.
    pub enum MessageRouting {
        /// Rendezvous hashing: moves only what it must when nodes change.
        Hash = "hash",
        /// Any node.
        Random = "random",
        /// One node after the other.
        RoundRobin = "round-robin",
    }
}

/// Conditions between keys; [`DistributedConfig::rules`] states the same.
const RULES: &[Rule] = &[
    Rule {
        cel: concat!(
            seconds!("self.nodeTimeout"),
            " - ",
            seconds!("self.healthCheckInterval"),
            " >= ",
            seconds!("self.healthCheckInterval")
        ),
        message: "must be at least twice healthCheckInterval",
        path: ".nodeTimeout",
    },
    Rule {
        cel: "self.nodeDiscovery != 'etcd' || self.etcd.endpoints.size() > 0",
        message: "must not be empty when nodeDiscovery is etcd",
        path: ".etcd.endpoints",
    },
];

/// Several nodes as one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::rules(RULES))]
pub struct DistributedConfig {
    /// Whether this node is part of a cluster. More than one replica needs it.
    pub enabled: bool,
    /// Where nodes register themselves: `redis`, `etcd` or `memory`.
    pub node_discovery: NodeDiscovery,
    /// The etcd of `nodeDiscovery: etcd`.
    pub etcd: EtcdConfig,
    /// Which node does the work that one must: `hash`, `random` or `round-robin`.
    pub message_routing: MessageRouting,
    /// Whether that choice is weighed by the nodes' connections, in coarse steps.
    pub enable_load_balance: bool,
    /// How often a node reads the whole list of nodes, beside the changes it is told of.
    #[schemars(transform = schema::between("1s", "1h"))]
    pub node_sync_interval: Seconds,
    /// How often a node renews its lease and looks whether peers and Redis answer.
    #[schemars(transform = schema::between("100ms", "10m"))]
    pub health_check_interval: Seconds,
    /// How long after its last word a node is gone from every view, its sessions included. Its lease lives for two thirds of
    /// that, which must not be less than one operation of Redis may take; at least twice `healthCheckInterval`.
    #[schemars(transform = schema::between("3s", "1h"))]
    pub node_timeout: Seconds,
    /// What separates clusters that share a Redis. Empty: `default` in a file; the operator puts namespace and name.
    #[schemars(
        length(max = 128),
        regex(pattern = r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$")
    )]
    pub cluster_name: String,
}

impl DistributedConfig {
    /// The cluster's name, never empty.
    pub fn cluster(&self) -> &str {
        if self.cluster_name.is_empty() {
            "default"
        } else {
            &self.cluster_name
        }
    }

    /// Notes what the keys of this section do not mean together.
    pub(crate) fn rules(&self, at: &str, problems: &mut Problems) {
        let (timeout, interval) = (self.node_timeout, self.health_check_interval);
        if Duration::from(timeout) < 2 * Duration::from(interval) {
            problems.invalid(
                join(at, "nodeTimeout"),
                format!(
                    "must be at least twice {at}.healthCheckInterval ({interval}), is {timeout}"
                ),
            );
        }
        if self.node_discovery == NodeDiscovery::Etcd && self.etcd.endpoints.is_empty() {
            problems.invalid(
                join(at, "etcd.endpoints"),
                format!("must not be empty when {at}.nodeDiscovery is etcd"),
            );
        }
        self.etcd.rules(&join(at, "etcd"), problems);
    }
}

impl Default for DistributedConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            node_discovery: NodeDiscovery::Redis,
            etcd: EtcdConfig::default(),
            message_routing: MessageRouting::Hash,
            enable_load_balance: true,
            node_sync_interval: Seconds::from_secs(30),
            health_check_interval: Seconds::from_secs(10),
            node_timeout: Seconds::from_secs(60),
            cluster_name: String::new(),
        }
    }
}
