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
    pub fn departure(&self, index: usize, count: usize, random: f64) -> Duration {
        let gap = self.gap(count);
        #[allow(clippy::cast_precision_loss)] // sessions of a shard are far below 2^52
        let index = index as f64;
        let moved = (index + self.jitter.clamp(0.0, 1.0) * random).max(0.0);
        gap.mul_f64(moved).min(self.last_departure())
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

    #[test]
    fn sessions_leave_evenly_over_the_window() {
        assert_eq!(PLAN.departure(0, 10, 0.5), Duration::ZERO);
        assert_eq!(PLAN.departure(5, 10, 0.5), Duration::from_secs(5));
    }

    #[test]
    fn the_rate_stretches_the_window_and_the_deadline_ends_it() {
        let plan = DrainPlan {
            rate_per_second: 4.0,
            ..PLAN
        }
        .share(2);
        assert_eq!(plan.departure(100, 1000, 0.0), Duration::from_secs(50));
        assert_eq!(plan.departure(900, 1000, 0.0), Duration::from_secs(58));
    }

    #[test]
    fn a_window_longer_than_the_deadline_is_still_spread() {
        let plan = DrainPlan {
            window: Duration::from_secs(20),
            deadline: Duration::from_secs(12),
            ..PLAN
        };
        assert_eq!(plan.departure(5, 10, 0.0), Duration::from_secs(5));
        assert_eq!(plan.departure(9, 10, 0.0), Duration::from_secs(9));
    }

    #[test]
    fn jitter_moves_a_departure_by_less_than_the_gap() {
        let plan = DrainPlan {
            jitter: 0.5,
            ..PLAN
        };
        assert_eq!(plan.departure(1, 10, 0.8), Duration::from_millis(1400));
    }
}
