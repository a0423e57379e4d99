//! What autoscalers say of themselves. Pure; reads the status that their controllers write.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::gateway::live::Live;

/// A new autoscaler has nothing to go by until pods have been measured. So long that is no news.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whether autoscalers can do their work.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Complaint {
    /// They can, as far as they say.
    None,
    /// One cannot, but has not been able to for so short a time that it may only be beginning.
    Fresh,
    /// One cannot, and this is why.
    Standing(String),
}

/// What they say.
pub(super) fn complaint(live: &Live, now: Timestamp) -> Complaint {
    for (kind, name, object) in live.iter() {
        if !kind.is_autoscaler() {
            continue;
        }
        let bad = ["AbleToScale", "ScalingActive", "Ready"];
        let conditions = object.data.pointer("/status/conditions");
        let all = conditions
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        if let Some(found) = all.iter().find(|condition| is_failing(condition, &bad)) {
            if is_fresh(found, now) {
                return Complaint::Fresh;
            }
            let (reason, message) = (word(found, "reason"), word(found, "message"));
            return Complaint::Standing(format!("{}/{name}: {reason}: {message}", kind.as_str()));
        }
    }
    Complaint::None
}

/// With no pod wanted an autoscaler rests, which is what was asked for.
fn is_failing(condition: &Value, kinds: &[&str]) -> bool {
    kinds.contains(&word(condition, "type"))
        && word(condition, "status") == "False"
        && word(condition, "reason") != "ScalingDisabled"
}

/// KEDA says no time; what it says is wrong is its object itself.
fn is_fresh(condition: &Value, now: Timestamp) -> bool {
    let since: Option<Timestamp> = word(condition, "lastTransitionTime").parse().ok();
    since.is_some_and(|since| now.duration_since(since).unsigned_abs() < PATIENCE)
}

fn word<'a>(condition: &'a Value, key: &str) -> &'a str {
    condition
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
