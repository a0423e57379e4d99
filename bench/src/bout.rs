//! One server in one scenario: what is done with it, step by step, and what is noted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::dialect::Member;
use crate::drive::{Outcome, Plan, Rooms, Speech, drive};
use crate::extra::Extra;
use crate::fleet::Fleet;
use crate::pacer::Pace;
use crate::peer::{Peer, Place, Server};
use crate::process;
use crate::sample::{Results, Sample, metrics, micros};

/// One server in one scenario.
pub(crate) struct Bout<'a> {
    /// The servers: one, or the nodes of a cluster.
    pub(crate) servers: Vec<Server>,
    pub(crate) fleet: Fleet,
    pub(crate) name: String,
    pub(crate) peer: String,
    pub(crate) repetition: u32,
    pub(crate) lasts: Duration,
    pub(crate) size: usize,
    /// Which source our gateway was built from.
    pub(crate) revision: String,
    pub(crate) results: &'a mut Results,
}

/// With fewer connections, what a process takes once would count for more than what each holds.
const MANY: usize = 10_000;
/// Nobody has said anything for so long before memory is looked at.
const SETTLED: Duration = Duration::from_secs(2);
/// The repetitions in which it is looked at.
const WEIGHED: u32 = 2;
/// Bytes of a message, unless a scenario says otherwise.
pub(crate) const SIZE: usize = 128;

impl Bout<'_> {
    /// Starts a server, and notes what it says of its version.
    pub(crate) fn start(
        &mut self,
        peer: Peer,
        place: &Place,
        port: u16,
        extra: Extra,
    ) -> anyhow::Result<()> {
        let server = peer.start(place, port, extra)?;
        let version = match peer {
            Peer::Ours => {
                let ours = env!("CARGO_PKG_VERSION");
                format!("wsc-gateway {ours} ({})", self.revision)
            }
            _ => server.version(),
        };
        let (name, results) = (peer.name(), &mut *self.results);
        results.versions.insert(name.clone(), version);
        let (command, more) = server.started.clone();
        if !more.is_empty() {
            let name = format!("{name} {}", extra.name());
            results.configurations.entry(name).or_insert(more);
        }
        results.configurations.entry(name).or_insert(command);
        self.servers.push(server);
        Ok(())
    }

    pub(crate) fn group(
        &mut self,
        members: usize,
        outstanding: &[usize],
        rates: &[f64],
    ) -> anyhow::Result<()> {
        let before = (process::memory(self.pid()?)?, process::kernel_memory()?);
        self.connect(members, 1)?;
        // Bytes hardly differ between repetitions, and their wait is long.
        if members >= MANY && self.repetition < WEIGHED {
            self.idle(members, before)?;
        }
        let rooms = Rooms::new((0..members).map(|_| Some(0)));
        self.warm(&rooms, Speech::Publish)?;
        for most in outstanding {
            let pace = Pace::Outstanding(*most);
            self.measure(
                &format!("{most}-outstanding"),
                &rooms,
                Speech::Publish,
                pace,
            )?;
        }
        for rate in rates {
            self.measure(
                &format!("{rate}-per-s"),
                &rooms,
                Speech::Publish,
                Pace::Rate(*rate),
            )?;
        }
        Ok(())
    }

    pub(crate) fn echo(&mut self, members: usize, rates: &[f64]) -> anyhow::Result<()> {
        self.connect(members, members)?;
        let rooms = Rooms::new((0..members).map(Some));
        self.warm(&rooms, Speech::Echo)?;
        self.measure(
            "1-outstanding-each",
            &rooms,
            Speech::Echo,
            Pace::Outstanding(1),
        )?;
        for rate in rates {
            let pace = Pace::Rate(rate / members as f64);
            self.measure(&format!("{rate}-per-s"), &rooms, Speech::Echo, pace)?;
        }
        Ok(())
    }

    pub(crate) fn rooms(&mut self, rooms: usize, members: usize) -> anyhow::Result<()> {
        self.connect(rooms * members, rooms)?;
        let rooms = Rooms::new((0..rooms * members).map(|member| Some(member % rooms)));
        self.warm(&rooms, Speech::Publish)?;
        self.measure(
            "1-outstanding-each",
            &rooms,
            Speech::Publish,
            Pace::Outstanding(1),
        )
    }

    pub(crate) fn compressed(&mut self, members: usize) -> anyhow::Result<()> {
        self.size = 1024;
        self.group(members, &[1, 8], &[])
    }

    /// How the others fare when one in twenty stops reading, at a rate that everybody keeps up with.
    pub(crate) fn stalled(&mut self, members: usize, rate: f64) -> anyhow::Result<()> {
        self.size = 4096;
        self.lasts *= 2;
        self.connect(members, 1)?;
        let stalls = |member: usize| member % 20 == 19;
        let rooms = Rooms::new((0..members).map(|_| Some(0)));
        self.warm(&rooms, Speech::Publish)?;
        self.measure("all-read", &rooms, Speech::Publish, Pace::Rate(rate))?;
        self.lasts *= 2;
        for member in (0..members).filter(|member| stalls(*member)) {
            self.fleet.stall(member)?;
        }
        let before = process::memory(self.pid()?)?;
        let rooms = Rooms::new((0..members).map(|member| (!stalls(member)).then_some(0)));
        self.measure("5%-stalled", &rooms, Speech::Publish, Pace::Rate(rate))?;
        let grown = process::memory(self.pid()?)?.saturating_sub(before);
        let each = grown as f64 / (members / 20) as f64;
        self.note("5%-stalled, each of them", [("user_bytes", each)]);
        Ok(())
    }

    /// Connects everybody and gets them into their rooms.
    fn connect(&mut self, members: usize, rooms: usize) -> anyhow::Result<()> {
        self.arrive(members, rooms)?;
        self.fleet.join()
    }

    /// Connects as many twice, and notes what that took the second time: compilers and pools have got going by then.
    pub(crate) fn arrive_again(&mut self, members: usize) -> anyhow::Result<()> {
        let first = self.servers.first().context("a server")?;
        let all = (0..members).map(|number| Member { number, room: 0 });
        self.fleet.connect(first.address, &first.entry, all)?;
        self.arrive(members, 1)
    }

    /// Connects so many, and notes what that took.
    pub(crate) fn arrive(&mut self, members: usize, rooms: usize) -> anyhow::Result<()> {
        let pid = self.pid()?;
        let (cpu, own) = (process::cpu(pid)?, process::cpu(std::process::id())?);
        let began = Instant::now();
        let already = self.fleet.conns().len();
        let all = (0..members).map(|number| Member {
            number: already + number,
            room: number % rooms,
        });
        let first = self.servers.first().context("a server")?;
        self.fleet.connect(first.address, &first.entry, all)?;
        let (elapsed, cpu) = (began.elapsed(), process::cpu(pid)?.saturating_sub(cpu));
        let own = process::cpu(std::process::id())?.saturating_sub(own);
        self.note(
            "connect",
            [
                ("cpu_us", micros(cpu) / members as f64),
                ("per_s", members as f64 / elapsed.as_secs_f64()),
                ("server_cores", cpu.as_secs_f64() / elapsed.as_secs_f64()),
                ("generator_cores", own.as_secs_f64() / elapsed.as_secs_f64()),
            ],
        );
        Ok(())
    }

    /// Notes what connections hold that say nothing.
    fn idle(&mut self, members: usize, before: (u64, u64)) -> anyhow::Result<()> {
        // Collectors and allocators give back what the handshakes took, if they do.
        self.fleet.settle(SETTLED)?;
        let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / members as f64;
        let (memory, kernel) = (process::memory(self.pid()?)?, process::kernel_memory()?);
        let (memory, kernel) = (each(memory, before.0), each(kernel, before.1));
        self.note(
            "idle",
            [("user_bytes", memory), ("kernel_both_ends_bytes", kernel)],
        );
        Ok(())
    }

    /// Lets compilers and pools get going.
    pub(crate) fn warm(&mut self, rooms: &Rooms, speech: Speech) -> anyhow::Result<()> {
        let plan = Plan {
            speech,
            pace: Pace::Outstanding(1),
            lasts: self.lasts / 4,
            size: self.size,
        };
        let outcome = drive(&mut self.fleet, rooms, plan, &[])?;
        self.whole(&outcome)
    }

    fn measure(
        &mut self,
        what: &str,
        rooms: &Rooms,
        speech: Speech,
        pace: Pace,
    ) -> anyhow::Result<()> {
        let outcome = self.drive(rooms, speech, pace, &self.pids())?;
        self.whole(&outcome).with_context(|| what.to_owned())?;
        self.note_all(what, metrics(&outcome));
        Ok(())
    }

    pub(crate) fn drive(
        &mut self,
        rooms: &Rooms,
        speech: Speech,
        pace: Pace,
        pids: &[u32],
    ) -> anyhow::Result<Outcome> {
        let plan = Plan {
            speech,
            pace,
            lasts: self.lasts,
            size: self.size,
        };
        drive(&mut self.fleet, rooms, plan, pids)
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.servers.iter().map(Server::pid).collect()
    }

    fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.servers.first().context("a server")?.pid())
    }

    /// What was lost ends the bout: the next run would count from a state that nobody knows.
    pub(crate) fn whole(&mut self, outcome: &Outcome) -> anyhow::Result<()> {
        if let Some(stray) = &outcome.stray {
            self.results.strays.insert(self.peer.clone(), stray.clone());
        }
        let counts = outcome.counts;
        anyhow::ensure!(
            counts.delivered > 0,
            "nothing was sent: the generator was kept from its core all the time"
        );
        anyhow::ensure!(
            counts.lost == 0 && counts.repeated == 0,
            "not what was sent: {counts:?}, {:?}",
            outcome.stray
        );
        Ok(())
    }

    pub(crate) fn note<const N: usize>(&mut self, what: &str, metrics: [(&str, f64); N]) {
        self.note_all(
            what,
            metrics.map(|(name, value)| (name.to_owned(), value)).into(),
        );
    }

    pub(crate) fn note_all(&mut self, what: &str, metrics: BTreeMap<String, f64>) {
        self.results.samples.push(Sample {
            scenario: format!("{} {what}", self.name),
            peer: self.peer.clone(),
            repetition: self.repetition,
            metrics,
        });
    }
}
