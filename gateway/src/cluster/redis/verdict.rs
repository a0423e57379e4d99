//! What the end of an operation on a connection to Redis means: for the connection, and for whoever asked. Decides only; the
//! link acts on it.

use std::time::Duration;

use ::redis::{ErrorKind, RedisError, RedisResult};
use tokio::time::error::Elapsed;

use crate::cluster::ClusterError;

/// What an operation's end says of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It works.
    Answer,
    /// It works, and leads to what is no longer the primary: the name may lead to another one by now.
    Replica,
    /// Nothing came in time.
    Silence,
    /// It is closed, or says what cannot be read.
    Broken,
}

/// What whoever asked is told.
pub(super) fn outcome<T>(
    operation: &'static str,
    deadline: Duration,
    answer: Result<RedisResult<T>, Elapsed>,
) -> Result<T, ClusterError> {
    let millis = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    match (sign(&answer), answer) {
        (_, Ok(Ok(value))) => Ok(value),
        (Sign::Silence, _) | (_, Err(_)) => Err(ClusterError::Deadline { operation, millis }),
        (Sign::Broken, _) => Err(ClusterError::Disconnected),
        (Sign::Answer | Sign::Replica, Ok(Err(source))) => {
            Err(ClusterError::Refused { operation, source })
        }
    }
}

/// What the end of an operation says of its connection.
pub(super) fn sign<T>(answer: &Result<RedisResult<T>, Elapsed>) -> Sign {
    match answer {
        Err(_) => Sign::Silence,
        Ok(Err(error)) if error.is_timeout() => Sign::Silence,
        Ok(Err(error)) if is_broken(error) => Sign::Broken,
        Ok(Err(error)) if is_replica(error) => Sign::Replica,
        Ok(_) => Sign::Answer,
    }
}

/// What an operation failed with.
pub(super) fn said<T>(answer: &Result<RedisResult<T>, Elapsed>) -> String {
    match answer {
        Ok(Err(error)) => error.to_string(),
        Ok(Ok(_)) | Err(_) => String::new(),
    }
}

/// Whether the connection is of no more use. A server's refusal is not that.
fn is_broken(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse) || error.is_connection_dropped()
}

/// Whether this is no longer the primary: the name may lead to another one by now.
fn is_replica(error: &RedisError) -> bool {
    matches!(error.code(), Some("READONLY" | "MASTERDOWN"))
}
