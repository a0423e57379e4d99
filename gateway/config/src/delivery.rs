//! `DeliveryConfig`: what `accepted` promises, and what is kept for whoever comes back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::closed::closed;
use crate::{Seconds, schema};

closed! {
    /// What it means that a message was accepted.
    pub enum Acceptance {
        /// Nothing is stored: messages reach whoever is connected, at most once.
        None = "none",
        /// Redis has it.
        Stored = "stored",
        /// Redis and at least one replica have it.
        Replicated = "replicated",
    }
}

/// Durable delivery of messages to users, groups and tickets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = schema::kubernetes)]
pub struct DeliveryConfig {
    /// What must have happened before a sender hears `accepted`: `stored`, `replicated`, or `none`, which stores nothing.
    pub acceptance: Acceptance,
    /// How long a message is kept for recipients who come back.
    #[schemars(transform = schema::between("1m", "8760h"))]
    pub retention: Seconds,
    /// The most messages kept in the log of a user, a group or a ticket; the oldest go first, and readers are told.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_messages: u32,
    /// How long a sender that repeats its own message id gets the first result instead of a second message.
    #[schemars(transform = schema::between("1s", "24h"))]
    pub dedupe_window: Seconds,
    /// Types of messages that are never stored, such as typing notices. A frame with `durable` decides for itself.
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    pub transient_types: Vec<String>,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            acceptance: Acceptance::Stored,
            retention: Seconds::from_secs(24 * 3600),
            max_messages: 10_000,
            dedupe_window: Seconds::from_secs(600),
            transient_types: vec!["typing".to_owned()],
        }
    }
}
