//! How a shard sends its sessions away: spread over a window, quiet ones first, no faster than a rate. Where the deadline is too
//! close for that they are told faster, evenly, and each to wait for its turn.

use std::time::Duration;

use crate::session::liveness::{CLOSE_PATIENCE, TICK};

/// The plan for one shard.
#[derive(Clone, Copy, Debug)]
pub struct DrainPlan {
    /// Sessions leave spread over so long.
    pub window: Duration,
    /// At most so many a second on this shard and those of other nodes that drain, together; 0: no bound. The window stretches
    /// where it must. Where the deadline is too close even for that, all are told faster, evenly: the rest at once would be
    /// what the bound is to prevent, for clients that do not wait.
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

    /// How many a second it takes to tell so many, where that is more than the share of the rate where so many nodes drain.
    pub fn hurry(&self, count: u64, nodes: u32) -> Option<f64> {
        #[allow(clippy::cast_precision_loss)] // sessions of a node are far below 2^52
        let needed = count as f64 / self.last_departure().as_secs_f64();
        let share = self.rate_per_second / f64::from(nodes.max(1));
        (share > 0.0 && needed > share).then_some(needed)
    }

    /// The last to be told must have time to hear it.
    fn last_departure(&self) -> Duration {
        let patience = TICK * CLOSE_PATIENCE;
        self.deadline.saturating_sub(patience)
    }

    /// From the turn of one of `count` to that of the next, whatever the deadline, where so many nodes share the rate.
    fn turn(&self, count: usize, nodes: u32) -> Duration {
        let even = self.window.min(self.last_departure()) / whole(count);
        even.max(self.apart(nodes))
    }

    /// What the rate asks for between two, where so many nodes share it.
    fn apart(&self, nodes: u32) -> Duration {
        if self.rate_per_second > 0.0 {
            let slow = Duration::try_from_secs_f64(f64::from(nodes.max(1)) / self.rate_per_second);
            slow.unwrap_or(Duration::MAX)
        } else {
            Duration::ZERO
        }
    }
}

/// The turns of a shard's sessions, one after the other: how many nodes share the rate may change meanwhile.
#[derive(Debug)]
pub struct Turns {
    plan: DrainPlan,
    count: usize,
    left: usize,
    told: Duration,
    back: Duration,
}

impl Turns {
    /// Those of so many sessions, where so many `nodes` share the rate. `random` in 0..1 decides when the first begins, within
    /// the time that the rate has between two: shards, and nodes, that begin at the same moment are not to go on in step.
    pub fn new(plan: DrainPlan, count: usize, nodes: u32, random: f64) -> Self {
        let apart = plan.apart(nodes).min(plan.last_departure() / whole(count));
        let begins = apart.mul_f64(random.clamp(0.0, 1.0));
        Self {
            plan,
            count,
            left: count,
            told: begins,
            back: begins,
        }
    }

    /// When the next session is told to go, where so many `nodes` share the rate now; `random` in 0..1 decides the jitter.
    pub fn next(&mut self, nodes: u32, random: f64) -> Departure {
        let (left, last) = (whole(self.left), self.plan.last_departure());
        let turn = self.plan.turn(self.count, nodes);
        let told = turn.min(last.saturating_sub(self.told) / left);
        let patience = WAIT_MAX.saturating_sub(self.back.saturating_sub(self.told));
        let back = turn.min(told + patience / left);
        let moved = self.plan.jitter.clamp(0.0, 1.0) * random;
        let at = (self.told + told.mul_f64(moved)).min(last);
        let wait = (self.back + back.mul_f64(moved)).saturating_sub(at);
        self.told += told;
        self.back += back;
        self.left = self.left.saturating_sub(1);
        Departure { at, wait }
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

    /// The `index`th of `count` turns of a node that drains alone.
    fn departure(plan: DrainPlan, index: usize, count: usize, random: f64) -> Departure {
        let mut turns = Turns::new(plan, count, 1, 0.0);
        let all: Vec<Departure> = (0..=index).map(|_| turns.next(1, random)).collect();
        all[index]
    }

    fn about(found: Departure, wanted: Departure) {
        let near = |a: Duration, b: Duration| a.abs_diff(b) < Duration::from_millis(1);
        let same = near(found.at, wanted.at) && near(found.wait, wanted.wait);
        assert!(same, "{found:?}, wanted {wanted:?}");
    }

    #[test]
    fn sessions_leave_evenly_over_the_window() {
        about(departure(PLAN, 0, 10, 0.5), at(0));
        about(departure(PLAN, 5, 10, 0.5), at(5));
    }

    #[test]
    fn the_rate_stretches_the_window() {
        let plan = DrainPlan {
            rate_per_second: 4.0,
            ..PLAN
        }
        .share(2);
        about(departure(plan, 100, 110, 0.0), at(50));
    }

    #[test]
    fn nodes_that_drain_at_the_same_time_share_the_rate_for_as_long_as_they_do() {
        let plan = DrainPlan {
            rate_per_second: 10.0,
            deadline: Duration::from_mins(5),
            ..PLAN
        };
        let mut turns = Turns::new(plan, 200, 1, 0.0);
        let alone: Vec<Departure> = (0..=20).map(|_| turns.next(1, 0.0)).collect();
        about(alone[20], at(2));
        let shared: Vec<Departure> = (0..20).map(|_| turns.next(4, 0.0)).collect();
        // The first of them still had its turn when nobody else drained.
        let gap = shared[19].at.saturating_sub(shared[0].at);
        assert!(
            gap.abs_diff(Duration::from_millis(19 * 400)) < Duration::from_millis(1),
            "{gap:?}"
        );
        let alone_again = (0..2)
            .map(|_| turns.next(1, 0.0).at)
            .reduce(|a, b| b.saturating_sub(a));
        assert!(
            alone_again.unwrap().abs_diff(Duration::from_millis(100)) < Duration::from_millis(1)
        );
    }

    #[test]
    fn the_only_one_goes_at_once_where_no_rate_says_otherwise() {
        let mut turns = Turns::new(PLAN, 1, 1, 0.9);
        about(turns.next(1, 0.0), at(0));
    }

    #[test]
    fn shards_that_begin_at_the_same_moment_do_not_go_on_in_step() {
        let plan = DrainPlan {
            rate_per_second: 1.0,
            ..PLAN
        };
        let mut turns = Turns::new(plan, 10, 4, 0.5);
        about(turns.next(4, 0.0), at(2));
        about(turns.next(4, 0.0), at(6));
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
                let Departure { at, wait } = departure(plan, index, count, 0.0);
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
        assert_eq!(
            (plan.hurry(116, 1), plan.hurry(116, 2), plan.hurry(580, 1)),
            (None, Some(2.0), Some(10.0))
        );
        assert_eq!(PLAN.hurry(1_000_000, 1), None, "nothing is bounded");
    }

    #[test]
    fn a_window_longer_than_the_deadline_is_still_spread() {
        let plan = DrainPlan {
            window: Duration::from_secs(20),
            deadline: Duration::from_secs(12),
            ..PLAN
        };
        about(departure(plan, 5, 10, 0.0), at(5));
        about(departure(plan, 9, 10, 0.0), at(9));
    }

    #[test]
    fn jitter_moves_a_departure_by_less_than_the_gap() {
        let plan = DrainPlan {
            jitter: 0.5,
            ..PLAN
        };
        let found = departure(plan, 1, 10, 0.8).at;
        assert!(found.abs_diff(Duration::from_millis(1400)) < Duration::from_millis(1));
    }
}
