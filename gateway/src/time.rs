//! Durations as numbers, for whoever stores or sends them.

use std::time::Duration;

/// Whole milliseconds, at least one: a time that is over at once is none to Redis.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
