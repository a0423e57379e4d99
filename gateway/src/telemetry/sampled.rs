//! `Sampled`: gauges that cost something to read. Read when a scrape asks and the last reading is older than
//! `wsc.performance.metricsInterval`, so that frequent scrapes cost no more than that.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;

/// The size of a page of memory on every system this runs on.
const PAGE: i64 = 4096;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sampled {
    interval_ms: AtomicU64,
    last: Mutex<Option<Instant>>,
    pub(super) memory: Gauge,
    pub(super) descriptors: Gauge,
}

impl Sampled {
    /// Reads no more often than this from now on.
    pub(super) fn apply(&self, interval: Duration) {
        let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        self.interval_ms.store(interval, Relaxed);
    }

    /// Reads anew if it is time; whether it was.
    pub(super) fn refresh(&self, now: Instant) -> bool {
        let interval = Duration::from_millis(self.interval_ms.load(Relaxed));
        let mut last = self.last.lock();
        let due = last.is_none_or(|last| now.duration_since(last) >= interval);
        if due {
            *last = Some(now);
            // Where there is no /proc the gauges stay 0.
            self.memory.set(resident().unwrap_or_default());
            self.descriptors.set(descriptors().unwrap_or_default());
        }
        due
    }
}

fn resident() -> Option<i64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE)
}

fn descriptors() -> Option<i64> {
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_stands_for_as_long_as_the_interval_says() {
        let sampled = Sampled::default();
        sampled.apply(Duration::from_secs(60));
        let now = Instant::now();
        assert!(sampled.refresh(now));
        assert!(sampled.memory.get() > 0 && sampled.descriptors.get() > 0);
        assert!(!sampled.refresh(now + Duration::from_secs(59)));
        assert!(sampled.refresh(now + Duration::from_secs(60)));
        sampled.apply(Duration::from_secs(1));
        assert!(sampled.refresh(now + Duration::from_secs(61)));
    }
}
