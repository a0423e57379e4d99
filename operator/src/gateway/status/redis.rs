//! The condition `RedisReady`. Pure.
//!
//! True: a managed Redis has its pods, most of them with replicas, and no gateway that answers says that it does not reach
//! Redis. The words say how many gateways do, since some may not have answered. One gateway that says it does not is
//! enough for False.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions::{Answer, Facts, Judgement, is_there};
use crate::census::RedisLink;
use crate::gateway::validate::RedisMode;

const UP: &str = "Up";
const UNREACHABLE: &str = "Unreachable";

/// Judges it.
pub(super) fn ready(facts: &Facts<'_>, before: &[Condition]) -> Judgement {
    match facts.redis_mode {
        RedisMode::None => {
            let message = "the gateway is alone and keeps everything in memory";
            return Judgement::new(Answer::True, "NotNeeded", message);
        }
        RedisMode::Managed => {
            if let Some(missing) = lacks_pods(facts.redis) {
                return missing;
            }
        }
        RedisMode::External => {}
    }
    // Until the gateways have been asked, what they said last stands: a new operator is no news of Redis.
    let last = before.iter().find(|old| old.type_ == "RedisReady");
    match last.filter(|_| !facts.asked) {
        Some(old) if old.reason == UNREACHABLE => {
            Judgement::new(Answer::False, UNREACHABLE, &old.message)
        }
        Some(old) if old.reason == UP => Judgement::new(Answer::True, UP, &old.message),
        _ => linked(facts),
    }
}

/// Why a managed Redis cannot be counted on, if it cannot.
fn lacks_pods(set: Option<&StatefulSet>) -> Option<Judgement> {
    let wanted = set.and_then(|set| set.spec.as_ref()?.replicas).unwrap_or(1);
    let ready = set.and_then(|set| set.status.as_ref()?.ready_replicas);
    let ready = ready.unwrap_or(0);
    if ready == 0 {
        let message = "no pod of the managed Redis is ready";
        return Some(Judgement::new(Answer::False, "NotReady", message));
    }
    (ready * 2 <= wanted).then(|| {
        let message = format!(
            "{ready} of {wanted} pods of the managed Redis are ready: if the primary is lost now, too few are left to have another"
        );
        Judgement::new(Answer::False, "NoMajority", message)
    })
}

/// What the gateways say of their link to Redis decides.
fn linked(facts: &Facts<'_>) -> Judgement {
    let said: Vec<(&str, RedisLink)> = facts
        .counts
        .links()
        .filter(|(pod, _)| is_there(facts, pod))
        .collect();
    let cut: Vec<&str> = said
        .iter()
        .filter(|(_, link)| *link == RedisLink::Down)
        .map(|(pod, _)| *pod)
        .collect();
    if !cut.is_empty() {
        let message = format!("not reached by {}", cut.join(", "));
        return Judgement::new(Answer::False, UNREACHABLE, message);
    }
    let silent = "no gateway has said yet whether it reaches Redis";
    match (said.len(), facts.redis_mode) {
        (0, RedisMode::Managed) => {
            let message = format!("the managed Redis is ready; {silent}");
            Judgement::new(Answer::True, UP, message)
        }
        (0, RedisMode::None | RedisMode::External) => {
            Judgement::new(Answer::Unknown, "Pending", silent)
        }
        (reaching, _) => Judgement::new(Answer::True, UP, reached(facts, reaching)),
    }
}

/// By how many.
fn reached(facts: &Facts<'_>, reaching: usize) -> String {
    let serving = |pod: &&std::sync::Arc<crate::stores::PodView>| {
        pod.has_gateway() && !pod.terminating && !pod.finished
    };
    let there = facts.pods.iter().filter(serving).count();
    match there.saturating_sub(reaching) {
        0 => "reached by every gateway".to_owned(),
        silent => format!("reached by {reaching} gateways; {silent} have not said yet"),
    }
}
