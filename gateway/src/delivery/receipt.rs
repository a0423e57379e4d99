//! What senders hear about their messages.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use wsc_config::Acceptance;

use super::Accepted;
use crate::protocol::{Control, Told, UserId, json};

/// What `accepted` promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It is in this process' memory and ends with it.
    None,
    /// Redis has it.
    Stored,
    /// Redis and a replica have it.
    Replicated,
}

impl Level {
    /// What the configuration asks for, where there is a Redis to keep it.
    pub(super) const fn of(acceptance: Acceptance, outlives_process: bool) -> Self {
        match (acceptance, outlives_process) {
            (Acceptance::None, _) | (_, false) => Self::None,
            (Acceptance::Stored, true) => Self::Stored,
            (Acceptance::Replicated, true) => Self::Replicated,
        }
    }

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Stored => "stored",
            Self::Replicated => "replicated",
        }
    }
}

/// The type of the frame.
const KIND: &str = "receipt";

#[derive(Serialize)]
struct Receipt<'a> {
    #[serde(rename = "ref")]
    id: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<Level>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pos: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
}

impl Accepted {
    /// What the sender of this id is told.
    pub fn receipt(&self, id: &str) -> Told {
        let data = Receipt {
            id,
            state: "accepted",
            level: Some(self.level),
            pos: Some(self.position.to_string()),
            repeated: self.repeated,
            by: None,
            at: None,
        };
        Told::Event {
            kind: KIND,
            data: raw(&data),
        }
    }
}

/// What became of a message with its recipient, as a frame for its sender's sessions.
pub(super) fn of_recipient(state: &'static str, id: &str, user: &UserId, at: u64) -> Bytes {
    let data = Receipt {
        id,
        state,
        level: None,
        pos: None,
        repeated: false,
        by: Some(user.as_str()),
        at: Some(at),
    };
    let data = raw(&data);
    let event = Control::Event {
        kind: KIND,
        data: &data,
    };
    json::control(&event).into()
}

fn raw(data: &Receipt<'_>) -> Box<RawValue> {
    // Strings and numbers always serialise.
    to_raw_value(data).unwrap_or_default()
}
