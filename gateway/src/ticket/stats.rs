//! `TicketStats`: what this node has told of, for metrics, and how the desk stands.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{ClosedBecause, Desk, Millis, PassedBecause, Step};

/// The upper bounds of the histogram of waiting times, in seconds.
pub const WAITED: [u32; 8] = [1, 5, 15, 30, 60, 120, 300, 900];

/// How long it is known how the desk stands: it is looked at every second, unless its store is away.
const FRESH: Duration = Duration::from_secs(10);

/// See the module. Steps are counted by the node that tells of them, so that a sum over nodes counts each once.
/// Nearly: one that is told twice is counted twice.
#[derive(Debug, Default)]
pub struct TicketStats {
    /// In the order of [`Step::WORDS`].
    steps: [AtomicU64; Step::WORDS.len()],
    /// In the order of [`ClosedBecause::ALL`].
    closed: [AtomicU64; ClosedBecause::ALL.len()],
    /// In the order of [`PassedBecause::ALL`].
    passed_on: [AtomicU64; PassedBecause::ALL.len()],
    /// Waits of customers until an agent was assigned, by the first bound that holds them; the last holds the rest.
    waited: [AtomicU64; WAITED.len() + 1],
    /// Their sum.
    waited_ms: AtomicU64,
    seen: Mutex<Option<(Instant, DeskCounts)>>,
    /// Due times that this node has fired.
    pub fired: AtomicU64,
}

/// How many there are at the desk: of the whole gateway, not of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeskCounts {
    /// Open tickets.
    pub open: u64,
    /// Those of them that wait.
    pub waiting: u64,
    /// Agents that are online.
    pub agents: u64,
}

impl From<&Desk> for DeskCounts {
    fn from(desk: &Desk) -> Self {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let online = |agent: &super::Agent| agent.is() == super::Availability::Online;
        let agents = desk.agents().filter(|(agent, _)| online(agent));
        Self {
            open: count(desk.tickets().count()),
            waiting: count(desk.waiting().count()),
            agents: count(agents.count()),
        }
    }
}

impl TicketStats {
    /// Counts a step.
    pub fn count(&self, step: &Step) {
        let word = step.as_str();
        count(
            &self.steps,
            Step::WORDS.iter().position(|known| *known == word),
        );
        match step {
            Step::Closed { because, .. } => {
                let at = ClosedBecause::ALL.iter().position(|known| known == because);
                count(&self.closed, at);
            }
            Step::PassedOn { because, .. } => {
                let at = PassedBecause::ALL.iter().position(|known| known == because);
                count(&self.passed_on, at);
            }
            Step::Offered { waited, .. } => self.count_wait(*waited),
            Step::Opened { .. }
            | Step::Queued { .. }
            | Step::Reminded { .. }
            | Step::Acknowledged { .. }
            | Step::Accepted { .. }
            | Step::Transferred { .. }
            | Step::Joined { .. }
            | Step::Left { .. } => {}
        }
    }

    fn count_wait(&self, waited: Millis) {
        let within = |bound: &u32| waited <= u64::from(*bound) * 1000;
        let bucket = WAITED.iter().position(within).unwrap_or(WAITED.len());
        count(&self.waited, Some(bucket));
        self.waited_ms.fetch_add(waited, Relaxed);
    }

    /// Notes how the desk stands now.
    pub fn note(&self, counts: DeskCounts) {
        *self.seen.lock() = Some((Instant::now(), counts));
    }

    /// How the desk stands; `None`: it could not be looked at lately.
    pub fn seen(&self) -> Option<DeskCounts> {
        let seen = *self.seen.lock();
        seen.filter(|(at, _)| at.elapsed() < FRESH)
            .map(|(_, counts)| counts)
    }

    /// Steps by their words.
    pub fn steps(&self) -> impl Iterator<Item = (&'static str, u64)> {
        named(Step::WORDS, &self.steps)
    }

    /// Ends by their reasons.
    pub fn closed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        named(ClosedBecause::ALL.map(ClosedBecause::as_str), &self.closed)
    }

    /// Tickets that agents lost again, by the reasons.
    pub fn passed_on(&self) -> impl Iterator<Item = (&'static str, u64)> {
        named(
            PassedBecause::ALL.map(PassedBecause::as_str),
            &self.passed_on,
        )
    }

    /// How many waits were within each bound and not within the one before, and how long all of them were.
    pub fn waits(&self) -> (Vec<(f64, u64)>, Duration) {
        let bounds = WAITED.into_iter().map(f64::from).chain([f64::INFINITY]);
        let counts = self.waited.iter().map(|count| count.load(Relaxed));
        let sum = Duration::from_millis(self.waited_ms.load(Relaxed));
        (bounds.zip(counts).collect(), sum)
    }
}

fn named<const N: usize>(
    words: [&'static str; N],
    counts: &[AtomicU64; N],
) -> impl Iterator<Item = (&'static str, u64)> {
    let counts = counts.iter().map(|count| count.load(Relaxed));
    words.into_iter().zip(counts)
}

fn count(counters: &[AtomicU64], at: Option<usize>) {
    if let Some(counter) = at.and_then(|at| counters.get(at)) {
        counter.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_counted_under_the_first_bound_that_holds_it() {
        let stats = TicketStats::default();
        for waited in [0, 1000, 1001, 900_000, 900_001] {
            stats.count_wait(waited);
        }
        let (buckets, sum) = stats.waits();
        let counts: Vec<u64> = buckets.iter().map(|(_, n)| *n).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(sum, Duration::from_millis(1_802_002));
    }

    #[test]
    fn what_was_seen_long_ago_is_not_known() {
        let stats = TicketStats::default();
        assert_eq!(stats.seen(), None);
        stats.note(DeskCounts::default());
        assert_eq!(stats.seen(), Some(DeskCounts::default()));
        let long_ago = Instant::now().checked_sub(FRESH).unwrap();
        *stats.seen.lock() = Some((long_ago, DeskCounts::default()));
        assert_eq!(stats.seen(), None);
    }
}
