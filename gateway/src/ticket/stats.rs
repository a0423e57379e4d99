//! `TicketStats`: what this node has told of, for metrics, and how the desk stands.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{ClosedBecause, Desk, Millis, Step};

/// The upper bounds of the histogram of waiting times, in seconds.
pub const WAITED: [u64; 8] = [1, 5, 15, 30, 60, 120, 300, 900];

/// See the module. Steps are counted by the node that committed them, so that a sum over nodes counts each once.
#[derive(Debug, Default)]
pub struct TicketStats {
    /// Steps, in the order of [`Step::WORDS`].
    pub steps: [AtomicU64; Step::WORDS.len()],
    /// Ends, in the order of [`ClosedBecause::ALL`].
    pub closed: [AtomicU64; ClosedBecause::ALL.len()],
    /// Waits of customers until an agent was assigned, by the first bound that holds them; the last holds the rest.
    pub waited: [AtomicU64; WAITED.len() + 1],
    /// Their sum in milliseconds.
    pub waited_ms: AtomicU64,
    /// Open tickets when the desk was last looked at.
    pub open: AtomicU64,
    /// Those that waited.
    pub waiting: AtomicU64,
    /// Agents that were online.
    pub agents: AtomicU64,
    /// Due times that this node has fired.
    pub fired: AtomicU64,
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
            Step::Offered { waited, .. } => self.waited(*waited),
            _ => {}
        }
    }

    fn waited(&self, waited: Millis) {
        let seconds = Duration::from_millis(waited).as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // some hundreds
        let within = |bound: &u64| seconds <= *bound as f64;
        let bucket = WAITED.iter().position(within).unwrap_or(WAITED.len());
        count(&self.waited, Some(bucket));
        self.waited_ms.fetch_add(waited, Relaxed);
    }

    /// Notes how the desk stands.
    pub fn note(&self, desk: &Desk) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let online = |agent: &super::Agent| agent.is() == super::Availability::Online;
        let agents = desk.agents().filter(|(agent, _)| online(agent)).count();
        self.open.store(count(desk.tickets().count()), Relaxed);
        self.waiting.store(count(desk.waiting().count()), Relaxed);
        self.agents.store(count(agents), Relaxed);
    }
}

fn count(counters: &[AtomicU64], at: Option<usize>) {
    if let Some(counter) = at.and_then(|at| counters.get(at)) {
        counter.fetch_add(1, Relaxed);
    }
}
