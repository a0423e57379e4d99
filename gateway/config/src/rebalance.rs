//! `RebalanceConfig`: when a node has so many connections more than the others that it gives some away, and how gently.
//! Read by the gateway; all of it can change while it runs.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Seconds;
use crate::schema;

/// How connections spread over nodes that joined later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::kubernetes)]
pub struct RebalanceConfig {
    /// Whether a node with a surplus tells sessions to reconnect until its surplus is gone. Only in a cluster.
    pub enabled: bool,
    /// How many connections more than the mean of all nodes are no surplus.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub absolute: u32,
    /// The same as a part of the mean. The larger of the two holds, and never less than twice the square root of the mean, which chance alone makes.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub relative: f64,
    /// The most sessions that a node tells in a second.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rate_per_second: u32,
    /// By what part of its turn each session's moment is shifted at random.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub jitter: f64,
    /// Sessions younger than this stay. A session that was moved is a new one where it came to: none moves twice within this time.
    #[schemars(transform = schema::between("0s", "24h"))]
    pub min_age: Seconds,
}

impl Default for RebalanceConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            absolute: 50,
            relative: 0.1,
            rate_per_second: 10,
            jitter: 0.2,
            min_age: Seconds::from_secs(300),
        }
    }
}
