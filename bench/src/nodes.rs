//! What a message costs all nodes of a cluster, and Redis where they have one: to one reader, and to a room, on the
//! sender's node and on others.

use anyhow::Context as _;

use crate::bout::Bout;
use crate::dialect::Member;
use crate::drive::{Rooms, Speech};
use crate::pacer::Pace;
use crate::process;
use crate::sample::{CPU, metrics, micros};

/// How many senders there are in each case.
const SENDERS: usize = 64;

/// Who hears a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    /// One reader, by its name.
    Reader,
    /// Everybody in a room, its publisher among them.
    Room,
}

/// A case: its name, who hears, and how many members are on which node, senders first. Every node runs in all of them.
type Case = (&'static str, To, &'static [(usize, usize)]);

const CASES: [Case; 6] = [
    ("direct one-node", To::Reader, &[(0, 2 * SENDERS)]),
    (
        "direct two-nodes",
        To::Reader,
        &[(0, SENDERS), (1, SENDERS)],
    ),
    (
        "direct three-nodes",
        To::Reader,
        &[(0, SENDERS), (1, SENDERS / 2), (2, SENDERS / 2)],
    ),
    ("group one-node", To::Room, &[(0, 2 * SENDERS)]),
    ("group two-nodes", To::Room, &[(0, SENDERS), (1, SENDERS)]),
    (
        "group three-nodes",
        To::Room,
        &[(0, SENDERS), (1, SENDERS), (2, SENDERS)],
    ),
];

/// How each is measured: as fast as that goes with a few of each sender on their way, and at a fixed rate in all.
const PACES: [(&str, Pace); 2] = [
    ("4-outstanding-each", Pace::Outstanding(4)),
    ("2000-per-s", Pace::Rate(2_000.0 / SENDERS as f64)),
];

impl Bout<'_> {
    /// All cases. Figures are per message, however many hear it.
    pub(crate) fn nodes(&mut self, redis: Option<u32>) -> anyhow::Result<()> {
        for case in CASES {
            let first = self.fleet.conns().len();
            let count = self.populate(first, case)?;
            let (name, to, _) = case;
            let (speech, silent, hearers) = match to {
                To::Reader => (Speech::Direct { before: SENDERS }, first + SENDERS, 1),
                To::Room => (Speech::Publish, first, count / SENDERS),
            };
            let heard = (silent..first + count).map(|member| Some((member - silent) % SENDERS));
            let rooms = Rooms::new((0..silent).map(|_| None).chain(heard));
            self.warm(&rooms, speech).context(name)?;
            for (what, pace) in PACES {
                self.crossing(
                    &format!("{name} {what}"),
                    (&rooms, speech, pace),
                    hearers,
                    redis,
                )?;
            }
        }
        Ok(())
    }

    /// Connects the members of a case, and says how many they are. Who is written to by name is in a room of its number.
    fn populate(&mut self, first: usize, (_, to, places): Case) -> anyhow::Result<usize> {
        let mut number = first;
        for (node, count) in places {
            let server = self.servers.get(*node).context("a node")?;
            let members = number..number + count;
            number = members.end;
            let members = members.map(|number| Member {
                number,
                room: match to {
                    To::Reader => number,
                    To::Room => first + (number - first) % SENDERS,
                },
            });
            self.fleet.connect(server.address, &server.entry, members)?;
        }
        self.fleet.join()?;
        Ok(number - first)
    }

    fn crossing(
        &mut self,
        what: &str,
        (rooms, speech, pace): (&Rooms, Speech, Pace),
        hearers: usize,
        redis: Option<u32>,
    ) -> anyhow::Result<()> {
        let redis: Vec<_> = redis.into_iter().collect();
        let before = process::cpus(&redis)?;
        let pids = self.pids();
        let outcome = self.drive(rooms, speech, pace, &pids)?;
        let broker = process::cpus(&redis)?.saturating_sub(before);
        self.whole(&outcome).with_context(|| what.to_owned())?;
        let mut metrics = metrics(&outcome);
        let messages = outcome.counts.delivered.max(1) as f64 / hearers.max(1) as f64;
        // Who has no Redis does by itself what others have one for.
        let all = outcome.server.unwrap_or_default() + broker;
        metrics.insert(CPU.to_owned(), micros(all) / messages);
        if !redis.is_empty() {
            metrics.insert("redis_cpu_us".to_owned(), micros(broker) / messages);
        }
        self.note_all(what, metrics);
        Ok(())
    }
}
