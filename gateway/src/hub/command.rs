//! What outsiders ask of a shard.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{DrainPlan, Outgoing, ShardId};
use crate::admission::Place;
use crate::cluster::SessionRecord;
use crate::protocol::{GroupId, LogId, Position, SessionId, Start, Told, UserId};
use crate::session::liveness::Tick;
use crate::settings::Settings;
use crate::transport::grpc::Stream;

/// A session within its shard. The generation tells a slot's tenants apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    /// The slot.
    pub slot: u32,
    /// Which tenant of the slot.
    pub generation: u32,
}

impl SessionKey {
    /// The slot of all connections that last as long as one request; their generation tells them apart.
    pub(super) const OF_REQUESTS: u32 = u32::MAX;

    /// Whether it is a connection that lasts as long as one request.
    pub const fn is_of_request(self) -> bool {
        self.slot == Self::OF_REQUESTS
    }
}

/// Who gets a frame.
#[derive(Clone, Debug)]
pub enum Recipients {
    /// Every session of the shard.
    All,
    /// Every session of a user.
    User(UserId),
    /// Every session of a group's members.
    Group(GroupId),
    /// One session, if it is still there.
    Session(SessionKey),
}

/// Whom to kick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KickWhom {
    /// All sessions of a user.
    User(UserId),
    /// One session.
    Session(SessionId),
}

/// A session that may be told to reconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movable {
    /// Its shard.
    pub shard: ShardId,
    /// Itself.
    pub key: SessionKey,
    /// How long nothing came from it.
    pub quiet: Tick,
}

/// One order to a shard.
#[derive(Debug)]
pub enum Command {
    /// Accept connections from this listener until the token fires, for all shards.
    Listen(std::net::TcpListener, CancellationToken),
    /// Take this socket, do the handshake, and serve it. The place is its own among the handshakes of its address.
    Accept(std::net::TcpStream, SocketAddr, Place),
    /// Take this stream of gRPC and serve it.
    Begin(Box<Stream>),
    /// Put a message into outboxes.
    Deliver {
        /// Whose.
        to: Recipients,
        /// The message, shared with the other shards.
        message: Outgoing,
    },
    /// A log that a user reads reaches this far: sessions of the user's that are behind read it, and those that do not follow
    /// it yet begin there or not at all.
    Reaches(UserId, LogId, Position, Start),
    /// The log of a group reaches this far: sessions that are behind read it.
    GroupReaches(GroupId, Position),
    /// The user's sessions enter or leave the group, as the roster says.
    Regroup(UserId, GroupId),
    /// Tell one session something that no other hears.
    Tell(SessionKey, Told),
    /// Nothing more will be said about the frame of this request.
    Answered(SessionKey),
    /// Go by these settings from now on.
    Reload(Arc<Settings>),
    /// End sessions and say how many.
    Kick {
        /// Whose.
        whom: KickWhom,
        /// What the client is told.
        reason: Arc<str>,
        /// How many there were.
        answer: oneshot::Sender<usize>,
    },
    /// End every session whose token was taken back.
    EndRevoked,
    /// List the authenticated sessions.
    Snapshot(oneshot::Sender<Vec<SessionRecord>>),
    /// Send the sessions away over time, no faster than this node's share of the rate, which changes with how many nodes
    /// drain; the answer comes when none is left or the deadline is over.
    Drain(DrainPlan, Arc<AtomicU32>, oneshot::Sender<()>),
    /// List sessions of at least this age, at most so many, those quiet for longest.
    Movable(Duration, usize, oneshot::Sender<Vec<Movable>>),
    /// Tell one session to reconnect, if it is still there: another node has more room.
    SendAway(SessionKey),
}
