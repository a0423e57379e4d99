//! `Subject`: one implementation of the cluster's interfaces, for the conformance suite.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wsc_gateway::cluster::etcd::{EtcdLink, EtcdRegistry};
use wsc_gateway::cluster::memory::{
    Attached, MemoryAssignments, MemoryBroker, MemoryDirectory, MemoryRegistry, MemoryStore,
};
use wsc_gateway::cluster::redis::{
    RedisAssignments, RedisBroker, RedisDirectory, RedisLink, RedisRegistry, Shadow,
};
use wsc_gateway::cluster::{
    Assignments, Broker, Claim, Directory, Listener, NodeInfo, NodeRegistry, RedisParams,
    SessionChange, SessionRecord,
};
use wsc_gateway::protocol::{Epoch, NodeId};

use super::etcd::EtcdServer;
use super::nodes::{record, user};
use super::redis::RedisServer;

pub const LEASE: Duration = Duration::from_secs(30);
pub const SHORT: Duration = Duration::from_millis(60);

#[derive(Default)]
pub struct Mailbox(pub Mutex<Vec<String>>);

impl Listener for Mailbox {
    fn offer(&self, envelope: Bytes) {
        self.0
            .lock()
            .push(String::from_utf8(envelope.to_vec()).unwrap());
    }
}

pub enum Kind {
    Memory(Arc<MemoryStore>, Vec<Attached>),
    Redis(RedisServer, CancellationToken),
}

/// An implementation under test.
pub struct Subject {
    pub kind: Kind,
    /// Where nodes are registered, if not where everything else is.
    pub etcd: Option<EtcdServer>,
    pub registry: Arc<dyn NodeRegistry>,
    /// The same registry with leases that soon run out.
    pub hasty: Arc<dyn NodeRegistry>,
    /// The same registry as two processes have it that know their own leases.
    pub rivals: [Arc<dyn NodeRegistry>; 2],
    pub directory: Arc<dyn Directory>,
    pub broker: Arc<dyn Broker>,
    pub assignments: Arc<dyn Assignments>,
}

impl Subject {
    pub async fn memory() -> Self {
        let store = MemoryStore::new();
        Self {
            registry: Arc::new(MemoryRegistry::new(store.clone(), LEASE)),
            hasty: Arc::new(MemoryRegistry::new(store.clone(), SHORT)),
            rivals: [7, 8].map(|process| -> Arc<dyn NodeRegistry> {
                Arc::new(MemoryRegistry::of_process(process, store.clone(), LEASE))
            }),
            directory: Arc::new(MemoryDirectory::new(store.clone())),
            broker: Arc::new(MemoryBroker::new(store.clone())),
            assignments: Arc::new(MemoryAssignments::new(store.clone())),
            kind: Kind::Memory(store, Vec::new()),
            etcd: None,
        }
    }

    pub async fn redis() -> Self {
        let server = RedisServer::start();
        let cancel = CancellationToken::new();
        let link = redis_node(
            &server,
            "the test itself",
            Arc::new(Mailbox::default()),
            &cancel,
        )
        .await;
        Self {
            registry: Arc::new(RedisRegistry::new(&link, LEASE)),
            hasty: Arc::new(RedisRegistry::new(&link, SHORT)),
            rivals: [7, 8].map(|process| -> Arc<dyn NodeRegistry> {
                Arc::new(RedisRegistry::of_process(process, &link, LEASE))
            }),
            directory: Arc::new(RedisDirectory::new(&link)),
            broker: Arc::new(RedisBroker::new(&link)),
            assignments: Arc::new(RedisAssignments::new(&link)),
            kind: Kind::Redis(server, cancel),
            etcd: None,
        }
    }

    pub async fn etcd() -> Self {
        let (redis, server) = (Self::redis().await, EtcdServer::start());
        let Kind::Redis(of_redis, cancel) = &redis.kind else {
            unreachable!()
        };
        let mailbox = Arc::new(Mailbox::default());
        let shadows = redis_node(of_redis, "shadows", mailbox, cancel).await;
        let link = EtcdLink::new(&server.params(), "test");
        let registry = |process, lease| -> Arc<dyn NodeRegistry> {
            let shadow = Some(Shadow::new(&shadows, lease));
            Arc::new(EtcdRegistry::of_process(
                process,
                link.clone(),
                shadow,
                lease,
            ))
        };
        Self {
            registry: registry(0, LEASE),
            hasty: registry(0, SHORT),
            rivals: [registry(7, LEASE), registry(8, LEASE)],
            etcd: Some(server),
            ..redis
        }
    }

    pub async fn listen(&mut self, node: &str) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::default());
        match &mut self.kind {
            Kind::Memory(store, attached) => {
                attached.push(store.attach(NodeId::new(node), mailbox.clone()));
            }
            Kind::Redis(server, cancel) => {
                redis_node(server, node, mailbox.clone(), cancel).await;
            }
        }
        mailbox
    }

    /// Registers a node that lives to the end of the test.
    pub async fn alive(&self, node: &str) -> (NodeId, Epoch) {
        let epoch = self
            .registry
            .claim(&info(node, 0), Claim::Take)
            .await
            .unwrap();
        (NodeId::new(node), epoch)
    }

    pub async fn put(&self, (node, epoch): &(NodeId, Epoch), users: &[&str]) -> Vec<SessionRecord> {
        let records: Vec<SessionRecord> = users.iter().map(|id| record(id)).collect();
        let changes: Vec<_> = records.iter().cloned().map(SessionChange::Up).collect();
        self.directory.apply(node, *epoch, &changes).await.unwrap();
        records
    }

    pub async fn page(&self, after: Option<&str>, limit: usize) -> (Vec<String>, bool, u64) {
        let page = self.directory.online(after, limit).await.unwrap();
        (
            page.users.iter().map(ToString::to_string).collect(),
            page.more,
            page.total,
        )
    }

    pub async fn nodes_of(&self, id: &str) -> Vec<String> {
        let found = self.directory.nodes_of(&[user(id)]).await.unwrap();
        found[0].iter().map(ToString::to_string).collect()
    }
}

pub async fn redis_node(
    server: &RedisServer,
    node: &str,
    mailbox: Arc<Mailbox>,
    cancel: &CancellationToken,
) -> Arc<RedisLink> {
    let redis = RedisParams::at("127.0.0.1", server.port);
    redis_node_with(&redis, node, mailbox, cancel).await
}

pub async fn redis_node_with(
    redis: &RedisParams,
    node: &str,
    mailbox: Arc<Mailbox>,
    cancel: &CancellationToken,
) -> Arc<RedisLink> {
    let link = RedisLink::standalone(redis, "test");
    TaskTracker::new().spawn(
        link.clone()
            .keep(NodeId::new(node), mailbox, cancel.clone()),
    );
    link.connected().await;
    link
}

pub fn info(node: &str, epoch: u64) -> NodeInfo {
    NodeInfo {
        node: NodeId::new(node),
        epoch: Epoch(epoch),
        address: format!(r#"{node}"\ "epoch":0"#),
        connections: 3,
        synced: true,
        beat: 1,
        leaving: false,
        door: None,
    }
}

pub fn down(record: &SessionRecord) -> SessionChange {
    SessionChange::Down {
        session: record.session,
        user: record.user.clone(),
    }
}
