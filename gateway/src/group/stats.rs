//! `GroupStats`: what this node has done about groups; relaxed, since no decision depends on it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::GroupError;

/// See the module.
#[derive(Debug, Default)]
pub struct GroupStats {
    /// Groups made.
    pub created: AtomicU64,
    /// Groups that ended, by word or with their last member.
    pub disbanded: AtomicU64,
    /// Memberships begun.
    pub joined: AtomicU64,
    /// Memberships ended, those of disbanded groups not among them.
    pub left: AtomicU64,
    /// Commands and messages that were not taken, by [`GroupStats::REASONS`].
    pub refused: [AtomicU64; GroupStats::REASONS.len()],
    /// Times the groups of a user were read, and could not be.
    pub reads: [AtomicU64; 2],
    /// Events that members were not told of, since there were too many in one second.
    pub untold: AtomicU64,
}

impl GroupStats {
    /// Why something was refused.
    pub const REASONS: [&'static str; 8] = [
        "forbidden",
        "not_found",
        "exists",
        "group_size",
        "groups_per_user",
        "not_member",
        "rate",
        "unavailable",
    ];

    /// Counts one more.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// Counts a refusal by the rules.
    pub fn forbidden(&self) {
        self.refused(0);
    }

    /// Counts a refusal by the store.
    pub fn failed(&self, error: &GroupError) {
        self.refused(match error {
            GroupError::Missing(_) => 1,
            GroupError::Exists(_) => 2,
            GroupError::Full { .. } => 3,
            GroupError::TooMany { .. } => 4,
            GroupError::NotMember { .. } => 5,
            GroupError::Limited { .. } => 6,
            GroupError::Store(_) => 7,
        });
    }

    /// Counts a read of a user's groups.
    pub fn read(&self, outcome: Result<(), ()>) {
        let [done, failed] = &self.reads;
        Self::count(if outcome.is_ok() { done } else { failed });
    }

    fn refused(&self, reason: usize) {
        if let Some(counter) = self.refused.get(reason) {
            Self::count(counter);
        }
    }

    /// Refusals by reason, with the label of each.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self.refused.iter().map(|count| count.load(Relaxed));
        Self::REASONS.into_iter().zip(counts)
    }
}
