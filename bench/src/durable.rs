//! Messages that are stored before they count as accepted, beside what a bare append to the same kind of Redis costs.

use std::time::Duration;

use anyhow::Context as _;

use crate::append::{LOGS, append};
use crate::bout::{Bout, SIZE};
use crate::dialect::Member;
use crate::drive::{Outcome, Rooms, Speech};
use crate::extra::Acceptance;
use crate::pacer::Pace;
use crate::process;
use crate::redis::Redis;
use crate::sample::{metrics, micros};

/// How many senders have one reader each.
const SENDERS: usize = LOGS;

/// How each level is measured: by itself, some at a time, and at fixed rates.
const PACES: [(&str, Pace); 4] = [
    ("1-outstanding", Pace::Outstanding(1)),
    ("64-outstanding", Pace::Outstanding(SENDERS)),
    ("500-per-s", Pace::Rate(500.0)),
    ("2000-per-s", Pace::Rate(2_000.0)),
];

impl Bout<'_> {
    /// From when a message was meant until its sender hears that it is accepted.
    pub(crate) fn durable(&mut self, level: Acceptance, redis: &[Redis]) -> anyhow::Result<()> {
        self.lasts *= 3;
        let first = self.servers.first().context("a server")?;
        let all = (0..2 * SENDERS).map(|number| Member {
            number,
            room: number % SENDERS,
        });
        self.fleet.connect(first.address, &first.entry, all)?;
        let senders = Rooms::new((0..2 * SENDERS).map(|n| (n < SENDERS).then_some(n)));
        let one = Rooms::new((0..2 * SENDERS).map(|n| (n == 0).then_some(n)));
        let speech = Speech::Store {
            reader: SENDERS,
            receipt: level.receipt(),
        };
        self.warm(&senders, speech)?;
        for (name, pace) in PACES {
            let each = SENDERS as f64;
            let (rooms, pace) = match pace {
                Pace::Outstanding(1) => (&one, pace),
                Pace::Outstanding(most) => (&senders, Pace::Outstanding(most / SENDERS)),
                Pace::Rate(rate) => (&senders, Pace::Rate(rate / each)),
            };
            let pids = self.pids();
            self.accepted(&format!("{} {name}", level.name()), redis, |bout| {
                bout.drive(rooms, speech, pace, &pids)
            })?;
        }
        Ok(())
    }

    /// The floor of it.
    pub(crate) fn appended(&mut self, level: Acceptance, redis: &[Redis]) -> anyhow::Result<()> {
        self.lasts *= 3;
        let address = redis.first().context("a Redis")?.address();
        append(
            address,
            level,
            (Pace::Outstanding(1), Duration::from_millis(100)),
            SIZE,
        )?;
        for (name, pace) in PACES {
            self.accepted(&format!("{} {name}", level.name()), redis, |bout| {
                append(address, level, (pace, bout.lasts), bout.size)
            })?;
        }
        Ok(())
    }

    fn accepted(
        &mut self,
        what: &str,
        redis: &[Redis],
        run: impl FnOnce(&mut Self) -> anyhow::Result<Outcome>,
    ) -> anyhow::Result<()> {
        let pids: Vec<_> = redis.iter().map(Redis::pid).collect();
        let before = process::cpus(&pids)?;
        let outcome = run(self)?;
        let used = process::cpus(&pids)?.saturating_sub(before);
        self.whole(&outcome).with_context(|| what.to_owned())?;
        let mut metrics = metrics(&outcome);
        let messages = outcome.counts.delivered.max(1) as f64;
        if !redis.is_empty() {
            metrics.insert("redis_cpu_us".to_owned(), micros(used) / messages);
        }
        self.note_all(what, metrics);
        Ok(())
    }
}
