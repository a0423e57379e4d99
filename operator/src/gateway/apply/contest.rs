//! `Contests`: objects that somebody changes again each time they are restored, such as another controller.
//!
//! What is written to say the same as before is a restoration. There are a few at once for whoever edits by hand; from then on
//! one in a while, and it is told. Another wish begins anew. Losing this memory costs a few writes.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use super::settled::Place;
use crate::digest;

/// How many times an object is restored at once: nobody edits so much by hand.
const AT_ONCE: u32 = 20;

/// From one restoration to the next after that.
const EVERY: Duration = Duration::from_mins(1);

struct Restored {
    /// A digest of what was asked for.
    wish: String,
    /// How many more times.
    left: u32,
    /// When that was counted.
    at: Instant,
}

type ByObject = BTreeMap<String, Restored>;

/// How often what was written, by gateway and object.
#[derive(Default)]
pub struct Contests(Mutex<HashMap<(String, String), ByObject>>);

impl Contests {
    /// Whether an object has to wait for its next restoration.
    pub fn waits(&self, place: &Place, desired: &Value, now: Instant) -> bool {
        let mut all = self.0.lock();
        let restored = all
            .get_mut(&(place.namespace.clone(), place.gateway.clone()))
            .and_then(|objects| objects.get_mut(&place.object));
        restored.is_some_and(|restored| {
            restored.refill(now);
            restored.left == 0 && restored.wish == digest::of_json(desired)
        })
    }

    /// Takes note of a write; says whether the next one has to wait.
    pub fn wrote(&self, place: Place, desired: &Value, now: Instant) -> bool {
        let wish = digest::of_json(desired);
        let mut all = self.0.lock();
        let objects = all.entry((place.namespace, place.gateway)).or_default();
        let restored = objects.entry(place.object).or_insert(Restored {
            wish: String::new(),
            left: AT_ONCE,
            at: now,
        });
        if restored.wish != wish {
            *restored = Restored {
                wish,
                left: AT_ONCE,
                at: now,
            };
        }
        restored.refill(now);
        restored.left = restored.left.saturating_sub(1);
        restored.left == 0
    }

    /// Forgets an object that was not wanted any more: made once more, it is no restoration.
    pub fn unwanted(&self, place: &Place) {
        let mut all = self.0.lock();
        let gateway = (place.namespace.clone(), place.gateway.clone());
        if let Some(objects) = all.get_mut(&gateway) {
            objects.remove(&place.object);
        }
    }

    /// Forgets a gateway.
    pub fn forget(&self, namespace: &str, gateway: &str) {
        self.0
            .lock()
            .remove(&(namespace.to_owned(), gateway.to_owned()));
    }
}

impl Restored {
    fn refill(&mut self, now: Instant) {
        let more = now.duration_since(self.at).as_secs() / EVERY.as_secs();
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(more).min(AT_ONCE);
        self.at += EVERY.saturating_mul(more);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_restored_again_and_again_waits_until_a_while_has_gone_or_something_else_is_wanted() {
        let place = Place {
            namespace: "default".to_owned(),
            gateway: "chat".to_owned(),
            object: "Service/chat".to_owned(),
        };
        let (contests, wish, now) = (Contests::default(), json!({"a": 1}), Instant::now());
        for _ in 1..AT_ONCE {
            assert!(!contests.waits(&place, &wish, now));
            assert!(!contests.wrote(place.clone(), &wish, now));
        }
        assert!(contests.wrote(place.clone(), &wish, now));
        assert!(contests.waits(&place, &wish, now));
        assert!(!contests.waits(&place, &json!({"a": 2}), now));

        let later = now + EVERY;
        assert!(!contests.waits(&place, &wish, later));
        assert!(contests.wrote(place.clone(), &wish, later));
        assert!(contests.waits(&place, &wish, later + EVERY / 2));

        contests.unwanted(&place);
        assert!(!contests.waits(&place, &wish, later));
        for _ in 0..AT_ONCE {
            contests.wrote(place.clone(), &wish, later);
        }
        assert!(contests.waits(&place, &wish, later));

        assert!(!contests.wrote(place.clone(), &json!({"a": 2}), later));
        assert!(!contests.waits(&place, &json!({"a": 2}), later));
        contests.forget("default", "chat");
        assert!(!contests.waits(&place, &wish, later));
    }
}
