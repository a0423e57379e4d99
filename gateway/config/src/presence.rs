//! `PresenceConfig`: when a user counts as gone, and how many users a client may watch.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Seconds, schema};

/// Who is online, as events and to clients that watch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::kubernetes)]
pub struct PresenceConfig {
    /// How long a user may be without any session before they count as offline: who reconnects meanwhile, on whatever
    /// node, was never gone.
    #[schemars(transform = schema::between("0s", "5m"))]
    pub offline_delay: Seconds,
    /// The most users that one session may watch. 0: clients are told nothing about others.
    #[schemars(range(min = 0, max = 10_000))]
    pub max_watched: u32,
}

impl Default for PresenceConfig {
    fn default() -> Self {
        Self {
            offline_delay: Seconds::from_secs(5),
            max_watched: 100,
        }
    }
}
