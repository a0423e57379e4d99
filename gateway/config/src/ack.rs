//! `AckConfig`: how long and how often a message that asks for an acknowledgement is sent again.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::join;
use crate::problems::Problems;
use crate::schema::{self, Rule, millis};
use crate::{Millis, Seconds};

/// Conditions between keys; [`AckConfig::rules`] states the same.
const RULES: &[Rule] = &[Rule {
    cel: concat!(millis!("self.maxDelay"), " >= ", millis!("self.baseDelay")),
    message: "must be at least baseDelay",
    path: ".maxDelay",
}];

/// Acknowledgements of messages that ask for one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::rules(RULES))]
pub struct AckConfig {
    /// Whether messages that ask for an acknowledgement are sent again until they get one.
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

impl AckConfig {
    /// Notes what the keys of this section do not mean together.
    pub(crate) fn rules(&self, at: &str, problems: &mut Problems) {
        let (base, max) = (self.base_delay, self.max_delay);
        if max < base {
            problems.invalid(
                join(at, "maxDelay"),
                format!("must be at least {at}.baseDelay ({base}), is {max}"),
            );
        }
    }
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
