//! Newtypes for every id, so that a user is never handed over where a node is meant.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An id that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdError {
    /// Nothing, or more bytes than [`IdError::MAX_BYTES`].
    #[error("{what} has {bytes} bytes, allowed are 1 to {max}", max = IdError::MAX_BYTES)]
    Length {
        /// What kind of id.
        what: &'static str,
        /// How many it has.
        bytes: usize,
    },
    /// A name of a log that is none.
    #[error("no such log: expected inbox:USER, group:GROUP, ticket:TICKET or broadcast")]
    NoLog,
    /// Control characters would end up in logs and keys.
    #[error("{what} has a control character at byte {at}")]
    Control {
        /// What kind of id.
        what: &'static str,
        /// Where.
        at: usize,
    },
}

impl IdError {
    /// The longest id in bytes.
    pub const MAX_BYTES: usize = 128;
}

/// The rules that all names from outside share.
fn check(what: &'static str, id: &str) -> Result<Arc<str>, IdError> {
    let bytes = id.len();
    if id.is_empty() || bytes > IdError::MAX_BYTES {
        return Err(IdError::Length { what, bytes });
    }
    match id.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, _)) => Err(IdError::Control { what, at }),
        None => Ok(id.into()),
    }
}

/// A name that comes from outside: 1 to 128 bytes without control characters, cheap to clone.
macro_rules! name {
    ($(#[$meta:meta])* $name:ident, $what:literal) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest id in bytes.
            pub const MAX_BYTES: usize = IdError::MAX_BYTES;

            /// Checks the length and refuses control characters.
            pub fn new(id: &str) -> Result<Self, IdError> {
                check($what, id).map(Self)
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &*self.0)
            }
        }
    };
}

name! {
    /// A user, as the token's `sub` names it.
    UserId, "user id"
}
name! {
    /// A group of users.
    GroupId, "group id"
}
name! {
    /// A ticket of the customer service.
    TicketId, "ticket id"
}

impl TicketId {
    /// An id for a ticket of which nobody names one (UUID v7, RFC 9562).
    pub fn generate() -> Self {
        Self(Uuid::now_v7().to_string().into())
    }
}

/// A session, unique over nodes and time (UUID v7, RFC 9562).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(Uuid);

impl SessionId {
    /// A new id, ordered by time.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// Reads the hyphenated form.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// When it was made, by the clock of the node that made it: Unix microseconds.
    pub fn began_at_micros(&self) -> u64 {
        let (seconds, nanos) = self.0.get_timestamp().map_or((0, 0), |at| at.to_unix());
        seconds
            .saturating_mul(1_000_000)
            .saturating_add(u64::from(nanos / 1000))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A gateway process by name: the pod's name in Kubernetes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// Takes any name; nodes of one cluster must differ.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One incarnation of a node: larger is newer. What an older one left behind is void.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_is_bounded_and_printable() {
        assert!(UserId::new("alice").is_ok());
        assert_eq!(
            UserId::new(""),
            Err(IdError::Length {
                what: "user id",
                bytes: 0
            })
        );
        assert_eq!(
            GroupId::new(&"x".repeat(129)).unwrap_err().to_string(),
            "group id has 129 bytes, allowed are 1 to 128"
        );
        let at = IdError::Control {
            what: "ticket id",
            at: 1,
        };
        assert_eq!(TicketId::new("a\nb"), Err(at));
    }
}
