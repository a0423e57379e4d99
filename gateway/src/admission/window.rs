//! `Window`: how many messages and bytes there were in the last while. Pure.
//!
//! The window is cut into slots, and what is counted is the current one and as many more as the window has: never less than
//! the window, at most a tenth more. So no window of that length ever has more than the limit.

use std::time::Duration;

use tokio::time::Instant;

/// Parts of a window.
pub(super) const SLOTS: usize = 10;

/// Counts of one slot, the current one first.
pub(super) type Slots = [Count; SLOTS + 1];

type Older = [Count; SLOTS];

/// Messages and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Count {
    pub(super) const fn add(&mut self, other: Self) {
        self.messages = self.messages.saturating_add(other.messages);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    const fn less(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(other.messages),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    fn fits(self, bounds: Bounds) -> bool {
        self.messages <= bounds.messages && bounds.bytes.is_none_or(|bytes| self.bytes <= bytes)
    }
}

/// What a window may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) window: Duration,
    pub(super) messages: u64,
    pub(super) bytes: Option<u64>,
    /// How long one that is full stays shut; zero: until there is room.
    pub(super) block: Duration,
}

impl Bounds {
    pub(super) fn slot(&self) -> Duration {
        let tenth = u32::try_from(SLOTS).unwrap_or(u32::MAX);
        (self.window / tenth).max(Duration::from_millis(1))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    /// When the current slot began.
    began: Instant,
    now: Count,
    /// The slots before, if there was anything in them: there are many windows, and most saw one message.
    older: Option<Box<Older>>,
    shut_until: Option<Instant>,
    /// What other nodes have not heard of.
    untold: Count,
    /// There is something to tell or to hear whatever the count.
    is_news: bool,
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            now: Count::default(),
            older: None,
            shut_until: None,
            untold: Count::default(),
            // The first word asks as well: what others know of a user who has just come here.
            is_news: true,
        }
    }

    /// Whether there is room for a message; otherwise in how long there may be.
    pub(super) fn ask(&mut self, bytes: u64, bounds: Bounds, now: Instant) -> Result<(), Duration> {
        self.advance(bounds.slot(), now);
        if let Some(left) = self.shut(now) {
            return Err(left);
        }
        let more = Count { messages: 1, bytes };
        let mut all = self.sum();
        all.add(more);
        if all.fits(bounds) {
            return Ok(());
        }
        if bounds.block.is_zero() {
            return Err(self.room_in(more, bounds, now));
        }
        self.shut_until = Some(now + bounds.block);
        self.is_news = true;
        Err(bounds.block)
    }

    /// Counts a message for which there was room just now.
    pub(super) const fn count(&mut self, bytes: u64) {
        let more = Count { messages: 1, bytes };
        self.now.add(more);
        self.untold.add(more);
    }

    /// Whether nothing is known any more that a fresh one would not know.
    pub(super) fn is_fresh(&mut self, bounds: Bounds, now: Instant) -> bool {
        self.advance(bounds.slot(), now);
        self.sum() == Count::default() && self.shut(now).is_none()
    }

    /// What others are to hear, once it is worth a word: an eighth of what may be.
    pub(super) fn tell(&mut self, bounds: Bounds) -> Option<Count> {
        let much = Count {
            messages: self.untold.messages.saturating_mul(8),
            bytes: self.untold.bytes.saturating_mul(8),
        };
        let is_little =
            much.messages < bounds.messages && bounds.bytes.is_none_or(|bytes| much.bytes < bytes);
        let is_news = std::mem::take(&mut self.is_news) || !is_little;
        is_news.then(|| std::mem::take(&mut self.untold))
    }

    /// It could not be told after all. That it is shut, or that somebody is new here, is to be told all the same.
    pub(super) const fn untell(&mut self, count: Count) {
        self.untold.add(count);
        self.is_news = true;
    }

    /// For how much longer it is shut.
    pub(super) fn shut(&self, now: Instant) -> Option<Duration> {
        let left = self.shut_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// What all nodes together have counted. What was counted here and not told is not in it.
    pub(super) fn heard(&mut self, slots: Slots, (into, shut): (Duration, Duration), now: Instant) {
        self.set(slots);
        self.began = now.checked_sub(into).unwrap_or(now);
        self.now.add(self.untold);
        if !shut.is_zero() {
            self.shut_until = Some(now + shut);
        }
    }

    /// Every slot, the current one first.
    fn slots(&self) -> Slots {
        let mut all = Slots::default();
        let [now, older @ ..] = &mut all;
        *now = self.now;
        if let Some(kept) = &self.older {
            *older = **kept;
        }
        all
    }

    fn set(&mut self, [now, older @ ..]: Slots) {
        self.now = now;
        let is_something = older != Older::default();
        self.older = is_something.then(|| Box::new(older));
    }

    fn sum(&self) -> Count {
        let older = self.older.iter().flat_map(|older| older.iter());
        older.fold(self.now, |mut sum, slot| {
            sum.add(*slot);
            sum
        })
    }

    fn advance(&mut self, slot: Duration, now: Instant) {
        let passed = now.saturating_duration_since(self.began).as_nanos() / slot.as_nanos().max(1);
        if passed == 0 {
            return;
        }
        if passed > SLOTS as u128 {
            self.set(Slots::default());
            self.began = now;
            return;
        }
        let steps = usize::try_from(passed).unwrap_or(SLOTS);
        let mut slots = self.slots();
        slots.rotate_right(steps);
        for slot in slots.iter_mut().take(steps) {
            *slot = Count::default();
        }
        self.set(slots);
        self.began += slot * u32::try_from(steps).unwrap_or_default();
    }

    /// In how long so much more would fit: when enough of the oldest slots have left.
    fn room_in(&self, more: Count, bounds: Bounds, now: Instant) -> Duration {
        let mut left = self.sum();
        left.add(more);
        for (age, slot) in self.slots().iter().enumerate().rev() {
            left = left.less(*slot);
            if left.fits(bounds) {
                let steps = u32::try_from(SLOTS + 1 - age).unwrap_or_default();
                let at = self.began + bounds.slot() * steps;
                return at.saturating_duration_since(now);
            }
        }
        bounds.window
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Window {
        fn take(&mut self, bytes: u64, bounds: Bounds, now: Instant) -> Result<(), Duration> {
            self.ask(bytes, bounds, now)?;
            self.count(bytes);
            Ok(())
        }
    }

    const BOUNDS: Bounds = Bounds {
        window: Duration::from_mins(1),
        messages: 100,
        bytes: None,
        block: Duration::ZERO,
    };

    #[test]
    fn a_full_window_says_when_it_has_room_again_and_then_has() {
        let mut now = Instant::now();
        let mut window = Window::new(now);
        for _ in 0..100 {
            assert_eq!(window.take(1, BOUNDS, now), Ok(()));
        }
        let wait = window.take(1, BOUNDS, now).unwrap_err();
        assert_eq!(
            wait,
            Duration::from_secs(66),
            "the window and the slot it began in"
        );
        now += wait.saturating_sub(Duration::from_millis(1));
        assert!(window.take(1, BOUNDS, now).is_err());
        now += Duration::from_millis(1);
        assert_eq!(window.take(1, BOUNDS, now), Ok(()));
        assert!(!window.is_fresh(BOUNDS, now));
        assert!(window.is_fresh(BOUNDS, now + Duration::from_mins(2)));
    }

    #[test]
    fn bytes_are_bounded_beside_messages() {
        let now = Instant::now();
        let bounds = Bounds {
            bytes: Some(1000),
            ..BOUNDS
        };
        let mut window = Window::new(now);
        assert_eq!(window.take(990, bounds, now), Ok(()));
        assert!(window.take(11, bounds, now).is_err());
        assert_eq!(window.take(10, bounds, now), Ok(()));
    }

    #[test]
    fn one_that_blocks_stays_shut_however_much_room_there_is() {
        let now = Instant::now();
        let bounds = Bounds {
            messages: 1,
            block: Duration::from_mins(10),
            ..BOUNDS
        };
        let mut window = Window::new(now);
        assert_eq!(window.take(1, bounds, now), Ok(()));
        assert_eq!(window.take(1, bounds, now), Err(bounds.block));
        let later = now + Duration::from_mins(9);
        assert_eq!(window.take(1, bounds, later), Err(Duration::from_mins(1)));
        assert_eq!(window.take(1, bounds, now + bounds.block), Ok(()));
    }

    #[test]
    fn what_others_counted_counts_here_beside_what_they_have_not_heard() {
        let now = Instant::now();
        let mut window = Window::new(now);
        for _ in 0..20 {
            assert_eq!(window.take(1, BOUNDS, now), Ok(()));
        }
        assert_eq!(
            window.tell(BOUNDS),
            Some(Count {
                messages: 20,
                bytes: 20
            })
        );
        assert_eq!(window.take(1, BOUNDS, now), Ok(()));
        let mut slots = Slots::default();
        slots[0].messages = 60;
        slots[3].messages = 38;
        window.heard(slots, (Duration::from_secs(1), Duration::ZERO), now);
        assert_eq!(window.take(1, BOUNDS, now), Ok(()));
        assert!(window.take(1, BOUNDS, now).is_err());
        assert_eq!(window.tell(BOUNDS), None, "two are not worth a word");
        window.untell(Count {
            messages: 20,
            bytes: 0,
        });
        assert_eq!(
            window.tell(BOUNDS),
            Some(Count {
                messages: 22,
                bytes: 2
            })
        );
    }

    #[test]
    fn what_could_not_be_told_is_told_again_however_little_it_is() {
        let now = Instant::now();
        let bounds = Bounds {
            block: Duration::from_mins(10),
            ..BOUNDS
        };
        let mut window = Window::new(now);
        let question = window.tell(bounds).unwrap();
        window.untell(question);
        assert_eq!(window.tell(bounds), Some(question), "a newcomer");
        assert_eq!(window.tell(bounds), None);
        for _ in 0..100 {
            assert_eq!(window.take(1, bounds, now), Ok(()));
        }
        assert!(window.tell(bounds).is_some());
        assert!(window.take(1, bounds, now).is_err());
        let block = window.tell(bounds).unwrap();
        window.untell(block);
        assert_eq!(window.tell(bounds), Some(block), "shut");
    }

    proptest! {
        #[test]
        fn no_window_of_any_moment_holds_more_than_the_limit(pauses in prop::collection::vec(0..700u64, 1..400)) {
            let bounds = Bounds { window: Duration::from_secs(10), messages: 20, ..BOUNDS };
            let start = Instant::now();
            let (mut now, mut window, mut taken) = (start, Window::new(start), Vec::new());
            for pause in pauses {
                now += Duration::from_millis(pause);
                if window.take(1, bounds, now).is_ok() {
                    taken.push(now);
                }
            }
            for (index, first) in taken.iter().enumerate() {
                let within = taken[index..].iter().filter(|at| **at - *first < bounds.window);
                prop_assert!(within.count() <= 20);
            }
        }
    }
}
