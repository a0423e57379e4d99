//! The events between two statuses: on change only, and never for what a new resource is expected to go through. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType};

use super::conditions::GATEWAY_PROBLEMS;
use crate::api::GatewayStatus;
use crate::gateway::apply::Change;

/// A condition that is worth an event, and the status it is taken to have had before there was one.
struct Told {
    kind: &'static str,
    /// What the reason begins with in an event, where it stands without its condition.
    prefix: &'static str,
    /// The status that is good news.
    good: &'static str,
    /// Where a new resource begins.
    begins: &'static str,
}

const TOLD: [Told; 5] = [
    Told {
        kind: "Accepted",
        prefix: "",
        good: "True",
        begins: "True",
    },
    Told {
        kind: "Ready",
        prefix: "",
        good: "True",
        begins: "False",
    },
    Told {
        kind: "RedisReady",
        prefix: "Redis",
        good: "True",
        begins: "False",
    },
    Told {
        kind: "Degraded",
        prefix: "",
        good: "False",
        begins: "False",
    },
    Told {
        kind: "Paused",
        prefix: "",
        good: "False",
        begins: "False",
    },
];

/// What is told about the way from one status to the next, and about what was written.
pub(super) fn between(
    before: &GatewayStatus,
    after: &GatewayStatus,
    changes: &[Change],
) -> Vec<Event> {
    let mut events: Vec<Event> = TOLD
        .iter()
        .filter_map(|told| {
            let now = find(&after.conditions, told.kind)?;
            let then = find(&before.conditions, told.kind);
            changed(told, then, now).then(|| event(told, now))
        })
        .collect();
    if !changes.is_empty() {
        let each: Vec<String> = changes
            .iter()
            .map(|change| format!("{} {}", change.verb.as_str(), change.object))
            .collect();
        events.push(Event {
            type_: EventType::Normal,
            reason: "Applied".to_owned(),
            note: Some(shorten(each.join(", "))),
            action: "Applying".to_owned(),
            secondary: None,
        });
    }
    events
}

fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Bad news is told again when its reason changes, and a rejection, and what gateways say is wrong, also when its words do:
/// they name the Secret, or are another problem.
fn changed(told: &Told, then: Option<&Condition>, now: &Condition) -> bool {
    let Some(then) = then else {
        return now.status != told.begins && now.reason != "NotNeeded";
    };
    if now.status != then.status {
        return now.status != "Unknown";
    }
    now.status != told.good
        && now.status != told.begins
        && (now.reason != then.reason || (says_what(now) && now.message != then.message))
}

/// Whether the words, and not the reason, say what is wrong.
fn says_what(now: &Condition) -> bool {
    now.type_ == "Accepted" || now.reason == GATEWAY_PROBLEMS
}

fn event(told: &Told, now: &Condition) -> Event {
    let good = now.status == told.good;
    Event {
        type_: if good || told.kind == "Paused" {
            EventType::Normal
        } else {
            EventType::Warning
        },
        reason: format!("{}{}", told.prefix, now.reason),
        note: Some(shorten(now.message.clone())),
        action: told.kind.to_owned(),
        secondary: None,
    }
}

/// The API server takes 1024 bytes.
fn shorten(mut note: String) -> String {
    const LONGEST: usize = 1000;
    if note.len() > LONGEST {
        let cut = (0..=LONGEST)
            .rev()
            .find(|at| note.is_char_boundary(*at))
            .unwrap_or(0);
        note.truncate(cut);
        note.push('…');
    }
    note
}
