//! What the conditions say of gateways in pods of the application. Pure.

use super::conditions::{Answer, Facts, Judgement};
use crate::gateway::rollout::Rollout;
use crate::names::GATEWAY_LABEL;
use crate::stores::Role;

/// Names of pods in a message; the rest is counted.
const NAMED: usize = 3;

/// `Ready` where there is no pod: nobody asks for a gateway, and whoever does gets one.
pub(super) fn nobody() -> Judgement {
    let message = format!("no pod with the label {GATEWAY_LABEL} has a gateway yet");
    Judgement::new(Answer::True, "NoPods", message)
}

/// `Progressing` where pods run something older: only who made them can make them anew.
pub(super) fn outdated(rollout: &Rollout) -> Option<Judgement> {
    let Rollout { total, updated, .. } = rollout;
    (updated < total).then(|| {
        let message = format!(
            "{updated} of {total} pods have the gateway that is wanted: restart the application's workload (kubectl rollout restart)"
        );
        Judgement::new(Answer::True, "RestartNeeded", message)
    })
}

/// `Degraded` where pods ask for a gateway and have none.
pub(super) fn bare(facts: &Facts<'_>) -> Option<Judgement> {
    let names: Vec<&str> = facts
        .pods
        .iter()
        .filter(|pod| pod.role == Role::Bare && !pod.terminating && !pod.finished)
        .map(|pod| pod.name.as_str())
        .collect();
    let (first, rest) = names.split_at(names.len().min(NAMED));
    (!first.is_empty()).then(|| {
        let more = match rest.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message = format!(
            "labelled {GATEWAY_LABEL}, but made while the webhook of the operator was not there: {}{more}; restart their workload",
            first.join(", ")
        );
        Judgement::new(Answer::True, "NotInjected", message)
    })
}
