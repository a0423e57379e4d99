//! `RecordConfig`: whether and for how long it is kept who sent what to whom.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Seconds, schema};

/// Records of messages and of each change of their status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::kubernetes)]
pub struct RecordConfig {
    /// Whether messages are recorded.
    pub enabled: bool,
    /// How long a record is kept.
    #[schemars(transform = schema::between("1m", "8760h"))]
    pub ttl: Seconds,
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            ttl: Seconds::from_secs(24 * 3600),
        }
    }
}
