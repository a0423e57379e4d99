//! What the kernel says of a process: CPU it used, memory it holds. Linux only.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// The CPU that all threads of a process have used, to the nanosecond, work of the network stack on their behalf included.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let tasks = format!("/proc/{pid}/task");
    let mut sum = 0;
    for task in fs::read_dir(&tasks).with_context(|| format!("{tasks}: is the process gone?"))? {
        // A thread may end while its neighbours are read.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        sum += text
            .split(' ')
            .next()
            .and_then(|n| n.parse::<u64>().ok())
            .unwrap_or(0);
    }
    Ok(Duration::from_nanos(sum))
}

/// The same of several processes together.
pub fn cpus(pids: &[u32]) -> anyhow::Result<Duration> {
    pids.iter().map(|pid| cpu(*pid)).sum()
}

/// Bytes of memory that a process has for itself: no files, nothing shared.
pub fn memory(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    kib(&text, "RssAnon:").with_context(|| format!("{path}: RssAnon"))
}

/// The same of several processes together.
pub fn memories(pids: &[u32]) -> anyhow::Result<u64> {
    pids.iter().map(|pid| memory(*pid)).sum()
}

/// Bytes that the kernel holds in its own objects, sockets of both ends among them.
pub fn kernel_memory() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    kib(&text, "Slab:").context("/proc/meminfo: Slab")
}

fn kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_cpu_and_holds_memory() {
        let pid = std::process::id();
        assert!(cpu(pid).unwrap() > Duration::ZERO);
        assert!(memory(pid).unwrap() > 4096);
        assert!(kernel_memory().unwrap() > 4096);
    }

    #[test]
    fn sizes_are_read_by_their_key() {
        let text = "VmRSS:\t 2048 kB\nRssAnon:\t      12 kB\n";
        assert_eq!(kib(text, "RssAnon:"), Some(12 * 1024));
        assert_eq!(kib(text, "Slab:"), None);
    }
}
