//! How a shard sends its sessions away: spread over a window, quiet ones first, no faster than a rate. Where the deadline is too
//! close for that they are told faster, evenly, and each to wait for its turn.

use std::time::Duration;

use crate::session::liveness::{CLOSE_PATIENCE, TICK};

/// The plan for one shard.
#[derive(Clone, Copy, Debug)]
pub struct DrainPlan {
    /// Sessions leave spread over so long.
    pub window: Duration,
    /// At most so many a second on this shard; 0: no bound. The window stretches where it must. Where the deadline is too
    /// close even for that, all are told faster, evenly: the rest at once would be what the bound is to prevent, for clients
    /// that do not wait.
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
    /// How long it is then to wait before it comes back: what is missing to its turn where it had to be told sooner, so that
    /// all come back no faster than the rate, or as slowly as [`WAIT_MAX`] allows.
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
        let told = self.gap(count);
        let back = self.turn(count).min(told + WAIT_MAX / whole(count));
        #[allow(clippy::cast_precision_loss)] // sessions of a shard are far below 2^52
        let index = index as f64;
        let moved = (index + self.jitter.clamp(0.0, 1.0) * random).max(0.0);
        let at = told.mul_f64(moved).min(self.last_departure());
        Departure {
            at,
            wait: back.mul_f64(moved).saturating_sub(at),
        }
    }

    /// How many a second it takes to tell so many, where that is more than the rate allows.
    pub fn hurry(&self, count: u64) -> Option<f64> {
        #[allow(clippy::cast_precision_loss)] // sessions of a node are far below 2^52
        let needed = count as f64 / self.last_departure().as_secs_f64();
        (self.rate_per_second > 0.0 && needed > self.rate_per_second).then_some(needed)
    }

    /// The last to be told must have time to hear it.
    fn last_departure(&self) -> Duration {
        let patience = TICK * CLOSE_PATIENCE;
        self.deadline.saturating_sub(patience)
    }

    /// From one that is told to the next.
    fn gap(&self, count: usize) -> Duration {
        self.turn(count).min(self.last_departure() / whole(count))
    }

    /// From the turn of one to that of the next, whatever the deadline.
    fn turn(&self, count: usize) -> Duration {
        let even = self.window.min(self.last_departure()) / whole(count);
        if self.rate_per_second > 0.0 {
            let slow = Duration::try_from_secs_f64(1.0 / self.rate_per_second);
            even.max(slow.unwrap_or(Duration::MAX))
        } else {
            even
        }
    }
}

fn whole(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX).max(1)
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
    fn the_rate_stretches_the_window() {
        let plan = DrainPlan {
            rate_per_second: 4.0,
            ..PLAN
        }
        .share(2);
        assert_eq!(plan.departure(100, 110, 0.0), at(50));
    }

    #[test]
    fn where_the_rate_does_not_fit_all_are_told_faster_and_wait_for_their_turn_but_not_for_long() {
        let plan = DrainPlan {
            rate_per_second: 2.0,
            ..PLAN
        };
        // 116 can be told in the 58 seconds there are.
        let cases = [(116, 500, 500), (160, 362, 500), (580, 100, 152)];
        for (count, told, back) in cases {
            for index in [1, 50, count - 1] {
                let Departure { at, wait } = plan.departure(index, count, 0.0);
                let turns = f64::from(u32::try_from(index).unwrap());
                let each = |time: Duration| time.as_secs_f64() * 1000.0 / turns;
                let (at, back_at) = (each(at), each(at + wait));
                assert!((at - f64::from(told)).abs() < 1.0, "{at} of {count}");
                assert!(
                    (back_at - f64::from(back)).abs() < 1.0,
                    "{back_at} of {count}"
                );
                assert!(wait <= WAIT_MAX, "{wait:?} of {count}");
            }
        }
        assert_eq!((plan.hurry(116), plan.hurry(580)), (None, Some(10.0)));
        assert_eq!(PLAN.hurry(1_000_000), None, "nothing is bounded");
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
