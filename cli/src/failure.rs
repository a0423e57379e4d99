//! `Failure`: why a command did not do what was asked, and the exit code that scripts see.

use std::io;

/// The exit code of a command that was misused; clap's own.
pub const USAGE: u8 = 2;

/// Why a command failed. The text holds no key and no token.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command was understood and could not be carried out.
    #[error("{0}")]
    Failed(String),
    /// What was asked for cannot be asked for so.
    #[error("{0}")]
    Usage(String),
    /// There is no such session, user, group, ticket or path.
    #[error("{0}")]
    NotFound(String),
    /// No key, a wrong one, or one that may not do this.
    #[error("{0}")]
    Refused(String),
    /// Nobody answered, or not in time, or only to say that it cannot now.
    #[error("{0}")]
    Unreachable(String),
    /// Whoever reads the output went away: nothing to tell, and nobody to tell it to.
    #[error("nobody reads the output")]
    NobodyReads,
}

impl Failure {
    /// The command could not be carried out.
    pub fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }

    /// What scripts see; the list stands in the help too.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NobodyReads => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => USAGE,
            Self::NotFound(_) => 3,
            Self::Refused(_) => 4,
            Self::Unreachable(_) => 5,
        }
    }

    /// Whether there is nothing to print.
    pub const fn is_silent(&self) -> bool {
        matches!(self, Self::NobodyReads)
    }
}

impl From<io::Error> for Failure {
    /// Only output is written with `?`; everything else says what it was about.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::NobodyReads
        } else {
            Self::Failed(format!("output: {error}"))
        }
    }
}
