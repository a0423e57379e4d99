//! The cluster of equal nodes: who is alive, which nodes hold a user's sessions, and how messages cross between nodes.
//!
//! Three small interfaces, each with its contract in prose: [`NodeRegistry`] (leases and epochs), [`Directory`] (sessions
//! of users) and [`Broker`] (envelopes between nodes). Memory implementations serve a gateway that runs alone, Redis ones
//! a cluster. [`router`] decides where a message goes; it never touches a socket.

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::protocol::{Epoch, NodeId, SessionId, UserId};

/// What failed on the way to another node. Local delivery never depends on it.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No connection now; the link reconnects by itself.
    #[error("redis is not reachable")]
    Disconnected,
    /// No answer within the deadline.
    #[error("redis did not answer {operation} within {millis} ms")]
    Deadline {
        /// Which operation.
        operation: &'static str,
        /// The deadline.
        millis: u64,
    },
    /// Redis answered with an error.
    #[error("redis refused {operation}")]
    Refused {
        /// Which operation.
        operation: &'static str,
        /// What it said.
        #[source]
        source: redis::RedisError,
    },
    /// The queue towards other nodes stayed full for too long.
    #[error("the queue to other nodes is full")]
    Busy,
    /// A newer incarnation of this node has registered: this one is over.
    #[error("node {node} is registered with the newer epoch {epoch}")]
    Fenced {
        /// This node's name.
        node: NodeId,
        /// The newer epoch.
        epoch: Epoch,
    },
}

/// What a node says of itself to its peers; the value of its lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its name.
    pub node: NodeId,
    /// Its incarnation.
    pub epoch: Epoch,
    /// The address it tells its peers.
    pub address: String,
    /// Live connections when the lease was last renewed.
    pub connections: u64,
}

/// One session as the directory knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The session.
    pub session: SessionId,
    /// Whose.
    pub user: UserId,
    /// The user's type.
    pub user_type: String,
    /// The node that holds it.
    pub node: NodeId,
    /// That node's incarnation.
    pub epoch: Epoch,
    /// `ws`, `sse` or `grpc`.
    pub transport: String,
    /// The device the token names, or nothing.
    pub device: Option<String>,
    /// Unix time in milliseconds.
    pub connected_at: u64,
}

/// A change of this node's sessions, in the order it happened.
#[derive(Clone, Debug)]
pub enum SessionChange {
    /// A session began.
    Up(SessionRecord),
    /// A session ended.
    Down {
        /// The session.
        session: SessionId,
        /// Whose.
        user: UserId,
        /// Whether it was this node's last session of that user.
        last_on_node: bool,
    },
}

/// One page of the users online.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnlinePage {
    /// Users, ordered by id.
    pub users: Vec<UserId>,
    /// Whether there are users after the last of these.
    pub more: bool,
    /// Users online in all.
    pub total: u64,
}

/// Who is alive.
///
/// A node holds a lease under its name that carries its epoch. Renewing a lease that has run out registers it anew (the
/// caller then writes its directory entries again). A node whose name is held by a newer epoch is [`ClusterError::Fenced`].
/// Leaving removes only the caller's own epoch: a late farewell never removes a newer registration.
pub trait NodeRegistry: Send + Sync + 'static {
    /// Writes or renews the lease. `Ok(true)`: it was there before; `Ok(false)`: it had to be made anew.
    fn renew<'a>(&'a self, info: &'a NodeInfo) -> BoxFuture<'a, Result<bool, ClusterError>>;
    /// Gives the lease back.
    fn leave<'a>(&'a self, node: &'a NodeId, epoch: Epoch) -> BoxFuture<'a, Result<(), ClusterError>>;
    /// Every node with a live lease, ordered by name, the caller's own included.
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeInfo>, ClusterError>>;
}

/// Which nodes hold a user's sessions.
///
/// Entries of nodes without a live lease of the same epoch are void: readers never return them, whether or not they have
/// been removed yet.
pub trait Directory: Send + Sync + 'static {
    /// Applies changes of this node's sessions in order.
    fn apply(&self, changes: Vec<SessionChange>) -> BoxFuture<'_, Result<(), ClusterError>>;
    /// Replaces everything this node (of this epoch) has in the directory by these sessions.
    fn replace(&self, node: NodeId, epoch: Epoch, sessions: Vec<SessionRecord>) -> BoxFuture<'_, Result<(), ClusterError>>;
    /// For each user, in order, the live nodes that hold at least one of their sessions.
    fn nodes_of<'a>(&'a self, users: &'a [UserId]) -> BoxFuture<'a, Result<Vec<Vec<NodeId>>, ClusterError>>;
    /// The sessions of one user on live nodes, oldest first.
    fn sessions_of<'a>(&'a self, user: &'a UserId) -> BoxFuture<'a, Result<Vec<SessionRecord>, ClusterError>>;
    /// A page of users with a session on a live node, after `after`, ordered by id.
    fn online<'a>(&'a self, after: Option<&'a str>, limit: usize) -> BoxFuture<'a, Result<OnlinePage, ClusterError>>;
    /// Removes what a node without a live lease left behind. Idempotent; any survivor may call it.
    fn reap<'a>(&'a self, node: &'a NodeId, epoch: Epoch) -> BoxFuture<'a, Result<(), ClusterError>>;
}

/// To whom an envelope goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// One node.
    Node(NodeId),
    /// Every node, the sender included (it ignores its own).
    All,
}

/// Carries envelopes (`wsc.cluster.v1.Envelope`, encoded) between nodes, in order per pair of nodes, at most once.
///
/// Publishing while the link is down fails at once; nothing is queued behind the caller's back.
pub trait Broker: Send + Sync + 'static {
    /// Hands over a batch in order, in one round trip. `Ok(n)`: receivers reached, summed over the batch.
    fn publish(&self, batch: Vec<(Destination, bytes::Bytes)>) -> BoxFuture<'_, Result<u64, ClusterError>>;
}

/// What the cluster asks of this node when an envelope arrives from a peer. Never blocks on a client.
pub trait LocalNode: Send + Sync + 'static {
    /// Puts the message (as the JSON codec wrote it) into the outbox of every session of these users here.
    fn deliver<'a>(&'a self, users: &'a [UserId], json: &'a [u8]) -> BoxFuture<'a, usize>;
    /// Puts the message into the outbox of every session here.
    fn broadcast<'a>(&'a self, json: &'a [u8]) -> BoxFuture<'a, usize>;
    /// Ends all sessions of a user here.
    fn kick_user<'a>(&'a self, user: &'a UserId, reason: &'a str) -> BoxFuture<'a, usize>;
    /// Ends one session, if it is here.
    fn kick_session<'a>(&'a self, session: SessionId, reason: &'a str) -> BoxFuture<'a, usize>;
    /// Every authenticated session here, for writing the directory anew.
    fn sessions(&self) -> BoxFuture<'_, Vec<SessionRecord>>;
    /// Live connections, for the lease's value.
    fn connections(&self) -> u64;
}

/// Called once with the number of other nodes each recipient's message was handed to, or why it was not.
pub type ForwardReport = Box<dyn FnOnce(Result<Vec<usize>, ClusterError>) + Send>;

/// Work for other nodes. Local delivery has been done by then.
pub enum Forward {
    /// To every session of these users on other nodes; the report has one count per user.
    Users {
        /// Recipients.
        users: Vec<UserId>,
        /// The message as the JSON codec wrote it.
        json: bytes::Bytes,
        /// Told the outcome.
        report: ForwardReport,
    },
    /// To every session on every other node; the report has one count.
    Broadcast {
        /// The message as the JSON codec wrote it.
        json: bytes::Bytes,
        /// Told the outcome.
        report: ForwardReport,
    },
    /// End all sessions of a user on other nodes; the report has one count.
    KickUser {
        /// Whose sessions.
        user: UserId,
        /// What their clients are told.
        reason: String,
        /// Told the outcome.
        report: ForwardReport,
    },
    /// End one session wherever it is; the report has one count.
    KickSession {
        /// Which session.
        session: SessionId,
        /// What its client is told.
        reason: String,
        /// Told the outcome.
        report: ForwardReport,
    },
}
