//! `Forbidden`: whether the API server has refused a watch of late.
//!
//! Time tells that the right is back, beside the next event: a watch that begins again where it was says nothing until
//! something changes, which may be never. One that is refused tries again long before that, and says so each time.

use std::time::Instant;

use parking_lot::Mutex;

use crate::backoff::CALM;

/// When a watch was refused last.
#[derive(Debug, Default)]
pub struct Forbidden(Mutex<Option<Instant>>);

impl Forbidden {
    /// Takes note of a refusal; says whether that is news.
    pub fn note(&self) -> bool {
        self.note_at(Instant::now())
    }

    /// Takes note that the watch goes on.
    pub fn clear(&self) {
        *self.0.lock() = None;
    }

    /// Whether the watch is refused.
    pub fn stands(&self) -> bool {
        self.stands_at(Instant::now())
    }

    fn note_at(&self, now: Instant) -> bool {
        let news = !self.stands_at(now);
        *self.0.lock() = Some(now);
        news
    }

    fn stands_at(&self, now: Instant) -> bool {
        let last = *self.0.lock();
        last.is_some_and(|last| now.saturating_duration_since(last) < CALM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_news_once_and_stands_until_an_event_or_until_none_has_come_for_a_while() {
        let forbidden = Forbidden::default();
        let start = Instant::now();
        assert!(!forbidden.stands_at(start));
        assert!(forbidden.note_at(start) && !forbidden.note_at(start));
        let later = start + CALM / 2;
        assert!(forbidden.stands_at(later) && !forbidden.note_at(later));
        assert!(forbidden.stands_at(start + CALM));
        assert!(!forbidden.stands_at(later + CALM));
        assert!(forbidden.note_at(later + CALM));
        forbidden.clear();
        assert!(!forbidden.stands_at(later + CALM));
    }
}
