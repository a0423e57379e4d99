//! How long to wait after failures: ever longer up to a bound, never everybody at once.
//!
//! The bound is short, because it is also how late the operator notices that the API server is back.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(10);

/// A watch that did not fail for so long works again.
pub const CALM: Duration = Duration::from_secs(30);

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
///
/// Time tells that a watch works again, and nothing else does: one that begins anew says so before its first request, and
/// one whose versions are too old can list again and again.
#[derive(Debug, Default)]
pub struct WatchBackoff {
    failures: u32,
    last: Option<Instant>,
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if self.last.is_some_and(|last| now - last >= CALM) {
            self.failures = 0;
        }
        self.last = Some(now);
        self.failures = self.failures.saturating_add(1);
        Some(jittered(after(self.failures)))
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {}
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

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_works_again_begins_anew_and_one_that_only_says_so_does_not() {
        let mut watch = WatchBackoff::default();
        for _ in 0..6 {
            watch.next();
            watch.reset();
        }
        assert!(watch.next().unwrap() >= LAST.mul_f64(0.8));
        tokio::time::advance(CALM).await;
        assert!(watch.next().unwrap() <= FIRST.mul_f64(1.2));
    }
}
