//! `Readings`: what one round says of each gateway as a whole. Pure.
//!
//! A number that is not known is an error and never zero, and never the sum of some pods only: an autoscaler would take
//! pods away for it. Two witnesses are needed to leave a pod out: the kubelet, by which it is not ready, and the pod
//! itself, by its silence over some rounds.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::PodCount;
use crate::stores::PodView;

/// A round that began longer ago says nothing of now; four are due meanwhile.
const STALE: Duration = Duration::from_secs(45);

/// How many connections a gateway had, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// On all its pods together.
    pub connections: i64,
    /// When the round began.
    pub at: Timestamp,
}

/// Why a number is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// This operator has just begun.
    #[error("this replica of the operator has not asked any gateway yet")]
    NotAsked,
    /// The rounds do not come round.
    #[error("gateways were asked {0} seconds ago last")]
    Stale(u64),
    /// A pod that serves clients does not say how many.
    #[error("pod {0} is ready and does not say how many connections it has")]
    Silent(String),
    /// No pod has said anything.
    #[error("no pod of {0} has said how many connections it has")]
    NobodySaid(String),
}

/// What is known of one gateway, by its name.
pub type Named = (String, Result<Reading, Unknown>);

/// What a round says of one gateway.
#[derive(Clone, Debug, Default)]
struct Sum {
    connections: i64,
    said: usize,
    silent: Option<String>,
}

/// What a round says of each gateway.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    /// When it began, by both clocks; `None`: there was none.
    began: Option<(Timestamp, Instant)>,
    sums: HashMap<(String, String), Sum>,
}

impl Readings {
    /// Those of a round that begins now.
    pub fn begun(at: Timestamp, now: Instant) -> Self {
        Self {
            began: Some((at, now)),
            sums: HashMap::new(),
        }
    }

    /// A gateway has pods.
    pub fn expect(&mut self, key: &(String, String)) {
        self.sums.entry(key.clone()).or_default();
    }

    /// What a pod of a gateway said, now or within the last rounds.
    pub fn heard(&mut self, key: &(String, String), pod: &PodView, count: Option<&PodCount>) {
        let sum = self.sums.entry(key.clone()).or_default();
        match count {
            Some(count) => {
                sum.connections = sum.connections.saturating_add(count.connections());
                sum.said += 1;
            }
            None if pod.ready => sum.silent = Some(pod.name.clone()),
            None => {}
        }
    }

    /// What is known of each gateway of a namespace, by name.
    pub(super) fn of(&self, namespace: &str, now: Instant) -> Result<Vec<Named>, Unknown> {
        let (at, began) = self.began.ok_or(Unknown::NotAsked)?;
        let age = now.saturating_duration_since(began);
        if age > STALE {
            return Err(Unknown::Stale(age.as_secs()));
        }
        let mut found: Vec<_> = self
            .sums
            .iter()
            .filter(|((place, _), _)| place == namespace)
            .map(|((_, name), sum)| (name.clone(), sum.reading(name, at)))
            .collect();
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }

    /// Whether there was a round.
    pub(super) const fn has_counted(&self) -> bool {
        self.began.is_some()
    }
}

impl Sum {
    fn reading(&self, name: &str, at: Timestamp) -> Result<Reading, Unknown> {
        if let Some(pod) = &self.silent {
            return Err(Unknown::Silent(pod.clone()));
        }
        if self.said == 0 {
            return Err(Unknown::NobodySaid(name.to_owned()));
        }
        Ok(Reading {
            connections: self.connections,
            at,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Phase, RedisLink};
    use super::*;

    fn key() -> (String, String) {
        ("default".to_owned(), "chat".to_owned())
    }

    fn pod(name: &str, ready: &str) -> PodView {
        let pod = json!({
            "metadata": {"name": name},
            "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": ready}]},
        });
        PodView::of(&serde_json::from_value(pod).unwrap())
    }

    fn count(connections: i64) -> PodCount {
        PodCount::new(connections, Phase::Serving, RedisLink::Up)
    }

    fn only(readings: &Readings, now: Instant) -> Result<Reading, Unknown> {
        let mut found = readings.of("default", now).unwrap();
        assert_eq!(found.len(), 1);
        found.remove(0).1
    }

    #[test]
    fn the_pods_of_a_gateway_are_added_up_and_those_that_drain_too() {
        let now = Instant::now();
        let mut readings = Readings::begun(Timestamp::UNIX_EPOCH, now);
        readings.heard(&key(), &pod("chat-1", "True"), Some(&count(7)));
        readings.heard(&key(), &pod("chat-2", "False"), Some(&count(5)));
        let reading = only(&readings, now).unwrap();
        assert_eq!(reading.connections, 12);
        assert_eq!(reading.at, Timestamp::UNIX_EPOCH);
        assert!(readings.of("elsewhere", now).unwrap().is_empty());
    }

    #[test]
    fn one_ready_pod_that_is_silent_makes_the_whole_number_unknown() {
        let now = Instant::now();
        let mut readings = Readings::begun(Timestamp::UNIX_EPOCH, now);
        readings.heard(&key(), &pod("chat-1", "True"), Some(&count(7)));
        readings.heard(&key(), &pod("chat-2", "True"), None);
        assert_eq!(
            only(&readings, now),
            Err(Unknown::Silent("chat-2".to_owned()))
        );
    }

    #[test]
    fn a_silent_pod_that_is_not_ready_serves_nobody_but_alone_it_is_no_zero() {
        let now = Instant::now();
        let mut readings = Readings::begun(Timestamp::UNIX_EPOCH, now);
        readings.heard(&key(), &pod("chat-2", "False"), None);
        assert_eq!(
            only(&readings, now),
            Err(Unknown::NobodySaid("chat".to_owned()))
        );
        readings.heard(&key(), &pod("chat-1", "True"), Some(&count(7)));
        assert_eq!(only(&readings, now).unwrap().connections, 7);
        let mut readings = Readings::begun(Timestamp::UNIX_EPOCH, now);
        readings.expect(&key());
        assert!(only(&readings, now).is_err(), "pods without an address");
    }

    #[test]
    fn what_was_never_asked_or_too_long_ago_is_unknown() {
        let now = Instant::now();
        assert_eq!(
            Readings::default().of("default", now).unwrap_err(),
            Unknown::NotAsked
        );
        let mut readings = Readings::begun(Timestamp::UNIX_EPOCH, now);
        readings.heard(&key(), &pod("chat-1", "True"), Some(&count(7)));
        assert!(readings.of("default", now + STALE).is_ok());
        let late = readings.of("default", now + STALE + Duration::from_secs(1));
        assert_eq!(late.unwrap_err(), Unknown::Stale(46));
    }
}
