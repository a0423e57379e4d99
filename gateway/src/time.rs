//! Times as numbers, for whoever stores or sends them, and the order of what happens in this process.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last tick.
static LAST: AtomicU64 = AtomicU64::new(0);

/// Whole milliseconds, at least one: a time that is over at once is none to Redis.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The microseconds of the clock since 1970, but always more than before in this process: of two things that happened here
/// the earlier has the smaller tick, also when the clock was set back between them.
pub(crate) fn tick() -> u64 {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH);
    let clock = clock.unwrap_or_default().as_micros();
    let clock = u64::try_from(clock).unwrap_or(u64::MAX);
    let before = LAST.fetch_update(SeqCst, SeqCst, |last| Some(after(last, clock)));
    after(before.unwrap_or_else(|last| last), clock)
}

fn after(last: u64, clock: u64) -> u64 {
    clock.max(last.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_later_than_all_before_whatever_the_clock_says() {
        assert_eq!(after(5, 9), 9);
        assert_eq!(after(9, 5), 10, "the clock was set back");
        let before = tick();
        assert!(tick() > before);
    }
}
