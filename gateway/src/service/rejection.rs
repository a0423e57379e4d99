//! `Rejection`: an extension's no, as the client hears it. Whoever makes one chooses the words: nothing of an
//! application's own errors reaches a client by accident.

use crate::protocol::ErrorCode;

/// Why an extension refused a client or a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// The code of the error frame.
    pub code: ErrorCode,
    /// What the client is told.
    pub message: String,
}

impl Rejection {
    /// The application does not want it.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::Rejected,
            message: message.into(),
        }
    }

    /// The application could not be asked.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::Unavailable,
            message: message.into(),
        }
    }
}

impl From<&str> for Rejection {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for Rejection {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}
