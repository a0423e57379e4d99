//! `Counts`: what the pods of one gateway say of themselves. Pure.

use std::collections::BTreeMap;

use super::problems::{Problem, summary};
use crate::api::PodStatus;

/// In which part of its life a gateway says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It does not accept yet.
    Starting,
    /// It accepts.
    Serving,
    /// It tells its sessions to go elsewhere.
    Draining,
    /// It is done.
    Stopped,
    /// It has not answered.
    #[serde(skip)]
    Unknown,
}

impl Phase {
    /// The word in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        }
    }

    /// The phase that a status names.
    fn of(word: &str) -> Self {
        let all = [Self::Starting, Self::Serving, Self::Draining, Self::Stopped];
        all.into_iter()
            .find(|phase| phase.as_str() == word)
            .unwrap_or(Self::Unknown)
    }
}

/// Whether a gateway reaches its Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RedisLink {
    /// It does.
    Up,
    /// It does not.
    Down,
    /// It has none.
    None,
}

/// What one pod said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodCount {
    connections: i64,
    phase: Phase,
    redis: RedisLink,
    surplus: i64,
    problems: Vec<Problem>,
    missed: u8,
}

impl PodCount {
    /// A fresh answer. What no pod can hold is cut, so that no sum over pods overflows.
    pub fn new(connections: i64, phase: Phase, redis: RedisLink) -> Self {
        Self {
            connections: connections.clamp(0, i64::from(i32::MAX)),
            phase,
            redis,
            surplus: 0,
            problems: Vec::new(),
            missed: 0,
        }
    }

    /// Open connections.
    pub const fn connections(&self) -> i64 {
        self.connections
    }

    /// The same with so many connections beyond the pod's share.
    #[must_use]
    pub fn with_surplus(self, surplus: i64) -> Self {
        let surplus = surplus.clamp(0, self.connections);
        Self { surplus, ..self }
    }

    /// The same with what the pod says is wrong with it.
    #[must_use]
    pub fn with_problems(self, problems: Vec<Problem>) -> Self {
        Self { problems, ..self }
    }

    /// What its problems are about.
    fn parts(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().map(Problem::part)
    }

    /// The old answer once more, unless too many were missed.
    pub(super) fn missed_once_more(&self, most: u8) -> Option<Self> {
        (self.missed < most).then(|| Self {
            missed: self.missed + 1,
            ..self.clone()
        })
    }
}

/// What the pods of one gateway said last.
#[derive(Clone, Debug, Default)]
pub struct Counts(BTreeMap<String, PodCount>);

impl PartialEq for Counts {
    /// How many rounds an answer is old is nobody's business.
    fn eq(&self, other: &Self) -> bool {
        let said = |count: &PodCount| {
            let PodCount {
                connections,
                phase,
                redis,
                surplus,
                ref problems,
                missed: _,
            } = *count;
            (connections, phase, redis, surplus, problems.clone())
        };
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .zip(&other.0)
                .all(|((a, one), (b, two))| a == b && said(one) == said(two))
    }
}

impl Counts {
    /// What the last status said, for as long as no pod was asked. Of links to Redis it said nothing for each pod.
    pub fn recalled(pods: &[PodStatus]) -> Self {
        let count = |pod: &PodStatus| {
            let phase = Phase::of(&pod.phase);
            PodCount::new(pod.connections, phase, RedisLink::None).with_surplus(pod.surplus)
        };
        Self(
            pods.iter()
                .map(|pod| (pod.name.clone(), count(pod)))
                .collect(),
        )
    }

    /// Takes note of an answer.
    pub fn insert(&mut self, pod: String, count: PodCount) {
        self.0.insert(pod, count);
    }

    /// Whether no pod has said anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What one pod said.
    pub fn get(&self, pod: &str) -> Option<&PodCount> {
        self.0.get(pod)
    }

    /// Open connections of one pod.
    pub fn connections(&self, pod: &str) -> i64 {
        self.0.get(pod).map_or(0, |count| count.connections)
    }

    /// Connections of one pod beyond its share.
    pub fn surplus(&self, pod: &str) -> i64 {
        self.0.get(pod).map_or(0, |count| count.surplus)
    }

    /// In which part of its life one pod is.
    pub fn phase(&self, pod: &str) -> Phase {
        self.0.get(pod).map_or(Phase::Unknown, |count| count.phase)
    }

    /// Each pod's link to Redis. A gateway on its way out has taken leave of Redis and is not asked.
    pub fn links(&self) -> impl Iterator<Item = (&str, RedisLink)> {
        self.0
            .iter()
            .filter(|(_, count)| matches!(count.phase, Phase::Starting | Phase::Serving))
            .filter(|(_, count)| count.redis != RedisLink::None)
            .map(|(pod, count)| (pod.as_str(), count.redis))
    }

    /// What is wrong with pods that serve, if anything: who starts or leaves is not in trouble. That Redis is not reached is
    /// told by the link to it. Only pods that are still `there` count.
    pub fn problems(&self, there: impl Fn(&str) -> bool) -> Option<String> {
        let here = self.0.iter().filter(|(pod, _)| there(pod));
        let of_pods = here
            .filter(|(_, count)| count.phase == Phase::Serving && count.redis != RedisLink::Down);
        summary(of_pods.map(|(pod, count)| (pod.as_str(), count.problems.as_slice())))
    }

    /// Whether a pod has more or fewer connections by a tenth of what each would have of so many: the sum says nothing of
    /// connections that went from one pod to another. A few that come and go are no news, however few each has.
    fn moves_more_than_a_tenth_of_a_share(&self, other: &Self, total: i64) -> bool {
        const FEW: i64 = 50;
        let pods = i64::try_from(self.0.len()).unwrap_or(i64::MAX);
        self.0.iter().any(|(pod, count)| {
            let moved = (count.connections - other.connections(pod)).abs();
            moved >= FEW && moved.saturating_mul(10).saturating_mul(pods) >= total
        })
    }

    /// Whether a status with these numbers instead of `other`'s tells anybody something.
    pub fn differs_much_from(&self, other: &Self) -> bool {
        const EXACT_UP_TO: i64 = 100;
        let same_shape = self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|((a, one), (b, two))| {
                a == b
                    && one.phase == two.phase
                    && one.redis == two.redis
                    && one.parts().eq(two.parts())
            });
        if !same_shape || self.0.values().any(|count| count.phase == Phase::Draining) {
            return true;
        }
        let total = |counts: &Self| {
            counts
                .0
                .values()
                .map(|count| count.connections)
                .sum::<i64>()
        };
        let (now, then) = (total(self), total(other));
        now.min(then) <= EXACT_UP_TO
            || (now - then).abs().saturating_mul(100) >= then
            || self.moves_more_than_a_tenth_of_a_share(other, then)
    }
}
