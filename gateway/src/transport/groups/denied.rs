//! `Denied`: why something about groups was not done, and how a client is told.

use std::rc::Rc;

use crate::group::GroupError;
use crate::group::rules::Forbidden;
use crate::hub::Shard;
use crate::protocol::json::Refusal;
use crate::protocol::{Control, ErrorCode};
use crate::service::Rejection;
use crate::transport::Connection;
use crate::transport::reader;

/// Why a command or a message was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Denied {
    #[error("{0}")]
    Bad(String),
    #[error("{0}")]
    Off(String),
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl Denied {
    const fn code(&self) -> ErrorCode {
        match self {
            Self::Bad(_) => ErrorCode::BadFrame,
            Self::Off(_) => ErrorCode::NotSupported,
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::Group(error) => error.code(),
            Self::Rejected(rejection) => rejection.code,
        }
    }

    /// Whether the client should not have asked.
    const fn is_mistake(&self) -> bool {
        match self {
            Self::Bad(_) | Self::Off(_) | Self::Forbidden(_) => true,
            Self::Group(error) => matches!(error, GroupError::NotMember { .. }),
            Self::Rejected(_) => false,
        }
    }

    fn refusal(&self, id: Option<&str>) -> Refusal {
        Refusal {
            code: self.code(),
            message: self.to_string(),
            ref_id: id.map(str::to_owned),
        }
    }

    const fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Group(error) => error.retry_after_ms(),
            Self::Bad(_) | Self::Off(_) | Self::Forbidden(_) | Self::Rejected(_) => None,
        }
    }
}

/// Refuses what a client asked for.
pub(super) fn deny(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    denied: &Denied,
    id: Option<&str>,
) {
    if denied.is_mistake() {
        return reader::refuse(shard, connection, &denied.refusal(id));
    }
    // Nothing that the client could have known: no abuse.
    connection.good_frame();
    tell(shard, connection, denied, id);
}

/// Tells a client that something about groups was not done.
pub(super) fn tell(shard: &Shard, connection: &Rc<Connection>, denied: &Denied, id: Option<&str>) {
    let refusal = denied.refusal(id);
    shard.refused(connection, &refusal);
    shard.say(
        connection,
        &match denied.retry_after_ms() {
            Some(retry_after_ms) => Control::Limited {
                refusal: &refusal,
                retry_after_ms,
            },
            None => Control::Error(&refusal),
        },
    );
}
