//! `ClusterParams`: what a node needs to know to be part of a cluster, mapped from the configuration by the composition
//! root. Owns no behaviour beyond the times derived from it. The password never shows in `Debug`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::memory::MemoryStore;
use super::peers::Doorway;
use super::routing::{Balance, Policy};
use crate::protocol::NodeId;
use crate::security::Sealer;
use crate::telemetry::StoreTimes;

/// How a node takes part in a cluster.
#[derive(Clone, Debug)]
pub struct ClusterParams {
    /// This node's name; no two live nodes of a cluster share one.
    pub node: NodeId,
    /// The address it tells its peers.
    pub address: String,
    /// Where it takes streams from its peers; `None`: nowhere, then it has none to them either.
    pub door: Option<Doorway>,
    /// What separates clusters that share a Redis.
    pub cluster_name: String,
    /// Where the cluster's state lives.
    pub backend: Backend,
    /// Within what time a node that died must be gone from every view, its leftovers included.
    pub node_timeout: Duration,
    /// How often the whole registry is read and caches are dropped, beside the events.
    pub node_sync_interval: Duration,
    /// How often a canary goes around the link; at least every two seconds whatever this says.
    pub health_check_interval: Duration,
    /// How the node is picked for work that any node could do but one must.
    pub routing: Policy,
    /// Whether that pick is weighed by load.
    pub balance: Balance,
    /// How long a user may have no session before they are offline.
    pub offline_delay: Duration,
}

impl ClusterParams {
    /// The longest pause between two canaries: with its own deadline a silent link is noticed within five seconds.
    const CANARY_AT_LEAST: Duration = Duration::from_secs(2);

    /// The life of a lease: two thirds of the node timeout, so that the last third is left for a survivor to notice and
    /// to remove what the dead node left.
    pub fn lease(&self) -> Duration {
        self.node_timeout * 2 / 3
    }

    /// The pause between renewals: a third of the lease, so that two may be lost.
    pub fn renewal(&self) -> Duration {
        self.lease() / 3
    }

    /// The pause between two looks at the registry that serve to notice dead nodes.
    pub fn look(&self) -> Duration {
        (self.node_timeout / 6).min(self.node_sync_interval)
    }

    /// The pause between two canaries.
    pub fn canary(&self) -> Duration {
        self.health_check_interval.min(Self::CANARY_AT_LEAST)
    }
}

/// Where the cluster's state lives.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one of it in a process")]
pub enum Backend {
    /// In this process: a gateway that runs alone, or several nodes of one test.
    Memory(Arc<MemoryStore>),
    /// In Redis.
    Redis(RedisParams),
    /// In Redis, but nodes are registered in etcd.
    Etcd(RedisParams, EtcdParams),
}

/// Where etcd is and how to speak to it.
#[derive(Clone, Debug)]
pub struct EtcdParams {
    /// Its members.
    pub endpoints: Vec<Address>,
    /// A user and its password, if etcd asks for one.
    pub user: Option<(String, Password)>,
    /// Encryption, if etcd is spoken to by TLS.
    pub tls: Option<EtcdTls>,
    /// What every key begins with.
    pub key_prefix: String,
    /// The deadline of each operation and of connecting.
    pub deadline: Duration,
    /// Notes how long it takes to answer.
    pub times: StoreTimes,
}

impl EtcdParams {
    /// Members without users, with defaults for the rest.
    pub fn at(endpoints: Vec<Address>) -> Self {
        Self {
            endpoints,
            user: None,
            tls: None,
            key_prefix: "/wsc/".to_owned(),
            deadline: RedisParams::DEADLINE,
            times: StoreTimes::default(),
        }
    }
}

/// How etcd is known by TLS, and this node by etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcdTls {
    /// The authorities that its certificate is judged by, in PEM form; nothing: those of the system.
    pub ca: Option<Arc<str>>,
    /// The certificate that this node shows, and its key, both in PEM form.
    pub identity: Option<(Arc<str>, Password)>,
    /// The name that etcd's certificate must carry; nothing: each endpoint's host.
    pub server_name: Option<String>,
}

/// Where Redis is and how to speak to it.
#[derive(Clone, Debug)]
pub struct RedisParams {
    /// Name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The number of the database.
    pub db: u32,
    /// The ACL user; nothing: the default user.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Password>,
    /// What every key begins with.
    pub key_prefix: String,
    /// Connections for commands, beside one for messages; in a Redis Cluster so many to each member.
    pub pool: usize,
    /// Encryption, if Redis is spoken to by TLS.
    pub tls: Option<RedisTls>,
    /// What kind of Redis it is.
    pub topology: Topology,
    /// The deadline of each operation and of connecting.
    pub deadline: Duration,
    /// Seals what goes there and opens what comes from there.
    pub sealer: Arc<Sealer>,
    /// Notes how long it takes to answer.
    pub times: StoreTimes,
}

impl RedisParams {
    /// The deadline unless told otherwise.
    pub const DEADLINE: Duration = Duration::from_secs(2);

    /// A Redis without password, with defaults for the rest.
    pub fn at(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            db: 0,
            username: None,
            password: None,
            key_prefix: "wsc:".to_owned(),
            pool: 2,
            tls: None,
            topology: Topology::Server,
            deadline: Self::DEADLINE,
            sealer: Sealer::off(),
            times: StoreTimes::default(),
        }
    }
}

impl RedisParams {
    pub(super) fn address(&self) -> Address {
        Address {
            host: self.host.clone(),
            port: self.port,
        }
    }

    /// The members of a Redis Cluster to begin with.
    pub(crate) fn members(&self) -> impl Iterator<Item = Address> + '_ {
        let own = (!self.host.is_empty()).then(|| self.address());
        let more = match &self.topology {
            Topology::Cluster(addresses) => addresses.as_slice(),
            Topology::Server | Topology::Sentinel(_) => &[],
        };
        own.into_iter().chain(more.iter().cloned())
    }

    /// Where it is, for the log.
    pub(super) fn described(&self) -> String {
        match &self.topology {
            Topology::Server => self.address().to_string(),
            Topology::Sentinel(sentinels) => format!("sentinel {}", sentinels.master),
            Topology::Cluster(_) => {
                let members: Vec<String> = self.members().map(|at| at.to_string()).collect();
                format!("cluster {}", members.join(" "))
            }
        }
    }
}

/// A name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Reads `host:port`, an IPv6 address in brackets.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let port = port.parse().ok()?;
        Some(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

/// What kind of Redis it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Server,
    /// A primary that Sentinels name.
    Sentinel(Sentinels),
    /// A Redis Cluster, with members to begin with beside the host.
    Cluster(Vec<Address>),
}

/// Who knows the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentinels {
    /// The name they know it by.
    pub master: String,
    /// Where they are.
    pub addresses: Vec<Address>,
}

/// How Redis is known by TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// The authorities that its certificate is judged by, in PEM form; nothing: those of the system.
    pub ca: Option<Arc<str>>,
    /// The name that its certificate must carry; nothing: the host's.
    pub server_name: Option<String>,
}

/// A password that never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Arc<str>);

impl Password {
    /// Wraps it.
    pub fn new(secret: &str) -> Self {
        Self(secret.into())
    }

    /// For the one who has to send it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_never_shows_in_debug_output() {
        let mut redis = RedisParams::at("localhost", 6379);
        redis.password = Some(Password::new("hunter2"));
        assert!(!format!("{redis:?}").contains("hunter2"));
    }

    #[test]
    fn an_address_is_read_and_written_alike() {
        for text in ["redis:6379", "10.0.0.1:1", "[::1]:26379"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Address::parse("[::1]:26379").unwrap().host, "::1");
        for wrong in ["redis", "redis:", "redis:70000"] {
            assert_eq!(Address::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_dead_node_is_noticed_and_reaped_within_the_node_timeout() {
        let params = ClusterParams {
            node: NodeId::new("a"),
            address: String::new(),
            door: None,
            cluster_name: "c".to_owned(),
            backend: Backend::Redis(RedisParams::at("localhost", 6379)),
            node_timeout: Duration::from_mins(1),
            node_sync_interval: Duration::from_secs(30),
            health_check_interval: Duration::from_secs(10),
            routing: Policy::Hash,
            balance: Balance::ByLoad,
            offline_delay: Duration::from_secs(5),
        };
        assert!(params.lease() + params.look() < params.node_timeout);
        assert!(params.renewal() * 3 <= params.lease());
        assert_eq!(params.canary(), Duration::from_secs(2));
    }
}
