//! The six conditions. Pure: each is a function of facts; the time of change is kept while its status stays the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::{redis, sidecars};
use crate::api::Mode;
use crate::census::Counts;
use crate::gateway::apply::Verdict;
use crate::gateway::rollout::Rollout;
use crate::gateway::validate::RedisMode;
use crate::owned::Kind;
use crate::stores::PodView;

/// What conditions are judged by.
pub(super) struct Facts<'a> {
    pub(super) verdict: &'a Verdict,
    pub(super) unimplemented: &'a [String],
    /// Kinds that are wanted and that the cluster has not.
    pub(super) unserved: &'a BTreeSet<Kind>,
    /// What the operator may not see any more.
    pub(super) lacking: &'a [String],
    /// Why nothing scales on connections although it should.
    pub(super) unmeasured: Option<&'static str>,
    /// Why a Gateway does not take a route, if one does not.
    pub(super) refused_route: Option<&'a str>,
    /// What an autoscaler says keeps it from its work.
    pub(super) autoscaler: Option<&'a str>,
    /// What this reconcile has looked at.
    pub(super) look: Look,
    pub(super) paused: bool,
    pub(super) mode: Mode,
    pub(super) rollout: Option<&'a Rollout>,
    pub(super) deployment: Option<&'a Deployment>,
    pub(super) redis_mode: RedisMode,
    pub(super) redis: Option<&'a StatefulSet>,
    pub(super) pods: &'a [Arc<PodView>],
    pub(super) counts: &'a Counts,
    /// Whether the gateways have been asked since this operator began.
    pub(super) asked: bool,
}

/// What a reconcile has looked at: it claims health of nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Everything that is asked for.
    Wanted,
    /// What was realised last, in place of what is asked for.
    Held,
    /// What runs, and not whether it is what is asked for.
    Nothing,
}

impl Look {
    /// What the last look said is wrong, and this one says nothing of.
    const fn leaves(self) -> &'static [&'static str] {
        match self {
            Self::Wanted => &[],
            Self::Held => &[UNMEASURED],
            Self::Nothing => &[APPLY_FAILED, KIND_MISSING, UNMEASURED],
        }
    }

    /// That nothing is wrong.
    const fn fine(self) -> &'static str {
        match self {
            Self::Wanted => "nothing is known to be wrong",
            Self::Held => {
                "nothing is known to be wrong with what was realised last; see Accepted for what is asked for"
            }
            Self::Nothing => {
                "nothing is known to be wrong with the pods; whether all is there that is asked for is not looked at, see Accepted and Paused"
            }
        }
    }
}

/// Why a gateway is degraded of which something could not be written.
const APPLY_FAILED: &str = "ApplyFailed";

/// Why one is that asks for what the cluster has not.
const KIND_MISSING: &str = "KindMissing";

/// Why one is whose connections nobody tells its autoscaler.
const UNMEASURED: &str = "ConnectionsUnmeasured";

/// Why a gateway is degraded that says so itself.
pub(super) const GATEWAY_PROBLEMS: &str = "GatewayProblems";

/// A condition's answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    True,
    False,
    Unknown,
}

pub(super) struct Judgement {
    answer: Answer,
    reason: &'static str,
    message: String,
}

impl Judgement {
    pub(super) fn new(answer: Answer, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            answer,
            reason,
            message: message.into(),
        }
    }
}

/// Judges all conditions; `stamp` is the generation they are about and the time of those that change.
pub(super) fn conditions(
    facts: &Facts<'_>,
    before: &[Condition],
    stamp: (i64, Timestamp),
) -> Vec<Condition> {
    [
        ("Accepted", accepted(facts)),
        ("Ready", ready(facts)),
        ("Progressing", progressing(facts)),
        ("RedisReady", redis::ready(facts, before)),
        ("Degraded", degraded(facts, before)),
        ("Paused", paused(facts)),
    ]
    .into_iter()
    .map(|(kind, judgement)| condition(kind, judgement, before, stamp))
    .collect()
}

fn condition(
    kind: &str,
    judgement: Judgement,
    before: &[Condition],
    (generation, now): (i64, Timestamp),
) -> Condition {
    let status = match judgement.answer {
        Answer::True => "True",
        Answer::False => "False",
        Answer::Unknown => "Unknown",
    };
    let since = before
        .iter()
        .find(|old| old.type_ == kind && old.status == status)
        .map(|old| old.last_transition_time.clone());
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: judgement.reason.to_owned(),
        message: judgement.message,
        observed_generation: Some(generation),
        last_transition_time: since.unwrap_or_else(|| Time(whole_second(now))),
    }
}

/// The API server keeps seconds; anything finer would read back as a change.
fn whole_second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn accepted(facts: &Facts<'_>) -> Judgement {
    match facts.verdict {
        Verdict::Rejected(rejection, _) => {
            let meanwhile = match facts.look {
                Look::Held => "; until it is mended, what was realised last is held",
                Look::Wanted | Look::Nothing => "",
            };
            let message = format!("{rejection}{meanwhile}");
            Judgement::new(Answer::False, rejection.reason(), message)
        }
        Verdict::Realised | Verdict::Paused | Verdict::Failed(_) => {
            let message = if facts.unimplemented.is_empty() {
                "the resource can be realised".to_owned()
            } else {
                format!(
                    "the resource can be realised; set, but without effect in this release: {}",
                    facts.unimplemented.join(", ")
                )
            };
            Judgement::new(Answer::True, "Accepted", message)
        }
    }
}

fn ready(facts: &Facts<'_>) -> Judgement {
    let Some(rollout) = facts.rollout else {
        return not_deployed(facts);
    };
    let Rollout { wanted, ready, .. } = *rollout;
    // Whether the Deployment's controller has seen the last change does not count: right after each write it has not,
    // and nothing is less ready for that. `Progressing` says so.
    if ready < wanted {
        let message = format!("{ready} of {wanted} gateways are ready");
        return Judgement::new(Answer::False, "GatewaysNotReady", message);
    }
    if wanted == 0 {
        if facts.mode == Mode::Sidecar {
            return sidecars::nobody();
        }
        return Judgement::new(Answer::True, "ScaledToZero", "no gateway is wanted");
    }
    let message = format!("{wanted} of {wanted} gateways are ready");
    Judgement::new(Answer::True, "GatewaysReady", message)
}

fn not_deployed(facts: &Facts<'_>) -> Judgement {
    let message = match facts.mode {
        Mode::Standalone => "there is no Deployment yet",
        Mode::Sidecar => "there is no PodTemplate yet",
    };
    Judgement::new(Answer::False, "NotDeployed", message)
}

fn progressing(facts: &Facts<'_>) -> Judgement {
    let Some(rollout) = facts.rollout else {
        return not_deployed(facts);
    };
    if facts.mode == Mode::Sidecar
        && let Some(outdated) = sidecars::outdated(rollout)
    {
        return outdated;
    }
    let Rollout {
        wanted,
        total,
        updated,
        available,
        observed,
        ..
    } = *rollout;
    if !observed || updated < wanted || total > updated || available < wanted {
        let message =
            format!("{updated} of {wanted} gateways run what is wanted, {available} are available");
        return Judgement::new(Answer::True, "RollingOut", message);
    }
    let leaving = facts
        .pods
        .iter()
        .filter(|pod| pod.has_gateway() && pod.terminating)
        .count();
    if leaving > 0 {
        let message = format!("{leaving} gateways are being emptied");
        return Judgement::new(Answer::True, "Draining", message);
    }
    Judgement::new(Answer::False, "Stable", "nothing is changing")
}

/// The census may still remember a pod that is gone.
pub(super) fn is_there(facts: &Facts<'_>, name: &str) -> bool {
    facts.pods.iter().any(|pod| pod.name == name)
}

fn degraded(facts: &Facts<'_>, before: &[Condition]) -> Judgement {
    if let Verdict::Failed(error) | Verdict::Rejected(_, Some(error)) = facts.verdict {
        return Judgement::new(Answer::True, APPLY_FAILED, error.chain());
    }
    if !facts.lacking.is_empty() {
        let message = format!(
            "the operator may not {} any more, and what it knows of them is old; give it the chart's rights",
            facts.lacking.join(", ")
        );
        return Judgement::new(Answer::True, "NotPermitted", message);
    }
    let worst = facts
        .pods
        .iter()
        .filter(|pod| !pod.terminating && !pod.finished)
        .filter_map(|pod| {
            let (trouble, words) = pod.trouble.as_ref()?;
            Some((*trouble, &pod.name, words))
        })
        .min();
    if let Some((trouble, pod, words)) = worst {
        return Judgement::new(
            Answer::True,
            trouble.reason(),
            format!("pod {pod}: {words}"),
        );
    }
    let failure = facts
        .deployment
        .and_then(|deployment| deployment.status.as_ref())
        .and_then(|status| status.conditions.as_ref())
        .and_then(|all| {
            all.iter()
                .find(|found| found.type_ == "ReplicaFailure" && found.status == "True")
        });
    if let Some(found) = failure {
        let message = found.message.clone().unwrap_or_default();
        return Judgement::new(Answer::True, "ReplicaFailure", message);
    }
    if let Some(said) = problems(facts, before) {
        return Judgement::new(Answer::True, GATEWAY_PROBLEMS, said);
    }
    if let Some(bare) = sidecars::bare(facts) {
        return bare;
    }
    if !facts.unserved.is_empty() {
        return Judgement::new(Answer::True, KIND_MISSING, missing(facts.unserved));
    }
    if let Some(why) = facts.refused_route {
        return Judgement::new(Answer::True, "RouteRefused", why);
    }
    if let Some(why) = facts.autoscaler {
        return Judgement::new(Answer::True, "AutoscalerFailing", why);
    }
    if let Some(why) = facts.unmeasured {
        return Judgement::new(Answer::True, UNMEASURED, why);
    }
    left(facts.look, before)
        .unwrap_or_else(|| Judgement::new(Answer::False, "Healthy", facts.look.fine()))
}

/// What was wrong at the last look, if this one cannot tell.
fn left(look: Look, before: &[Condition]) -> Option<Judgement> {
    let last = before
        .iter()
        .find(|old| old.type_ == "Degraded" && old.status == "True")?;
    let mut left = look.leaves().iter();
    let reason = left.find(|reason| **reason == last.reason)?;
    Some(Judgement::new(Answer::True, reason, &last.message))
}

/// What the gateways say is wrong with them. Until they have been asked, what they said last stands.
fn problems(facts: &Facts<'_>, before: &[Condition]) -> Option<String> {
    if facts.asked {
        return facts.counts.problems(|name| is_there(facts, name));
    }
    let last = before.iter().find(|old| old.reason == GATEWAY_PROBLEMS);
    last.map(|old| old.message.clone())
}

/// What the cluster has not, and what would bring it.
fn missing(kinds: &BTreeSet<Kind>) -> String {
    let each: Vec<String> = kinds
        .iter()
        .map(|kind| {
            let resource = kind.api_resource();
            let extension = kind.extension().unwrap_or("Kubernetes");
            format!(
                "{} ({}) of {extension}",
                kind.as_str(),
                resource.api_version
            )
        })
        .collect();
    format!(
        "not made, since this cluster has no such kind, or the operator may not see it: {}; install its CRDs, grant the right (see the operator's log), or take the section out of the resource",
        each.join(", ")
    )
}

fn paused(facts: &Facts<'_>) -> Judgement {
    if facts.paused {
        Judgement::new(
            Answer::True,
            "Paused",
            "nothing is changed while spec.paused is true",
        )
    } else {
        Judgement::new(Answer::False, "Active", "changes are carried out")
    }
}
