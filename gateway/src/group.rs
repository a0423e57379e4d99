//! Groups of users: who is in which, what may be done with them, and where that is kept.
//!
//! A group's set of members is the truth. A user's list of groups is a claim that lies elsewhere (another slot of a Redis
//! Cluster): it holds at least the groups that the user is in, since it is written before a join and cleared after a leave, and
//! what it holds too much, after a crash between two steps, is put right when it is next read. [`GroupStore`] keeps both;
//! [`rules`] says who may do what. [`Groups`] serves them: it is what sessions and the API call. Nothing here knows a socket.

mod change;
mod groups;
mod memory;
mod pattern;
mod redis;
pub mod rules;
mod settings;
mod stats;
mod steward;

pub use change::{Change, What};
pub use groups::{Groups, Membership};
pub use memory::MemoryGroups;
pub use pattern::{GroupPatterns, PatternError};
pub use redis::RedisGroups;
pub use settings::GroupSettings;
pub use stats::GroupStats;

use std::fmt;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::cluster::{ClusterError, Holding};
use crate::protocol::{ErrorCode, GroupId, UserId};

/// When a membership began or ended, comparable within one group: larger is newer. A late leave therefore cannot undo a
/// newer join, nor a late join a newer leave.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// When it was given, by the clock of the store: Unix time in milliseconds.
    pub const fn millis(self) -> u64 {
        self.0 / 1000
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How long a group exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Until it is disbanded.
    Lasting,
    /// Until its last member leaves: nobody asked for it by itself.
    UntilEmpty,
}

/// What is known of a group beside its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Who may disband it; nobody: the API alone.
    pub owner: Option<UserId>,
    /// Unix time in milliseconds.
    pub created_at: u64,
    /// How many are in it.
    pub members: u64,
    /// How long it exists.
    pub life: Life,
}

/// What becomes of someone who wants to join a group that does not exist, or that must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The group must exist.
    Existing,
    /// The group is made if it does not exist, and ends with its last member.
    MakeIfMissing,
    /// The group must not exist; it is made and lasts.
    Found,
}

/// The most that there may be of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Members of a group.
    pub group_size: u32,
    /// Groups of a user.
    pub groups_per_user: u32,
}

/// How a join went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Since when the user is a member.
    pub generation: Generation,
    /// Whether the user was none before.
    pub is_new: bool,
    /// Whether the group was made on the way.
    pub founded: bool,
}

/// How a leave went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// When the membership ended.
    pub generation: Generation,
    /// Whether the group ended with it.
    pub ended: bool,
}

/// How a message goes on that is let through to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the nodes that get the group's messages, at once.
    Live,
    /// Into the group's log first: which nodes get it is asked for when it is there.
    Stored,
}

/// One member, in the order of joining.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// Since when.
    pub generation: Generation,
}

/// One page of a group's members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembersPage {
    /// Members, in the order of joining.
    pub members: Vec<Member>,
    /// Whether there are members after the last of these.
    pub more: bool,
}

/// Why something could not be done with a group.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GroupError {
    /// There is no such group.
    #[error("group {0} does not exist")]
    Missing(GroupId),
    /// The group exists.
    #[error("group {0} exists already")]
    Exists(GroupId),
    /// The group takes no more members.
    #[error("group {group} has {limit} members, the most allowed (wsc.group.maxGroupSize)")]
    Full {
        /// Which.
        group: GroupId,
        /// How many it may have.
        limit: u32,
    },
    /// The user takes no more groups.
    #[error("{user} is in {limit} groups, the most allowed (wsc.group.maxGroupsPerUser)")]
    TooMany {
        /// Who.
        user: UserId,
        /// In how many the user may be.
        limit: u32,
    },
    /// The user is not in the group.
    #[error("{user} is not a member of group {group}")]
    NotMember {
        /// Which.
        group: GroupId,
        /// Who.
        user: UserId,
    },
    /// The member has sent enough for now.
    #[error(
        "group {group} takes {limit} messages a minute from each member \
         (wsc.group.broadcastRateLimit); again in {retry_after_ms} ms"
    )]
    Limited {
        /// Which.
        group: GroupId,
        /// How many.
        limit: u32,
        /// When the next is taken.
        retry_after_ms: u64,
    },
    /// The store could not be asked, or did not say what became of it.
    #[error("groups cannot be reached: {0}")]
    Store(#[from] ClusterError),
}

impl GroupError {
    /// What a client is told.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Missing(_) => ErrorCode::NotFound,
            Self::Exists(_) => ErrorCode::Exists,
            Self::Full { .. } | Self::TooMany { .. } => ErrorCode::LimitReached,
            Self::NotMember { .. } => ErrorCode::Forbidden,
            Self::Limited { .. } => ErrorCode::RateLimited,
            Self::Store(ClusterError::Busy) => ErrorCode::Busy,
            Self::Store(_) => ErrorCode::Unavailable,
        }
    }

    /// When it may be tried again, where that is known: in so many milliseconds.
    pub const fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Limited { retry_after_ms, .. } => Some(*retry_after_ms),
            Self::Missing(_)
            | Self::Exists(_)
            | Self::Full { .. }
            | Self::TooMany { .. }
            | Self::NotMember { .. }
            | Self::Store(_) => None,
        }
    }
}

/// Where groups are kept.
///
/// Each call is atomic for the group; what it changes of the user's list follows the rule of the module. A call whose outcome
/// was lost ([`GroupError::Store`]) may have been done; repeating it is safe and says so.
pub trait GroupStore: Send + Sync + 'static {
    /// Makes a lasting group without members.
    fn create<'a>(
        &'a self,
        group: &'a GroupId,
        owner: Option<&'a UserId>,
    ) -> BoxFuture<'a, Result<(), GroupError>>;
    /// What is known of a group.
    fn get<'a>(&'a self, group: &'a GroupId) -> BoxFuture<'a, Result<Group, GroupError>>;
    /// Ends a group and all memberships in it.
    fn disband<'a>(&'a self, group: &'a GroupId) -> BoxFuture<'a, Result<Generation, GroupError>>;
    /// Makes the user a member, within the bounds. A member who joins stays what they are.
    fn join<'a>(
        &'a self,
        group: &'a GroupId,
        user: &'a UserId,
        entry: Entry,
        bounds: Bounds,
    ) -> BoxFuture<'a, Result<Joined, GroupError>>;
    /// Ends a membership.
    fn leave<'a>(
        &'a self,
        group: &'a GroupId,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Left, GroupError>>;
    /// Since when the user is a member.
    fn membership<'a>(
        &'a self,
        group: &'a GroupId,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Generation, GroupError>>;
    /// A page of the members after this generation.
    fn members<'a>(
        &'a self,
        group: &'a GroupId,
        after: Generation,
        limit: usize,
    ) -> BoxFuture<'a, Result<MembersPage, GroupError>>;
    /// The groups that the user is in, by their ids, checked against each group. Puts the user's list right.
    fn groups_of<'a>(
        &'a self,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Vec<(GroupId, Generation)>, GroupError>>;
    /// Lets a member send one message to the group, or says why not: by the truth, not by any node's copy of it. At most
    /// `per_minute` are let through from each member, counted over all nodes; 0: no limit. The nodes that get the group's
    /// messages at that moment, if the message goes there at once and the store knows them.
    fn admit<'a>(
        &'a self,
        group: &'a GroupId,
        user: &'a UserId,
        per_minute: u32,
        way: Way,
    ) -> BoxFuture<'a, Result<Option<Vec<Holding>>, GroupError>>;
}
