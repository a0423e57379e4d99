//! When messages are meant to be sent: as many at a time as are outstanding, or at a fixed rate whatever happens.

use std::time::{Duration, Instant};

/// How a room's publisher goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The next message goes out when fewer than so many are on their way: how much a server can.
    Outstanding(usize),
    /// So many a second, whether the server keeps up or not: how long it takes at a load.
    Rate(f64),
}

/// When the messages of one run are meant to go.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    pace: Pace,
    began: Instant,
    ends: Instant,
    sent: u32,
}

impl Pacer {
    /// Messages from `began` on, for `lasts`.
    pub fn new(pace: Pace, began: Instant, lasts: Duration) -> Self {
        Self {
            pace,
            began,
            ends: began + lasts,
            sent: 0,
        }
    }

    /// When the next message is meant to go, if that is not later than `now`. Each call is one message.
    pub fn due(&mut self, now: Instant, outstanding: usize) -> Option<Instant> {
        let intended = match self.pace {
            Pace::Outstanding(most) => (outstanding < most && now < self.ends).then_some(now)?,
            Pace::Rate(rate) => {
                let intended = self.began + Duration::from_secs_f64(f64::from(self.sent) / rate);
                (intended <= now && intended < self.ends).then_some(intended)?
            }
        };
        self.sent += 1;
        Some(intended)
    }

    /// Whether no message will be due any more.
    pub fn over(&self, now: Instant) -> bool {
        now >= self.ends
    }

    /// How many messages were due.
    pub fn sent(&self) -> u32 {
        self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_rate_is_kept_whatever_is_outstanding_and_what_is_late_keeps_its_intended_time() {
        let began = Instant::now();
        let mut pacer = Pacer::new(Pace::Rate(100.0), began, 50 * MS);
        assert_eq!(pacer.due(began, 0), Some(began));
        assert_eq!(pacer.due(began + 9 * MS, 0), None);
        // The generator was held up: three are due at once, each from its own time.
        let late = began + 35 * MS;
        let due: Vec<_> = std::iter::from_fn(|| pacer.due(late, 1000)).collect();
        assert_eq!(due, [10, 20, 30].map(|ms| began + ms * MS));
        assert_eq!(pacer.due(began + 40 * MS, 0), Some(began + 40 * MS));
        assert_eq!(pacer.due(began + 60 * MS, 0), None);
        assert!(pacer.over(began + 50 * MS));
        assert_eq!(pacer.sent(), 5);
    }

    #[test]
    fn a_window_takes_no_more_than_it_holds() {
        let began = Instant::now();
        let mut pacer = Pacer::new(Pace::Outstanding(2), began, 10 * MS);
        assert_eq!(pacer.due(began, 1), Some(began));
        assert_eq!(pacer.due(began, 2), None);
        assert_eq!(pacer.due(began + 10 * MS, 0), None);
    }
}
