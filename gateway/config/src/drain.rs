//! `DrainConfig`: how a node goes without a reconnect storm. Read by the gateway and by the operator, which computes the
//! pod's grace period from it.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Seconds;
use crate::check::join;
use crate::problems::Problems;
use crate::schema::{self, Rule, seconds};

/// Conditions between keys; [`DrainConfig::rules`] states the same.
const RULES: &[Rule] = &[Rule {
    cel: concat!(
        seconds!("self.unreadyDelay"),
        " + ",
        seconds!("self.window"),
        " <= ",
        seconds!("self.deadline")
    ),
    message: "must be at least unreadyDelay and window together",
    path: ".deadline",
}];

/// How a node empties itself before it goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::rules(RULES))]
pub struct DrainConfig {
    /// How long the node goes on accepting after it turned unready, until that has spread.
    #[schemars(transform = schema::between("0s", "5m"))]
    pub unready_delay: Seconds,
    /// The time over which sessions are told to reconnect.
    #[schemars(transform = schema::between("0s", "1h"))]
    pub window: Seconds,
    /// The most sessions told in a second by all nodes of the cluster that drain at the same time, which share it; stretches
    /// the window, up to `deadline`. 0: no cap.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub rate_per_second: u32,
    /// By what part of its turn each session's moment is shifted at random.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub jitter: f64,
    /// When the process goes whatever is left. At least `unreadyDelay` and `window` together.
    #[schemars(transform = schema::between("1s", "2h"))]
    pub deadline: Seconds,
}

impl DrainConfig {
    /// Notes what the keys of this section do not mean together.
    pub(crate) fn rules(&self, at: &str, problems: &mut Problems) {
        let needed = Seconds::from(self.unready_delay.get() + self.window.get());
        let deadline = self.deadline;
        if deadline < needed {
            problems.invalid(join(at, "deadline"), format!("must be at least {at}.unreadyDelay and {at}.window together ({needed}), is {deadline}"));
        }
    }
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self {
            unready_delay: Seconds::from_secs(5),
            window: Seconds::from_secs(20),
            rate_per_second: 0,
            jitter: 0.2,
            deadline: Seconds::from_secs(60),
        }
    }
}
