//! The calls a backend can make about groups, free of any wire form.

use futures_util::future::BoxFuture;

use super::fault::{Fault, FaultCode};
use super::service::{ApiMessage, ServiceError};
use crate::group::{Generation, Group, GroupError, Joined, MembersPage};
use crate::protocol::{GroupId, Position, UserId};

/// What became of a message to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSendOutcome {
    /// The message's id.
    pub id: String,
    /// Sessions here that took it.
    pub local_sessions: usize,
    /// Other nodes it was handed to.
    pub nodes: usize,
    /// Where it stands in the group's log, if it was stored.
    pub position: Option<Position>,
    /// Whether the same sender had sent this id before; nothing was done again.
    pub repeated: bool,
}

/// Why a call about groups failed.
#[derive(Debug, thiserror::Error)]
pub enum GroupCallError {
    /// There are no groups here.
    #[error("groups are off (wsc.group.enabled)")]
    Off,
    /// The group, or the store of groups, does not let it be done.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The message cannot be sent.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<GroupCallError> for Fault {
    fn from(error: GroupCallError) -> Self {
        let message = error.to_string();
        let code = match error {
            GroupCallError::Service(error) => return error.into(),
            GroupCallError::Off => FaultCode::NotSupported,
            GroupCallError::Group(error) => match error {
                GroupError::Missing(_) | GroupError::NotMember { .. } => FaultCode::Missing,
                GroupError::Exists(_) => FaultCode::Exists,
                GroupError::Full { .. } | GroupError::TooMany { .. } => FaultCode::LimitReached,
                GroupError::Limited { .. } => FaultCode::Busy,
                GroupError::Store(error) => {
                    tracing::debug!(%error, "an API call did not reach the groups");
                    FaultCode::Unavailable
                }
            },
        };
        Self::new(code, message)
    }
}

/// The calls. Every one works on any node for the whole cluster. Backends are trusted: what a client needs a claim for, they
/// may do; the limits of groups hold for them too, the rate limit of members does not.
pub trait GroupCalls: Send + Sync + 'static {
    /// Makes a lasting group without members.
    fn create(
        &self,
        group: GroupId,
        owner: Option<UserId>,
    ) -> BoxFuture<'_, Result<Group, GroupCallError>>;
    /// Ends a group; its members are told.
    fn disband(&self, group: GroupId) -> BoxFuture<'_, Result<(), GroupCallError>>;
    /// What is known of a group.
    fn get(&self, group: GroupId) -> BoxFuture<'_, Result<Group, GroupCallError>>;
    /// A page of the members after this generation; `limit` 1 to 1000.
    fn members(
        &self,
        group: GroupId,
        after: Generation,
        limit: usize,
    ) -> BoxFuture<'_, Result<MembersPage, GroupCallError>>;
    /// Makes a user a member.
    fn add(&self, group: GroupId, user: UserId) -> BoxFuture<'_, Result<Joined, GroupCallError>>;
    /// Ends a membership.
    fn remove(&self, group: GroupId, user: UserId) -> BoxFuture<'_, Result<(), GroupCallError>>;
    /// The groups of a user, by their ids.
    fn of_user(
        &self,
        user: UserId,
    ) -> BoxFuture<'_, Result<Vec<(GroupId, Generation)>, GroupCallError>>;
    /// To every session of every member.
    fn send_to_group(
        &self,
        group: GroupId,
        message: ApiMessage,
    ) -> BoxFuture<'_, Result<GroupSendOutcome, GroupCallError>>;
}
