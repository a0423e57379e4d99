//! The cluster of equal nodes: who is alive, which nodes hold a user's sessions, and how messages cross between nodes.
//!
//! Three small interfaces, each with its contract in prose: [`NodeRegistry`] (leases and epochs), [`Directory`] (sessions
//! of users) and [`Broker`] (envelopes between nodes). Memory implementations serve a gateway that runs alone, Redis ones
//! a cluster. [`Cluster`] is what the rest of the gateway holds: it runs the loops and takes work for other nodes.

mod assignments;
mod backend;
mod backoff;
mod cache;
mod canary;
mod courier;
mod envelope;
pub mod etcd;
mod inbound;
mod interest;
mod keeper;
pub mod memory;
mod node;
mod offices;
mod params;
mod peers;
mod presence;
mod reaper;
pub mod redis;
mod returns;
mod rounds;
pub mod routing;
mod shared;
mod status;
mod wire;
mod writer;

pub use assignments::{Assignments, Holder};
pub use backend::Listener;
pub use interest::{Holding, Interest};
pub use node::Cluster;
pub use params::{
    Address, Backend, ClusterParams, EtcdParams, EtcdTls, Password, RedisParams, RedisTls,
    Sentinels, Topology,
};
pub use peers::{Door, Doorway, Keep, Kept, PeerService};
pub use presence::{Place, PlaceError, Presence, PresenceBook};
pub use rounds::Rounds;
pub use shared::View;
pub use status::{ClusterStats, ClusterStatus, Link};

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::group::Change;
use crate::protocol::{Epoch, GroupId, NodeId, Parcel, SessionId, UserId};

/// What failed on the way to another node. Local delivery never depends on it.
#[derive(Clone, Debug, thiserror::Error)]
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
        source: ::redis::RedisError,
    },
    /// Redis answered with something that no gateway wrote.
    #[error("redis holds something unreadable for {operation}")]
    Unreadable {
        /// Which operation.
        operation: &'static str,
    },
    /// etcd, where nodes are registered, did not do what it was asked for.
    #[error("could not {operation} in etcd")]
    Registry {
        /// Which operation.
        operation: &'static str,
        /// Why.
        #[source]
        source: etcd::EtcdFault,
    },
    /// The message is on the primary, but no replica confirmed it in time.
    #[error("no replica of redis confirmed within {millis} ms")]
    NotReplicated {
        /// The deadline.
        millis: u64,
    },
    /// Nothing was stored: as many messages wait for a replica as may at once.
    #[error(
        "none of the {most} connections of redis that wait for a replica was free within {millis} ms"
    )]
    ReplicaBacklog {
        /// How many may wait at once.
        most: usize,
        /// How long it was waited for one of them.
        millis: u64,
    },
    /// The queue towards other nodes stayed full for too long.
    #[error("the queue to other nodes is full")]
    Busy,
    /// The sessions of this node could not be listed as a whole.
    #[error("a shard did not list its sessions in time")]
    Incomplete,
    /// A newer incarnation of this node has registered: this one is over.
    #[error("node {node} is registered with the newer epoch {epoch}")]
    Fenced {
        /// This node's name.
        node: NodeId,
        /// The newer epoch.
        epoch: Epoch,
    },
}

impl ClusterError {
    /// The causes in the order of [`ClusterError::cause`].
    pub const CAUSES: [&'static str; 10] = [
        "disconnected",
        "deadline",
        "refused",
        "busy",
        "fenced",
        "incomplete",
        "unreadable",
        "not_replicated",
        "etcd",
        "replica_backlog",
    ];

    /// The position of this error's label in [`ClusterError::CAUSES`].
    pub const fn cause(&self) -> usize {
        match self {
            Self::Disconnected => 0,
            Self::Deadline { .. } => 1,
            Self::Refused { .. } => 2,
            Self::Busy => 3,
            Self::Fenced { .. } => 4,
            Self::Incomplete => 5,
            Self::Unreadable { .. } => 6,
            Self::NotReplicated { .. } => 7,
            Self::Registry { .. } => 8,
            Self::ReplicaBacklog { .. } => 9,
        }
    }

    /// The label for metrics.
    pub fn label(&self) -> &'static str {
        Self::CAUSES.get(self.cause()).copied().unwrap_or("unknown")
    }
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
    /// Whether the directory holds everybody who is on it. Who is found nowhere may be on a node of which this is false.
    #[serde(default = "yes")]
    pub synced: bool,
    /// Grows with each renewal of the lease: whether what it says is of now. Zero from a release that does not say so.
    #[serde(default)]
    pub beat: u64,
    /// Whether it sends its sessions away, to go.
    #[serde(default)]
    pub leaving: bool,
    /// Where it takes streams from its peers; absent: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<Door>,
}

/// Nodes of a release that does not say so are taken to be synced.
const fn yes() -> bool {
    true
}

/// One session as the directory knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The session.
    pub session: SessionId,
    /// Whose.
    pub user: UserId,
    /// The user's type.
    pub user_type: Arc<str>,
    /// The node that holds it.
    pub node: NodeId,
    /// That node's incarnation.
    pub epoch: Epoch,
    /// `ws`, `sse` or `grpc`.
    pub transport: Cow<'static, str>,
    /// The device the token names, or nothing.
    pub device: Option<Arc<str>>,
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
    },
}

impl SessionChange {
    /// Whose session it is.
    pub const fn user(&self) -> &UserId {
        match self {
            Self::Up(record) => &record.user,
            Self::Down { user, .. } => user,
        }
    }
}

/// One page of the users online.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnlinePage {
    /// Users, ordered by id.
    pub users: Vec<UserId>,
    /// Whether there are users after the last of these.
    pub more: bool,
    /// Users online in all. An upper bound while entries of a dead node wait to be reaped: who is on several nodes may
    /// then count once for each.
    pub total: u64,
}

/// How a node takes its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Whoever holds it: a process that starts is newer than any other of that name.
    Take,
    /// Only while nobody holds it: a node that lost its lease must not push out the one that replaced it.
    IfVacant,
}

/// Who is alive.
///
/// A node claims its name once and is given an epoch larger than any that the name has had; the former holder is fenced.
/// From then on it renews the lease. A lease that has run out is never renewed: the node claims anew and so gets a new
/// epoch, which is why removing what an epoch left behind can never hit a live registration. Leaving removes only the
/// caller's own epoch: a late farewell never removes a newer registration.
///
/// A claim whose answer was lost may be repeated: a newer epoch that was given to the caller's own process does not fence
/// it. Renewing then says that there is nothing to renew, and claiming gives that epoch again.
pub trait NodeRegistry: Send + Sync + 'static {
    /// Registers the node under a new epoch (the one in `info` is ignored). [`ClusterError::Fenced`]: the name is held.
    fn claim<'a>(
        &'a self,
        info: &'a NodeInfo,
        claim: Claim,
    ) -> BoxFuture<'a, Result<Epoch, ClusterError>>;
    /// Renews the lease. `Ok(false)`: it has run out, claim anew. [`ClusterError::Fenced`]: a newer epoch holds the name.
    fn renew<'a>(&'a self, info: &'a NodeInfo) -> BoxFuture<'a, Result<bool, ClusterError>>;
    /// Gives the lease back.
    fn leave<'a>(
        &'a self,
        node: &'a NodeId,
        epoch: Epoch,
    ) -> BoxFuture<'a, Result<(), ClusterError>>;
    /// Every node with a live lease, ordered by name, the caller's own included.
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeInfo>, ClusterError>>;
    /// Whether the lease that was last held surely lives on while the registry does not answer. False where nothing works
    /// without the registry anyway.
    fn still_holds(&self) -> bool {
        false
    }
}

/// Sessions, and the user after which there may be more.
pub type Left = (Vec<SessionRecord>, Option<UserId>);

/// Which nodes hold a user's sessions.
///
/// Entries of nodes without a live lease of the same epoch are void: readers never return them, whether or not they have
/// been removed yet. The holder of an entry is the node and epoch it was written with, whatever the record says.
pub trait Directory: Send + Sync + 'static {
    /// Applies changes of this node's sessions in order; repeating one changes nothing. Returns the users whose first
    /// session came to the node or whose last one went.
    fn apply<'a>(
        &'a self,
        node: &'a NodeId,
        epoch: Epoch,
        changes: &'a [SessionChange],
    ) -> BoxFuture<'a, Result<Vec<UserId>, ClusterError>>;
    /// Replaces everything this node (of this epoch) has in the directory by these sessions. Readers may see a mixture
    /// of before and after meanwhile.
    fn replace<'a>(
        &'a self,
        node: &'a NodeId,
        epoch: Epoch,
        sessions: Vec<SessionRecord>,
    ) -> BoxFuture<'a, Result<(), ClusterError>>;
    /// For each user, in order, the live nodes that hold at least one of their sessions.
    fn nodes_of<'a>(
        &'a self,
        users: &'a [UserId],
    ) -> BoxFuture<'a, Result<Vec<Vec<NodeId>>, ClusterError>>;
    /// The sessions of one user on live nodes, oldest first.
    fn sessions_of<'a>(
        &'a self,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Vec<SessionRecord>, ClusterError>>;
    /// A page of users with a session on a live node, after `after`, ordered by id.
    fn online<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<OnlinePage, ClusterError>>;
    /// Everyone who has entries, live or not: what a survivor compares with the registry to find what to reap.
    fn holders(&self) -> BoxFuture<'_, Result<Vec<(NodeId, Epoch)>, ClusterError>>;
    /// What this holder has written, for users after `after`, some at a time; and the last user looked at, as long as there
    /// may be more.
    fn left_by<'a>(
        &'a self,
        node: &'a NodeId,
        epoch: Epoch,
        after: Option<&'a UserId>,
    ) -> BoxFuture<'a, Result<Left, ClusterError>>;
    /// Removes what a holder without a live lease left behind; does nothing if its lease lives. Idempotent; any survivor
    /// may call it.
    fn reap<'a>(
        &'a self,
        node: &'a NodeId,
        epoch: Epoch,
    ) -> BoxFuture<'a, Result<(), ClusterError>>;
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
    /// Hands over a batch in order, in one round trip. For each envelope, in order, how many nodes received it, the
    /// sender included where it listens to that destination.
    fn publish(
        &self,
        batch: Vec<(Destination, bytes::Bytes)>,
    ) -> BoxFuture<'_, Result<Vec<u64>, ClusterError>>;
    /// Whether this node is the only one there can be: forwarding is then idle.
    fn alone(&self) -> bool {
        false
    }
}

/// What the cluster asks of this node when an envelope arrives from a peer. Never blocks on a client.
pub trait LocalNode: Send + Sync + 'static {
    /// Puts the message into the outbox of every session of these users here. For each user,
    /// in order, how many sessions that were.
    fn deliver<'a>(&'a self, users: &'a [UserId], parcel: Parcel) -> BoxFuture<'a, Vec<usize>>;
    /// Puts the message into the outbox of every session here.
    fn broadcast(&self, parcel: Parcel) -> BoxFuture<'_, usize>;
    /// Puts the message into the outbox of every session of the group's members here; how many that were.
    fn deliver_group<'a>(&'a self, group: &'a GroupId, parcel: Parcel) -> BoxFuture<'a, usize>;
    /// Hears that somebody came into a group or went. Called where it arrives: must not wait.
    fn group_changed(&self, change: Change);
    /// Has all sessions of a user here ended; does not wait until they have.
    fn kick_user<'a>(&'a self, user: &'a UserId, reason: &'a str) -> BoxFuture<'a, ()>;
    /// Has one session ended, if it is here; does not wait until it has.
    fn kick_session<'a>(&'a self, session: SessionId, reason: &'a str) -> BoxFuture<'a, ()>;
    /// Every authenticated session here, for writing the directory anew; `None`: not all could be asked in time.
    fn sessions(&self) -> BoxFuture<'_, Option<Vec<SessionRecord>>>;
    /// Live connections, for the lease's value.
    fn connections(&self) -> u64;
    /// Sessions that ended with a node that died, of users who may have others: told by the one node that reaps it, before
    /// the directory forgets them, so at least once; a session's id tells repetitions.
    fn lost<'a>(&'a self, sessions: &'a [SessionRecord]) -> BoxFuture<'a, ()> {
        let _ = sessions;
        Box::pin(async {})
    }
}

/// Called once with the number of other nodes each recipient's message was handed to, or why it was not.
pub type ForwardReport = Box<dyn FnOnce(Result<Vec<usize>, ClusterError>) + Send>;

/// Work for other nodes. Local delivery has been done by then.
pub enum Forward {
    /// To every session of these users on other nodes; the report has one count per user.
    Users {
        /// Recipients.
        users: Vec<UserId>,
        /// The message.
        parcel: Parcel,
        /// Told the outcome.
        report: ForwardReport,
    },
    /// To every session on every other node; the report has one count.
    Broadcast {
        /// The message.
        parcel: Parcel,
        /// Told the outcome.
        report: ForwardReport,
    },
    /// To every session of the group's members on other nodes; the report has one count.
    Group {
        /// The group.
        group: GroupId,
        /// The message.
        parcel: Parcel,
        /// The nodes that get the group's messages, as they were when this one was let through; nothing: they are asked for.
        holders: Option<Vec<Holding>>,
        /// Told the outcome.
        report: ForwardReport,
    },
    /// Somebody came into a group or went: every other node is to know; the report has one count.
    GroupChanged {
        /// What happened.
        change: Change,
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
