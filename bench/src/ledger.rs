//! The books of one room: what was published and when it was meant to be, and what each recipient got of it.
//!
//! A message counts when a recipient has it, never when a server took it. Latency runs from the time a message was meant
//! to be sent: a publisher that is held up does not hide what it was held up by.

use std::collections::VecDeque;
use std::time::Instant;

use hdrhistogram::Histogram;

/// The books of one room.
#[derive(Debug)]
pub struct Ledger {
    /// The last message of each recipient.
    last: Vec<u64>,
    /// What not everybody has yet; the first of them has the number `settled + 1`.
    open: VecDeque<Open>,
    settled: u64,
    /// What numbers on the wire are more than those in these books.
    base: u64,
    counts: Counts,
    latency: Histogram<u64>,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that arrived where they should.
    pub delivered: u64,
    /// Messages that a later one overtook, or that never came.
    pub lost: u64,
    /// Messages that came again, or after a later one.
    pub repeated: u64,
}

impl Counts {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.repeated += other.repeated;
    }
}

#[derive(Debug)]
struct Open {
    intended: Instant,
    missing: usize,
}

impl Ledger {
    /// The books of a room with so many recipients, whose messages have numbers above `base`.
    pub fn new(recipients: usize, base: u64) -> Self {
        Self {
            last: vec![0; recipients],
            open: VecDeque::new(),
            settled: 0,
            base,
            counts: Counts::default(),
            latency: histogram(),
        }
    }

    /// Enters a message that is meant to be sent at `intended`, and numbers it.
    pub fn publish(&mut self, intended: Instant) -> u64 {
        let missing = self.last.len();
        self.open.push_back(Open { intended, missing });
        self.base + self.settled + self.open.len() as u64
    }

    /// Enters what a recipient got.
    pub fn got(&mut self, recipient: usize, number: u64, now: Instant) {
        let Some(last) = self.last.get_mut(recipient) else {
            return;
        };
        let number = number.saturating_sub(self.base);
        if number <= *last || number > self.settled + self.open.len() as u64 {
            self.counts.repeated += 1;
            return;
        }
        let skipped = *last + 1..number;
        *last = number;
        self.counts.delivered += 1;
        for number in skipped {
            self.counts.lost += 1;
            self.settle(number);
        }
        if let Some(intended) = self.settle(number) {
            let late = now.saturating_duration_since(intended).as_nanos();
            self.latency
                .saturating_record(u64::try_from(late).unwrap_or(u64::MAX));
        }
        while self.open.front().is_some_and(|open| open.missing == 0) {
            self.open.pop_front();
            self.settled += 1;
        }
    }

    fn settle(&mut self, number: u64) -> Option<Instant> {
        let place = usize::try_from(number.checked_sub(self.settled + 1)?).ok()?;
        let open = self.open.get_mut(place)?;
        open.missing = open.missing.saturating_sub(1);
        Some(open.intended)
    }

    /// How many messages not everybody has yet.
    pub fn outstanding(&self) -> usize {
        self.open.len()
    }

    /// Ends it: what is still missing is lost.
    pub fn close(mut self) -> (Counts, Histogram<u64>) {
        self.counts.lost += self
            .open
            .iter()
            .map(|open| open.missing as u64)
            .sum::<u64>();
        (self.counts, self.latency)
    }
}

/// Nanoseconds up to a minute, to three digits.
pub fn histogram() -> Histogram<u64> {
    // The bounds are constants, and good ones.
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).unwrap_or_else(|_| unreachable!())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_message_is_settled_when_everybody_has_it_and_latency_runs_from_when_it_was_meant() {
        let mut ledger = Ledger::new(2, 100);
        let meant = Instant::now();
        assert_eq!((ledger.publish(meant), ledger.publish(meant)), (101, 102));
        let ms = |ms| meant + Duration::from_millis(ms);
        ledger.got(0, 101, ms(1));
        ledger.got(0, 102, ms(1));
        assert_eq!(ledger.outstanding(), 2);
        ledger.got(1, 101, ms(3));
        assert_eq!(ledger.outstanding(), 1);
        ledger.got(1, 102, ms(10));
        assert_eq!(ledger.outstanding(), 0);
        let (counts, latency) = ledger.close();
        assert_eq!((counts.delivered, counts.lost, counts.repeated), (4, 0, 0));
        assert!(latency.max().abs_diff(10_000_000) < 20_000);
    }

    #[test]
    fn what_is_skipped_or_never_comes_is_lost_and_what_comes_again_is_told() {
        let mut ledger = Ledger::new(2, 100);
        let now = Instant::now();
        for _ in 0..3 {
            ledger.publish(now);
        }
        ledger.got(0, 103, now);
        ledger.got(0, 102, now);
        ledger.got(1, 101, now);
        ledger.got(1, 109, now);
        let (counts, _) = ledger.close();
        // Recipient 0 lacks 1 and 2, recipient 1 lacks 2 and 3; 2 came late, 9 was never sent.
        assert_eq!((counts.delivered, counts.lost, counts.repeated), (2, 4, 2));
    }
}
