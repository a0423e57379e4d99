//! How long to wait after failures: ever longer up to a bound, never everybody at once.
//!
//! The bound is short, because it is also how late the operator notices that the API server is back.

use std::time::Duration;

use kube::runtime::utils::Backoff;

const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(10);

/// The delay after so many failures in a row.
pub fn after(failures: u32) -> Duration {
    let factor = 1_u32
        .checked_shl(failures.saturating_sub(1))
        .unwrap_or(u32::MAX);
    FIRST.saturating_mul(factor).min(LAST)
}

/// A delay shifted at random by up to a fifth.
pub fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(rand::random_range(0.8..1.2))
}

/// The same for the stream of a watch.
#[derive(Debug, Default)]
pub struct WatchBackoff(u32);

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0 = self.0.saturating_add(1);
        Some(jittered(after(self.0)))
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_come_ever_later_up_to_a_bound() {
        assert_eq!(after(1), Duration::from_secs(1));
        assert_eq!(after(2), Duration::from_secs(2));
        assert_eq!(after(5), LAST);
        assert_eq!(after(u32::MAX), LAST);
    }

    #[test]
    fn a_watch_that_works_again_begins_anew() {
        let mut watch = WatchBackoff::default();
        let late = watch.by_ref().take(6).last().unwrap();
        assert!(late >= LAST.mul_f64(0.8));
        watch.reset();
        assert!(watch.next().unwrap() <= FIRST.mul_f64(1.2));
    }
}
