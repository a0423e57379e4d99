//! `MemoryGauge`: how much of its memory this process' control group uses, looked at once a second.
//!
//! A pod that reaches its limit is killed with everyone on it. Before that newcomers are sent elsewhere: who is here stays.

use std::fmt;
use std::fs::read_to_string;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Admission;

/// Looks between two of which nobody can fill the rest.
const PERIOD: Duration = Duration::from_secs(1);

/// Memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// What is used and cannot be had back by dropping caches.
    pub used: u64,
    /// What may be used.
    pub limit: u64,
}

/// Where that is read. Cheap to clone.
#[derive(Clone)]
pub struct MemoryGauge(Arc<dyn Fn() -> Option<MemoryUse> + Send + Sync>);

impl MemoryGauge {
    /// By this function; `None`: there is no limit, or it cannot be read.
    pub fn new(read: impl Fn() -> Option<MemoryUse> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }
}

impl Default for MemoryGauge {
    /// The control group's (version 2), as a container sees it.
    fn default() -> Self {
        Self::new(|| {
            let file = |name: &str| read_to_string(format!("/sys/fs/cgroup/memory.{name}")).ok();
            parse(
                &file("max")?,
                &file("current")?,
                &file("stat").unwrap_or_default(),
            )
        })
    }
}

impl fmt::Debug for MemoryGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryGauge(..)")
    }
}

impl MemoryUse {
    /// Whether it is more than so many of a hundred parts.
    pub fn exceeds(&self, percent: u32) -> bool {
        u128::from(self.used) * 100 > u128::from(self.limit) * u128::from(percent)
    }
}

/// What the files say. Without a limit the first is `max`. Caches that nobody uses do not count, as the kubelet reckons.
fn parse(max: &str, current: &str, stat: &str) -> Option<MemoryUse> {
    let mut lines = stat.lines();
    let cached = lines.find_map(|line| line.strip_prefix("inactive_file "));
    let cached: u64 = cached
        .and_then(|bytes| bytes.trim().parse().ok())
        .unwrap_or(0);
    let used: u64 = current.trim().parse().ok()?;
    Some(MemoryUse {
        used: used.saturating_sub(cached),
        limit: max.trim().parse().ok()?,
    })
}

/// Has newcomers refused while there is too little left, until cancelled.
pub(super) async fn watch(gauge: MemoryGauge, admission: Admission, cancel: CancellationToken) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let percent = admission.rules().memory_percent;
        let now = percent.and_then(|percent| Some((percent, (gauge.0)()?)));
        let is_short = now.is_some_and(|(percent, now)| now.exceeds(percent));
        if admission.set_short_of_memory(is_short) != is_short {
            tracing::warn!(
                is_short,
                ?now,
                "memory: whether newcomers are refused has changed"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_group_is_read_without_its_idle_caches_and_no_limit_is_none() {
        let stat = "anon 100\nfile 900\ninactive_file 600\nactive_file 300\n";
        let read = parse("2000\n", "1600\n", stat).unwrap();
        assert_eq!((read.used, read.limit), (1000, 2000));
        assert!(read.exceeds(49) && !read.exceeds(50));
        assert_eq!(parse("max\n", "1600\n", stat), None);
        assert_eq!(parse("2000", "1600", "").unwrap().used, 1600);
    }
}
