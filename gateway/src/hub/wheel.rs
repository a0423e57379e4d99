//! One timing wheel per shard: a timer costs an entry in a slot, not a future.
//!
//! Entries further away than the wheel is round stay in their slot for another turn. A moved timer leaves its old entry
//! behind; its owner ignores what fires at another tick than it last asked for.

use crate::session::liveness::Tick;

/// Slots: two minutes of ticks, so that heartbeats and timeouts by their defaults fit in one turn.
const SLOTS: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry<K> {
    at: Tick,
    key: K,
}

/// Keys that fire at ticks.
#[derive(Debug)]
pub struct Wheel<K> {
    slots: Vec<Vec<Entry<K>>>,
    now: Tick,
}

impl<K: Copy> Wheel<K> {
    /// An empty wheel at tick 0.
    pub fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            now: 0,
        }
    }

    /// The tick it was last advanced to.
    pub const fn now(&self) -> Tick {
        self.now
    }

    /// Fires `key` at `at`; a tick that has passed means the next one.
    pub fn schedule(&mut self, at: Tick, key: K) -> Tick {
        let at = at.max(self.now.saturating_add(1));
        if let Some(slot) = self.slots.get_mut(at as usize % SLOTS) {
            slot.push(Entry { at, key });
        }
        at
    }

    /// Moves on to `to` and adds every `(tick, key)` that is due to `due`.
    pub fn advance(&mut self, to: Tick, due: &mut Vec<(Tick, K)>) {
        let turns = (to.saturating_sub(self.now) as usize).min(SLOTS);
        for step in 1..=turns {
            let slot = (self.now as usize + step) % SLOTS;
            let Some(slot) = self.slots.get_mut(slot) else {
                continue;
            };
            slot.retain(|entry| {
                let waits = entry.at > to;
                if !waits {
                    due.push((entry.at, entry.key));
                }
                waits
            });
            if slot.is_empty() && slot.capacity() > 64 {
                *slot = Vec::new();
            }
        }
        self.now = self.now.max(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel<u32>, to: Tick) -> Vec<(Tick, u32)> {
        let mut due = Vec::new();
        wheel.advance(to, &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn keys_fire_at_their_tick_and_once() {
        let mut wheel = Wheel::new();
        for at in [3, 5, 5, 600] {
            wheel.schedule(at, at);
        }
        assert_eq!(due(&mut wheel, 2), []);
        assert_eq!(due(&mut wheel, 5), [(3, 3), (5, 5), (5, 5)]);
        assert_eq!(due(&mut wheel, 599), []);
        assert_eq!(due(&mut wheel, 600), [(600, 600)]);
        assert_eq!(due(&mut wheel, 5000), []);
    }

    #[test]
    fn a_tick_that_has_passed_means_the_next_one() {
        let mut wheel = Wheel::new();
        assert_eq!(due(&mut wheel, 1000), []);
        assert_eq!(wheel.schedule(7, 1), 1001);
        assert_eq!(due(&mut wheel, 1001), [(1001, 1)]);
    }

    #[test]
    fn a_long_pause_loses_nothing() {
        let mut wheel = Wheel::new();
        for at in 1..2000 {
            wheel.schedule(at, at);
        }
        assert_eq!(due(&mut wheel, 10_000).len(), 1999);
    }
}
