//! `Ground`: a backend for several nodes of one test, and what must live as long as it is used.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use wsc_gateway::cluster::memory::MemoryStore;
use wsc_gateway::cluster::{Backend, RedisParams};

use super::etcd::EtcdServer;
use super::nodes::{Door, Node, params, within};
use super::redis::RedisServer;

/// Small, so that a test can wait for the end of a lease.
pub const TIMEOUT: Duration = Duration::from_millis(1500);

/// The same over etcd, whose leases count in seconds and end half a second late.
pub const ETCD_TIMEOUT: Duration = Duration::from_secs(4);

/// A backend, and what must live as long as it is used.
pub struct Ground {
    pub backend: Backend,
    pub server: Option<RedisServer>,
    pub etcd: Option<EtcdServer>,
    /// Within what time the dead are gone.
    pub timeout: Duration,
    /// Whether nodes hold streams to each other.
    pub streams: bool,
}

impl Ground {
    pub async fn memory() -> Self {
        Self {
            backend: Backend::Memory(MemoryStore::new()),
            server: None,
            etcd: None,
            timeout: TIMEOUT,
            streams: false,
        }
    }

    pub async fn redis() -> Self {
        let server = RedisServer::start();
        let backend = Backend::Redis(RedisParams::at("127.0.0.1", server.port));
        Self {
            backend,
            server: Some(server),
            etcd: None,
            timeout: TIMEOUT,
            streams: false,
        }
    }

    pub async fn streams() -> Self {
        Self {
            streams: true,
            ..Self::redis().await
        }
    }

    pub async fn etcd() -> Self {
        let (redis, etcd) = (Self::redis().await, EtcdServer::start());
        let Backend::Redis(params) = redis.backend else {
            unreachable!()
        };
        Self {
            backend: Backend::Etcd(params, etcd.params()),
            etcd: Some(etcd),
            timeout: ETCD_TIMEOUT,
            server: redis.server,
            streams: false,
        }
    }

    pub fn node(&self, name: &str) -> Node {
        let params = params(name, &self.backend, self.timeout);
        if self.streams {
            return Door::bind().node(params);
        }
        Node::start(params)
    }

    pub async fn nodes<const N: usize>(&self, names: [&str; N]) -> [Node; N] {
        let nodes = names.map(|name| self.node(name));
        for node in &nodes {
            node.ready().await;
            node.knows(N - 1).await;
            let settled = async || node.cluster.is_settled();
            within(10, "every directory is written", settled).await;
            if self.streams {
                let streams = async || node.cluster.stats().streams.load(Relaxed) == N as u64 - 1;
                within(10, "streams to all peers are open", streams).await;
            }
        }
        nodes
    }
}
