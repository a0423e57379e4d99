//! `EtcdFault`: what failed on the way to etcd, and what to do about an answer that refuses.

use tonic::{Code, Status};

/// What failed on the way to etcd.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EtcdFault {
    /// No member can be spoken to.
    #[error("etcd is not reachable: {0}")]
    Unreachable(String),
    /// No answer within the deadline.
    #[error("etcd did not answer within {0} ms")]
    Deadline(u64),
    /// It answered with an error.
    #[error("etcd refused: {0}")]
    Refused(String),
    /// It answered with something that no gateway wrote.
    #[error("etcd holds something unreadable")]
    Unreadable,
    /// Others changed the same key again and again.
    #[error("the key changed hands too often meanwhile")]
    Contended,
    /// Certificates or names that cannot be used.
    #[error("etcd cannot be spoken to as configured: {0}")]
    Misconfigured(String),
}

impl From<&Status> for EtcdFault {
    fn from(status: &Status) -> Self {
        // Whether a member or the way to it is at fault shows in the code alone.
        match status.code() {
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal => {
                Self::Unreachable(status.message().to_owned())
            }
            _ => Self::Refused(status.message().to_owned()),
        }
    }
}

impl EtcdFault {
    /// Whether another member may do better.
    pub(super) const fn is_of_member(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Deadline(_))
    }
}

/// Whether the token that was shown is no longer taken.
pub(super) fn is_of_token(status: &Status) -> bool {
    let message = status.message();
    status.code() == Code::Unauthenticated
        || message.contains("auth store is old")
        || message.contains("user name is empty")
}
