//! `Repeated`: where messages stand that may be sent again, for as long as that is looked for. What is over is forgotten from
//! the oldest on, so that a message costs no more in a log that many write to.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::super::MessageName;
use crate::time::millis;

/// See the module. Times are in milliseconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Repeated {
    places: HashMap<Arc<MessageName>, u64>,
    /// When each was stored, in that order, which is that of the times.
    by_age: VecDeque<(u64, Arc<MessageName>)>,
}

impl Repeated {
    /// The offset of a message of this name.
    pub(super) fn place(&self, name: &MessageName) -> Option<u64> {
        self.places.get(name).copied()
    }

    /// A message was stored at this offset and time, of which none of its name was known.
    pub(super) fn note(&mut self, name: MessageName, offset: u64, at: u64) {
        // After a clock that was set back: what was there before is no younger.
        let before = self.by_age.iter_mut().rev();
        for (before, _) in before.take_while(|(before, _)| *before > at) {
            *before = at;
        }
        let name = Arc::new(name);
        self.places.insert(Arc::clone(&name), offset);
        self.by_age.push_back((at, name));
    }

    /// Forgets what was stored so long before now.
    pub(super) fn forget(&mut self, window: Duration, now: u64) {
        let is_over =
            |(at, _): &mut (u64, Arc<MessageName>)| at.saturating_add(millis(window)) <= now;
        while let Some((_, name)) = self.by_age.pop_front_if(is_over) {
            self.places.remove(&name);
        }
    }

    /// Gives back the room of what was forgotten.
    pub(super) fn shrink(&mut self) {
        self.places.shrink_to_fit();
        self.by_age.shrink_to_fit();
    }

    /// For how many it has room.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.places.capacity().max(self.by_age.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_forgotten_from_the_oldest_on_and_may_be_noted_again() {
        let name = |id| MessageName::new("alice", id);
        let mut repeated = Repeated::default();
        for (offset, id) in [(1, "a"), (2, "b"), (3, "c")] {
            repeated.note(name(id), offset, offset * 10);
        }
        let window = Duration::from_millis(10);
        repeated.forget(window, 29);
        assert_eq!(
            ["a", "b", "c"].map(|id| repeated.place(&name(id))),
            [None, Some(2), Some(3)]
        );
        repeated.note(name("a"), 4, 40);
        repeated.forget(window, 40);
        assert_eq!(
            ["a", "b", "c"].map(|id| repeated.place(&name(id))),
            [Some(4), None, None]
        );
        repeated.forget(window, 50);
        repeated.shrink();
        assert_eq!((repeated.place(&name("a")), repeated.room()), (None, 0));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nothing_for_longer_than_the_window_from_then() {
        let name = |id| MessageName::new("alice", id);
        let mut repeated = Repeated::default();
        for (offset, id, at) in [(1, "a", 5), (2, "b", 1_000), (3, "c", 10)] {
            repeated.note(name(id), offset, at);
        }
        let window = Duration::from_millis(10);
        repeated.forget(window, 19);
        assert_eq!(
            ["a", "b", "c"].map(|id| repeated.place(&name(id))),
            [None, Some(2), Some(3)]
        );
        repeated.forget(window, 20);
        assert_eq!(["b", "c"].map(|id| repeated.place(&name(id))), [None, None]);
    }
}
