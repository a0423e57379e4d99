//! `SseConfig`: the Server-Sent Events transport, on the listener that WebSocket uses.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Seconds;
use crate::check::join;
use crate::problems::Problems;
use crate::schema::{self, Rule, seconds};

/// Conditions between keys; [`SseConfig::rules`] states the same.
const RULES: &[Rule] = &[Rule {
    cel: concat!(seconds!("self.timeout"), " > ", seconds!("self.heartbeat")),
    message: "must exceed heartbeat",
    path: ".timeout",
}];

/// The Server-Sent Events transport.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::rules(RULES))]
pub struct SseConfig {
    /// Where clients connect. Must differ from `wsc.path`.
    #[schemars(length(min = 1, max = 128), regex(pattern = schema::PATH))]
    pub path: String,
    /// How long a stream may be quiet before a comment is sent down it.
    #[schemars(transform = schema::between("1s", "1h"))]
    pub heartbeat: Seconds,
    /// How long a write may be stuck before the stream is closed. Must exceed `heartbeat`.
    #[schemars(transform = schema::between("2s", "24h"))]
    pub timeout: Seconds,
    /// How many events wait for a slow reader before the policy for slow consumers decides.
    #[schemars(range(min = 1, max = 65_536))]
    pub message_buffer: u32,
}

impl SseConfig {
    /// Notes what the keys of this section do not mean together.
    pub(crate) fn rules(&self, at: &str, problems: &mut Problems) {
        let (timeout, heartbeat) = (self.timeout, self.heartbeat);
        if timeout <= heartbeat {
            problems.invalid(
                join(at, "timeout"),
                format!("must exceed {at}.heartbeat ({heartbeat}), is {timeout}"),
            );
        }
    }
}

impl Default for SseConfig {
    fn default() -> Self {
        Self {
            path: "/sse".to_owned(),
            heartbeat: Seconds::from_secs(30),
            timeout: Seconds::from_secs(120),
            message_buffer: 100,
        }
    }
}
