//! What the gateway itself says to one client, free of any wire form; a codec writes it.

use super::RawJson;
use super::json::{Refusal, Welcome};

/// A frame of the protocol's own.
#[derive(Debug)]
pub enum Control<'a> {
    /// The session has begun.
    Welcome(&'a Welcome<'a>),
    /// The answer to a `ping`, with its id.
    Pong(Option<&'a str>),
    /// A frame was not taken.
    Error(&'a Refusal),
    /// A frame was not taken now.
    Limited {
        /// Why.
        refusal: &'a Refusal,
        /// When the next is, in milliseconds.
        retry_after_ms: u64,
    },
    /// Come back after so many milliseconds.
    Reconnect {
        /// Why.
        reason: &'a str,
        /// How long to wait first.
        after_ms: u64,
        /// Where the session is, as a client says it when it comes back.
        resume: Option<&'a RawJson>,
    },
    /// The session was ended by somebody.
    Kicked {
        /// Why.
        reason: &'a str,
    },
    /// The answer to a command.
    Result {
        /// The command's id.
        ref_id: Option<&'a str>,
        /// The answer, a JSON object.
        data: &'a RawJson,
    },
    /// Something happened that concerns this client: presence, group and ticket events, receipts.
    Event {
        /// The frame's type.
        kind: &'a str,
        /// What happened, a JSON object.
        data: &'a RawJson,
    },
}

/// The same for a client elsewhere: on another shard, or after something that had to be waited for.
#[derive(Debug)]
pub enum Told {
    /// A frame was not taken.
    Error(Refusal),
    /// The answer to a command.
    Result {
        /// The command's id.
        ref_id: Option<String>,
        /// The answer, a JSON object.
        data: Box<RawJson>,
    },
    /// Something happened that concerns this client.
    Event {
        /// The frame's type.
        kind: &'static str,
        /// What happened, a JSON object.
        data: Box<RawJson>,
    },
}

impl Told {
    /// As a codec takes it.
    pub fn control(&self) -> Control<'_> {
        match self {
            Self::Error(refusal) => Control::Error(refusal),
            Self::Result { ref_id, data } => Control::Result {
                ref_id: ref_id.as_deref(),
                data,
            },
            Self::Event { kind, data } => Control::Event { kind, data },
        }
    }
}
