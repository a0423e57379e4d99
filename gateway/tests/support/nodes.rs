//! Several nodes in one process, each a real `Cluster` over a hub that only records.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use wsc_gateway::cluster::routing::{Balance, Policy};
use wsc_gateway::cluster::{
    Backend, Cluster, ClusterError, ClusterParams, Doorway, Forward, Link, LocalNode,
    SessionChange, SessionRecord,
};
use wsc_gateway::group::Change;
use wsc_gateway::protocol::{Epoch, GroupId, NodeId, Parcel, SessionId, UserId};

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub(crate) fn record(id: &str) -> SessionRecord {
    SessionRecord {
        session: SessionId::generate(),
        user: user(id),
        user_type: "customer".into(),
        node: NodeId::new("the writer says who it is"),
        epoch: Epoch(0),
        transport: "ws".into(),
        device: None,
        connected_at: 1,
    }
}

/// A hub that records what it is told.
#[derive(Default)]
pub(crate) struct Recorder {
    /// What each user was sent here; broadcasts under `*`.
    pub delivered: Mutex<HashMap<String, Vec<String>>>,
    /// All of it, in the order it came.
    pub heard: Mutex<Vec<String>>,
    pub kicked: Mutex<Vec<String>>,
    /// Who is not here when asked for so many times, whatever the directory says.
    pub absent: Mutex<HashMap<String, usize>>,
    /// Whose sessions ended with their node, as this one was told.
    pub lost: Mutex<Vec<String>>,
    pub sessions: Mutex<HashMap<SessionId, SessionRecord>>,
    /// As long as it is true nobody is told the sessions.
    pub held: watch::Sender<bool>,
}

impl Recorder {
    pub(crate) fn got(&self, user: &str) -> Vec<String> {
        self.delivered.lock().get(user).cloned().unwrap_or_default()
    }

    fn put(&self, user: &str, json: &[u8]) {
        let text = String::from_utf8(json.to_vec()).unwrap();
        self.heard.lock().push(text.clone());
        self.delivered
            .lock()
            .entry(user.to_owned())
            .or_default()
            .push(text);
    }
}

impl LocalNode for Recorder {
    fn deliver<'a>(&'a self, users: &'a [UserId], parcel: Parcel) -> BoxFuture<'a, Vec<usize>> {
        let mut absent = self.absent.lock();
        let here = |user: &UserId| match absent.get_mut(user.as_str()) {
            Some(times) if *times > 0 => {
                *times -= 1;
                0
            }
            Some(_) | None => 1,
        };
        let counts: Vec<usize> = users.iter().map(here).collect();
        for (user, _) in users.iter().zip(&counts).filter(|(_, count)| **count > 0) {
            self.put(user.as_str(), &parcel.json);
        }
        Box::pin(async { counts })
    }

    fn broadcast(&self, parcel: Parcel) -> BoxFuture<'_, usize> {
        self.put("*", &parcel.json);
        Box::pin(async { 1 })
    }

    fn deliver_group<'a>(&'a self, group: &'a GroupId, parcel: Parcel) -> BoxFuture<'a, usize> {
        self.put(group.as_str(), &parcel.json);
        Box::pin(async { 1 })
    }

    fn group_changed(&self, change: Change) {
        self.put(change.group.as_str(), change.name().as_bytes());
    }

    fn kick_user<'a>(&'a self, user: &'a UserId, reason: &'a str) -> BoxFuture<'a, ()> {
        self.kicked.lock().push(format!("{user}: {reason}"));
        Box::pin(async {})
    }

    fn kick_session<'a>(&'a self, session: SessionId, reason: &'a str) -> BoxFuture<'a, ()> {
        if self.sessions.lock().contains_key(&session) {
            self.kicked.lock().push(format!("{session}: {reason}"));
        }
        Box::pin(async {})
    }

    fn sessions(&self) -> BoxFuture<'_, Option<Vec<SessionRecord>>> {
        Box::pin(async {
            let _ = self.held.subscribe().wait_for(|held| !held).await;
            Some(self.sessions.lock().values().cloned().collect())
        })
    }

    fn lost<'a>(&'a self, sessions: &'a [SessionRecord]) -> BoxFuture<'a, ()> {
        let users = sessions.iter().map(|record| record.user.to_string());
        self.lost.lock().extend(users);
        Box::pin(async {})
    }

    fn connections(&self) -> u64 {
        self.sessions.lock().len() as u64
    }
}

/// One node. Dropping it is a crash: its tasks end without a farewell.
pub(crate) struct Node {
    pub cluster: Cluster,
    pub hub: Arc<Recorder>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

pub(crate) fn params(name: &str, backend: &Backend, node_timeout: Duration) -> ClusterParams {
    ClusterParams {
        node: NodeId::new(name),
        address: format!("{name}.test"),
        door: None,
        cluster_name: "test".to_owned(),
        backend: backend.clone(),
        node_timeout,
        node_sync_interval: Duration::from_secs(30),
        health_check_interval: Duration::from_millis(500),
        routing: Policy::Hash,
        balance: Balance::ByLoad,
        offline_delay: Duration::from_millis(200),
    }
}

/// Where a node takes streams from its peers.
pub(crate) struct Door {
    listener: std::net::TcpListener,
    pub port: u16,
}

impl Door {
    pub(crate) fn bind() -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    pub(crate) fn node(self, params: ClusterParams) -> Node {
        let port = self.port;
        self.node_at(port, params)
    }

    /// A node whose peers come by another port.
    pub(crate) fn node_at(self, port: u16, mut params: ClusterParams) -> Node {
        params.door = Some(Doorway::at(format!("127.0.0.1:{port}"), None));
        let node = Node::start(params);
        let service = node.cluster.peer_service(node.cancel.clone()).unwrap();
        let incoming = TcpIncoming::from(TcpListener::from_std(self.listener).unwrap());
        let ended = node.cancel.clone().cancelled_owned();
        let serving = Server::builder().add_service(service);
        node.tasks.spawn(async move {
            let served = serving.serve_with_incoming_shutdown(incoming, ended);
            served.await.unwrap();
        });
        node
    }
}

impl Node {
    pub(crate) fn start(params: ClusterParams) -> Self {
        Self::over(Arc::default(), params)
    }

    pub(crate) fn over(hub: Arc<Recorder>, params: ClusterParams) -> Self {
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let cluster = Cluster::start(params, hub.clone(), &tasks, cancel.clone());
        Self {
            cluster,
            hub,
            cancel,
            tasks,
        }
    }

    /// Ends as a crash would, and waits for the end of every task.
    pub(crate) async fn crash(self) {
        self.cancel.cancel();
        self.tasks.close();
        within(5, "every task ends", async || self.tasks.is_empty()).await;
    }

    pub(crate) fn up(&self, id: &str) -> SessionId {
        let record = record(id);
        let session = record.session;
        self.hub.sessions.lock().insert(session, record.clone());
        self.cluster.changed(SessionChange::Up(record));
        session
    }

    pub(crate) fn down(&self, session: SessionId) {
        let record = self.hub.sessions.lock().remove(&session).unwrap();
        let user = record.user;
        self.cluster.changed(SessionChange::Down { session, user });
    }

    pub(crate) fn is_linked(&self) -> bool {
        let is_down = matches!(self.cluster.status().link, Link::Down { .. });
        !is_down && self.cluster.stats().resyncs.load(Relaxed) > 0
    }

    pub(crate) async fn ready(&self) {
        within(10, "the link is up", async || self.is_linked()).await;
    }

    pub(crate) fn peers(&self) -> HashSet<String> {
        self.cluster
            .status()
            .peers
            .iter()
            .map(|peer| peer.node.to_string())
            .collect()
    }

    pub(crate) async fn knows(&self, peers: usize) {
        within(10, "the peers are known", async || {
            self.peers().len() == peers
        })
        .await;
    }

    pub(crate) async fn online(&self) -> Vec<String> {
        let page = self.cluster.online(None, 1000).await;
        page.map(|page| page.users.iter().map(ToString::to_string).collect())
            .unwrap_or_default()
    }

    pub(crate) async fn sees_online(&self, users: &[&str]) {
        within(10, &format!("online are {users:?}"), async || {
            self.online().await == users
        })
        .await;
    }

    /// Sends and waits for the report.
    pub(crate) async fn send(&self, to: &[&str], text: &str) -> Result<Vec<usize>, ClusterError> {
        let (report, told) = reporter();
        let users = to.iter().map(|id| user(id)).collect();
        let json = Bytes::copy_from_slice(text.as_bytes());
        self.cluster
            .forward(Forward::Users {
                users,
                parcel: json.into(),
                report,
            })
            .await;
        told.await.unwrap()
    }
}

type Outcome = Result<Vec<usize>, ClusterError>;

pub(crate) fn reporter() -> (Box<dyn FnOnce(Outcome) + Send>, oneshot::Receiver<Outcome>) {
    let (tell, told) = oneshot::channel();
    (Box::new(move |outcome| drop(tell.send(outcome))), told)
}

/// Polls a condition until it holds; fails the test past the deadline.
pub(crate) async fn within(seconds: u64, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
