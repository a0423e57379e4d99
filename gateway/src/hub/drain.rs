//! How a shard sends its sessions away: spread over a window, quiet ones first, never faster than a rate.

use std::time::Duration;

use crate::session::liveness::{CLOSE_PATIENCE, TICK};

/// The plan for one shard.
#[derive(Clone, Copy, Debug)]
pub struct DrainPlan {
    /// Sessions leave spread over so long.
    pub window: Duration,
    /// At most so many a second on this shard; 0: no bound. The window stretches where it must.
    pub rate_per_second: f64,
    /// Each departure is moved by up to this fraction of the distance to the next.
    pub jitter: f64,
    /// Whoever is left then is closed at once.
    pub deadline: Duration,
}

/// When a session is told to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// After the beginning of the drain.
    pub at: Duration,
    /// How long it is then to wait before it comes back: what is missing to its turn where the deadline comes first, so that
    /// those who are told together do not come together.
    pub wait: Duration,
}

/// Nobody is to be without a connection for longer, whatever the rate.
const WAIT_MAX: Duration = Duration::from_secs(30);

impl DrainPlan {
    /// The share of one of `shards` shards.
    #[must_use]
    pub fn share(self, shards: usize) -> Self {
        let shards = u32::try_from(shards).unwrap_or(u32::MAX).max(1);
        Self {
            rate_per_second: self.rate_per_second / f64::from(shards),
            ..self
        }
    }

    /// When the `index`th of `count` sessions is told to go; `random` in 0..1 decides the jitter.
    pub fn departure(&self, index: usize, count: usize, random: f64) -> Departure {
        let gap = self.gap(count);
        #[allow(clippy::cast_precision_loss)] // sessions of a shard are far below 2^52
        let (index, count) = (index as f64, count as f64);
        let moved = (index + self.jitter.clamp(0.0, 1.0) * random).max(0.0);
        let (turn, last) = (gap.mul_f64(moved), self.last_departure());
        let longest = gap.mul_f64(count).saturating_sub(last);
        let wait = turn.saturating_sub(last);
        Departure {
            at: turn.min(last),
            wait: if longest > WAIT_MAX {
                wait.mul_f64(WAIT_MAX.div_duration_f64(longest))
            } else {
                wait
            },
        }
    }

    /// The last to be told must have time to hear it.
    fn last_departure(&self) -> Duration {
        let patience = TICK * CLOSE_PATIENCE;
        self.deadline.saturating_sub(patience)
    }

    fn gap(&self, count: usize) -> Duration {
        let window = self.window.min(self.last_departure());
        let even = window
            .checked_div(u32::try_from(count).unwrap_or(u32::MAX))
            .unwrap_or_default();
        if self.rate_per_second > 0.0 {
            even.max(Duration::from_secs_f64(1.0 / self.rate_per_second))
        } else {
            even
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: DrainPlan = DrainPlan {
        window: Duration::from_secs(10),
        rate_per_second: 0.0,
        jitter: 0.0,
        deadline: Duration::from_mins(1),
    };

    fn at(seconds: u64) -> Departure {
        Departure {
            at: Duration::from_secs(seconds),
            wait: Duration::ZERO,
        }
    }

    #[test]
    fn sessions_leave_evenly_over_the_window() {
        assert_eq!(PLAN.departure(0, 10, 0.5), at(0));
        assert_eq!(PLAN.departure(5, 10, 0.5), at(5));
    }

    #[test]
    fn the_rate_stretches_the_window_and_the_deadline_ends_it() {
        let plan = DrainPlan {
            rate_per_second: 4.0,
            ..PLAN
        }
        .share(2);
        assert_eq!(plan.departure(100, 1000, 0.0), at(50));
        assert_eq!(plan.departure(116, 1000, 0.0), at(58));
    }

    #[test]
    fn those_for_whom_the_deadline_comes_first_are_told_to_wait_for_their_turn_but_not_for_long() {
        let plan = DrainPlan {
            rate_per_second: 2.0,
            ..PLAN
        };
        let waits = |count| [117, 136, 156].map(|index| plan.departure(index, count, 0.0));
        let of = |millis| Departure {
            at: Duration::from_secs(58),
            wait: Duration::from_millis(millis),
        };
        assert_eq!(waits(160), [500, 10_000, 20_000].map(of));
        // All would take a minute more than there is, and so do it at twice the rate.
        assert_eq!(waits(236), [250, 5_000, 10_000].map(of));
    }

    #[test]
    fn a_window_longer_than_the_deadline_is_still_spread() {
        let plan = DrainPlan {
            window: Duration::from_secs(20),
            deadline: Duration::from_secs(12),
            ..PLAN
        };
        assert_eq!(plan.departure(5, 10, 0.0), at(5));
        assert_eq!(plan.departure(9, 10, 0.0), at(9));
    }

    #[test]
    fn jitter_moves_a_departure_by_less_than_the_gap() {
        let plan = DrainPlan {
            jitter: 0.5,
            ..PLAN
        };
        assert_eq!(plan.departure(1, 10, 0.8).at, Duration::from_millis(1400));
    }
}
