//! More connections than one process may have, that say nothing: what they hold, and what heartbeats cost.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::bout::Bout;
use crate::extra::HEARTBEAT;
use crate::hold::Holder;
use crate::process;
use crate::sample::micros;

/// How many connections a server has at most: processes may open 20,000 files where the limit is usual, and of the 28,000
/// ports that clients have towards one address Linux gives out one half first, then searches all of it for each of the other.
const MOST: usize = 14_000;
/// Over how many intervals heartbeats are counted.
const INTERVALS: u64 = 2;

/// How many servers hold so many connections.
pub(crate) fn servers(connections: usize) -> usize {
    connections.div_ceil(MOST).max(1)
}

/// Who of `all` is whose, evenly.
fn shares(all: usize, holders: usize) -> impl Iterator<Item = Range<usize>> {
    let holders = holders.max(1);
    (0..holders).map(move |holder| all * holder / holders..all * (holder + 1) / holders)
}

impl Bout<'_> {
    pub(crate) fn held(&mut self, connections: usize) -> anyhow::Result<()> {
        let pids = self.pids();
        let (memory, kernel) = (process::memories(&pids)?, process::kernel_memory()?);
        let (cpu, began) = (process::cpus(&pids)?, Instant::now());
        let mut holders = Vec::new();
        for (server, members) in self
            .servers
            .iter()
            .zip(shares(connections, self.servers.len()))
        {
            holders.push(Holder::start(server, &members)?);
        }
        for holder in &holders {
            holder.ready()?;
        }
        let (elapsed, used) = (began.elapsed(), process::cpus(&pids)?.saturating_sub(cpu));
        // Of processes that have done nothing before.
        let holding: Vec<_> = holders.iter().map(Holder::pid).collect();
        let holding = process::cpus(&holding)?;
        let many = connections as f64;
        self.note(
            "connect",
            [
                ("cpu_us", micros(used) / many),
                ("per_s", many / elapsed.as_secs_f64()),
                ("server_cores", used.as_secs_f64() / elapsed.as_secs_f64()),
                (
                    "generator_cores",
                    holding.as_secs_f64() / elapsed.as_secs_f64(),
                ),
            ],
        );
        // Collectors and allocators give back what the handshakes took, if they do, and everybody's first heartbeat comes.
        std::thread::sleep(Duration::from_secs(HEARTBEAT));
        let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / many;
        let held = [
            ("user_bytes", each(process::memories(&pids)?, memory)),
            (
                "kernel_both_ends_bytes",
                each(process::kernel_memory()?, kernel),
            ),
        ];
        self.note("idle", held);
        self.heartbeats(&mut holders, many)
    }

    /// What a heartbeat costs, over whole intervals: all that the servers did meanwhile.
    fn heartbeats(&mut self, holders: &mut [Holder], connections: f64) -> anyhow::Result<()> {
        let pids = self.pids();
        let answered = |holders: &mut [Holder]| {
            holders
                .iter_mut()
                .map(Holder::heartbeats)
                .sum::<anyhow::Result<u64>>()
        };
        let (before, cpu, began) = (answered(holders)?, process::cpus(&pids)?, Instant::now());
        std::thread::sleep(Duration::from_secs(HEARTBEAT * INTERVALS));
        let (used, elapsed) = (process::cpus(&pids)?.saturating_sub(cpu), began.elapsed());
        let heard = answered(holders)?.saturating_sub(before) as f64;
        ensure!(
            heard > 0.0,
            "no heartbeat came within {INTERVALS} intervals of {HEARTBEAT} s"
        );
        self.note(
            "heartbeats",
            [
                ("cpu_us", micros(used) / heard),
                ("each", heard / connections),
                ("server_cores", used.as_secs_f64() / elapsed.as_secs_f64()),
            ],
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_evenly_by_as_many_as_are_needed() {
        assert_eq!([1, 14_000, 14_001, 50_000].map(servers), [1, 1, 2, 4]);
        let all: Vec<_> = shares(40_000, 3).collect();
        assert_eq!(all, [0..13_333, 13_333..26_666, 26_666..40_000]);
        assert!(all.iter().all(|share| share.len() <= MOST));
    }
}
