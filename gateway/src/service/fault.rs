//! `Fault`: something an application may want to know that went wrong, and how bad it is.

use serde::Serialize;

use super::Client;
use crate::protocol::json::Refusal;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// One client's doing: a frame or a connection was refused.
    Warning,
    /// One thing was not done that should have been: a hook failed, a message was not stored.
    Error,
    /// The gateway itself is in trouble: it cannot do what it is there for.
    Critical,
}

impl Severity {
    /// Every severity, mildest first.
    pub const ALL: [Self; 3] = [Self::Warning, Self::Error, Self::Critical];

    /// The word in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// What went wrong.
#[derive(Clone, Debug)]
pub struct Fault {
    /// How bad it is.
    pub severity: Severity,
    /// Which part it happened in, such as `callback` or `hook chat`.
    pub part: String,
    /// What happened.
    pub message: String,
    /// Whom it happened to, if to one client.
    pub client: Option<Client>,
}

impl Fault {
    /// A client was told that something was not done.
    pub fn refused(refusal: &Refusal, client: Option<Client>) -> Self {
        let severity = if refusal.code.is_trouble() {
            Severity::Error
        } else {
            Severity::Warning
        };
        Self {
            severity,
            part: refusal.code.as_str().to_owned(),
            message: refusal.message.clone(),
            client,
        }
    }
}
