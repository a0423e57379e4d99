//! `HookStats`: what became of what a hook was asked and told, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of one hook.
#[derive(Debug, Default)]
pub struct HookStats {
    /// Decisions asked for.
    pub asked: AtomicU64,
    /// Decisions that it did not make, whatever was then done by its policy.
    pub failed: AtomicU64,
    /// Attempts after the first.
    pub retried: AtomicU64,
    /// Events delivered.
    pub told: AtomicU64,
    /// Events dropped: no room, or no success within the bounds.
    pub dropped: AtomicU64,
    /// Events that wait in this process alone: they could not be written down for the case of its death.
    pub unsaved: AtomicU64,
    /// Events that waited when this process ended, for another node to deliver.
    pub left: AtomicU64,
    /// Events that a dead node had left, to be delivered by this one.
    pub inherited: AtomicU64,
    /// Events that wait.
    pub queued: AtomicU64,
}

impl HookStats {
    /// What became of decisions: failed ones were asked for as well.
    pub fn decisions(&self) -> [(&'static str, u64); 2] {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        [("asked", of(&self.asked)), ("failed", of(&self.failed))]
    }

    /// What became of events, and attempts after the first, those for decisions included.
    pub fn events(&self) -> [(&'static str, u64); 6] {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        [
            ("told", of(&self.told)),
            ("dropped", of(&self.dropped)),
            ("retried", of(&self.retried)),
            ("unsaved", of(&self.unsaved)),
            ("left", of(&self.left)),
            ("inherited", of(&self.inherited)),
        ]
    }
}
