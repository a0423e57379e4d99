//! `AckConfig`: how long and how often a message that asks for an acknowledgement is sent again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Millis, Seconds, schema};

/// Acknowledgements of messages that ask for one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = schema::kubernetes)]
pub struct AckConfig {
    /// Whether every durable message is acknowledged, not only those that ask for it.
    pub enabled: bool,
    /// How long the recipient has before the message is sent again.
    #[schemars(transform = schema::between("100ms", "10m"))]
    pub timeout: Seconds,
    /// How often a message is sent again before it counts as expired.
    #[schemars(range(min = 0, max = 100))]
    pub max_retries: u32,
    /// The pause before the first repetition, beyond `timeout`.
    #[schemars(transform = schema::between("1ms", "1m"))]
    pub base_delay: Millis,
    /// The longest pause between repetitions.
    #[schemars(transform = schema::between("1ms", "1h"))]
    pub max_delay: Millis,
    /// What the pause is multiplied by after each repetition.
    #[schemars(range(min = 1.0, max = 10.0))]
    pub backoff_factor: f64,
    /// Whether each pause is a random part of itself, so that repetitions do not come in step.
    pub jitter: bool,
}

impl Default for AckConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            timeout: Seconds::from_secs(5),
            max_retries: 3,
            base_delay: Millis::from_millis(100),
            max_delay: Millis::from_secs(5),
            backoff_factor: 2.0,
            jitter: true,
        }
    }
}
