//! `SlowLog`: operations that took longer than `wsc.performance.slowLogThreshold`, one line each at `warn`.
//!
//! A line names the operation, the session if there is one, and the time; never what was said. Many slow operations must
//! not become a flood of lines: beyond a few in a second they are only counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use wsc_config::PerformanceConfig;

/// Lines in a second.
const LINES: u64 = 20;

/// Off: nothing takes so long.
const OFF: u64 = u64::MAX;

/// See the module.
#[derive(Debug)]
pub(super) struct SlowLog {
    /// In microseconds.
    threshold: AtomicU64,
    began: Instant,
    /// The second that lines are counted in, and how many it had: `second << 16 | lines`.
    lines: AtomicU64,
    pub(super) counter: Counter,
}

impl Default for SlowLog {
    fn default() -> Self {
        Self {
            threshold: AtomicU64::new(OFF),
            began: Instant::now(),
            lines: AtomicU64::new(0),
            counter: Counter::default(),
        }
    }
}

impl SlowLog {
    /// Goes by this from now on.
    pub(super) fn apply(&self, config: &PerformanceConfig) {
        let threshold = Duration::from(config.slow_log_threshold).as_micros();
        let threshold = u64::try_from(threshold).unwrap_or(OFF);
        let threshold = if config.enable_slow_log {
            threshold
        } else {
            OFF
        };
        self.threshold.store(threshold, Relaxed);
    }

    /// Whether this was slow.
    pub(super) fn is_slow(&self, took: Duration) -> bool {
        let threshold = self.threshold.load(Relaxed);
        threshold != OFF && took.as_micros() >= u128::from(threshold)
    }

    /// Tells of an operation if it was slow.
    pub(super) fn look(
        &self,
        operation: &'static str,
        session: Option<&dyn fmt::Display>,
        took: Duration,
    ) {
        if !self.is_slow(took) {
            return;
        }
        self.counter.inc();
        if self.has_room() {
            let session = session.map(ToString::to_string);
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(operation, session, took_ms, "slow");
        }
    }

    fn has_room(&self) -> bool {
        let second = self.began.elapsed().as_secs() << 16;
        let taken = self.lines.fetch_update(Relaxed, Relaxed, |last| {
            let lines = if last >> 16 == second >> 16 {
                last & 0xffff
            } else {
                0
            };
            (lines < LINES).then_some(second | (lines + 1))
        });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use wsc_config::Millis;

    use super::*;

    fn log(enable_slow_log: bool, millis: u64) -> SlowLog {
        let log = SlowLog::default();
        log.apply(&PerformanceConfig {
            enable_slow_log,
            slow_log_threshold: Millis::from_millis(millis),
            ..PerformanceConfig::default()
        });
        log
    }

    #[test]
    fn what_takes_as_long_as_the_threshold_is_slow_and_nothing_is_when_off() {
        let on = log(true, 100);
        assert!(on.is_slow(Duration::from_millis(100)));
        assert!(!on.is_slow(Duration::from_millis(99)));
        assert!(!log(false, 100).is_slow(Duration::from_hours(1)));
        assert!(log(true, 10).is_slow(Duration::from_millis(50)));
    }

    #[test]
    fn a_flood_of_slow_operations_is_counted_and_not_logged() {
        let log = log(true, 1);
        let lines = (0..10 * LINES).filter(|_| log.has_room()).count() as u64;
        // The second may change once meanwhile.
        assert!(lines == LINES || lines == 2 * LINES, "{lines}");
        for _ in 0..50 {
            log.look("message", None, Duration::from_secs(1));
        }
        assert_eq!(log.counter.get(), 50);
    }
}
