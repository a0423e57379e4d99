//! The scenarios, and all of them over all servers, interleaved: whatever else the machine does meets everybody.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::ValueEnum;

use crate::dialect::Member;
use crate::drive::{Outcome, Plan, Rooms, Speech, drive};
use crate::fleet::Fleet;
use crate::pacer::Pace;
use crate::peer::{Extra, Peer, Place, Server};
use crate::process;
use crate::sample::{Results, Sample, metrics, micros};

/// What is done with a server from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// 1,000 in one group: connecting, memory, one publisher.
    #[value(name = "group-1k")]
    Group1k,
    /// The same with 10,000.
    #[value(name = "group-10k")]
    Group10k,
    /// 64 connections that get back what they say.
    Echo,
    /// 100 rooms of 100, each with its publisher.
    #[value(name = "rooms-100x100")]
    Rooms100x100,
    /// 1,000 rooms of 10.
    #[value(name = "rooms-1000x10")]
    Rooms1000x10,
    /// 200 in one group, first all of them readers, then one in twenty without a word not reading any more.
    Stalled,
    /// 1,000 in one group, by TLS.
    #[value(name = "tls-1k")]
    Tls1k,
    /// 1 KiB, compressed, to a group of 100.
    #[value(name = "deflate-100")]
    Deflate100,
    /// The same to 1,000.
    #[value(name = "deflate-1k")]
    Deflate1k,
}

/// How a suite is run.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Where.
    pub place: Place,
    /// Which scenarios.
    pub scenarios: Vec<Scenario>,
    /// Which servers.
    pub peers: Vec<Peer>,
    /// How often.
    pub repetitions: u32,
    /// How long each measurement is.
    pub lasts: Duration,
    /// Which source our gateway was built from.
    pub revision: String,
}

/// One server in one scenario.
struct Bout<'a> {
    server: Server,
    fleet: Fleet,
    name: String,
    peer: String,
    repetition: u32,
    lasts: Duration,
    size: usize,
    results: &'a mut Results,
}

/// With fewer connections, what a process takes once would count for more than what each holds.
const MANY: usize = 10_000;
/// Bytes of a message, unless a scenario says otherwise.
const SIZE: usize = 128;

impl Suite {
    /// Runs all of it. A server that fails is reported and the rest goes on.
    pub fn run(&self) -> Results {
        let mut results = Results::default();
        let (there, missing): (Vec<_>, Vec<_>) = self
            .peers
            .iter()
            .map(|peer| (*peer, peer.missing(&self.place)))
            .partition(|(_, why)| why.is_none());
        let missing = missing
            .into_iter()
            .filter_map(|(peer, why)| Some((peer.name(), why?)));
        results.missing.extend(missing);
        let mut port = 20_000;
        for repetition in 0..self.repetitions {
            for scenario in &self.scenarios {
                // Nobody is always the first, or always after the same one.
                let first = repetition as usize % there.len().max(1);
                for (peer, _) in there.iter().cycle().skip(first).take(there.len()) {
                    if !scenario.takes(*peer) {
                        continue;
                    }
                    // A port of its own each time: the last one's connections still wait out their time.
                    port = if port < 29_000 { port + 10 } else { 20_000 };
                    let began = Instant::now();
                    let done = self.bout(*scenario, *peer, (repetition, port), &mut results);
                    let name = format!("{} {} {}", scenario.name(), peer.name(), repetition + 1);
                    eprintln!("{name}: {:.1} s", began.elapsed().as_secs_f64());
                    if let Err(error) = done {
                        eprintln!("{name}: {error:#}");
                        results.failures.push(format!("{name}: {error:#}"));
                    }
                }
            }
        }
        results
    }

    fn bout(
        &self,
        scenario: Scenario,
        peer: Peer,
        (repetition, port): (u32, u16),
        results: &mut Results,
    ) -> anyhow::Result<()> {
        let server = peer.start(&self.place, port, scenario.extra())?;
        let version = match peer {
            Peer::Ours => format!(
                "wsc-gateway {} ({})",
                env!("CARGO_PKG_VERSION"),
                self.revision
            ),
            _ => server.version(),
        };
        results.versions.insert(peer.name(), version);
        let mut bout = Bout {
            server,
            fleet: Fleet::new()?,
            name: scenario.name(),
            peer: peer.name(),
            repetition,
            lasts: self.lasts,
            size: SIZE,
            results,
        };
        match scenario {
            Scenario::Group1k => bout.group(1_000, &[1, 8, 32], &[50.0, 100.0]),
            Scenario::Group10k => bout.group(10_000, &[1, 8], &[5.0]),
            Scenario::Tls1k => bout.group(1_000, &[1, 8], &[]),
            Scenario::Echo => bout.echo(64, &[500.0, 10_000.0]),
            Scenario::Rooms100x100 => bout.rooms(100, 100),
            Scenario::Rooms1000x10 => bout.rooms(1_000, 10),
            Scenario::Stalled => bout.stalled(200, 200.0),
            Scenario::Deflate100 => bout.compressed(100),
            Scenario::Deflate1k => bout.compressed(1_000),
        }
    }
}

impl Scenario {
    /// What is on beside the plain exchange.
    fn extra(self) -> Extra {
        match self {
            Self::Tls1k => Extra::Tls,
            Self::Deflate100 | Self::Deflate1k => Extra::Deflate,
            Self::Group1k
            | Self::Group10k
            | Self::Echo
            | Self::Rooms100x100
            | Self::Rooms1000x10
            | Self::Stalled => Extra::Nothing,
        }
    }

    /// Whether a server takes part: the bare loop has one room, and waits for whoever does not read.
    fn takes(self, peer: Peer) -> bool {
        let many = matches!(
            self,
            Self::Rooms100x100 | Self::Rooms1000x10 | Self::Stalled
        );
        peer.offers(self.extra()) && !(peer == Peer::Bare && many)
    }

    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Bout<'_> {
    fn group(
        &mut self,
        members: usize,
        outstanding: &[usize],
        rates: &[f64],
    ) -> anyhow::Result<()> {
        self.connect(members, 1)?;
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

    fn echo(&mut self, members: usize, rates: &[f64]) -> anyhow::Result<()> {
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

    fn rooms(&mut self, rooms: usize, members: usize) -> anyhow::Result<()> {
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

    fn compressed(&mut self, members: usize) -> anyhow::Result<()> {
        self.size = 1024;
        self.group(members, &[1, 8], &[])
    }

    /// How the others fare when one in twenty stops reading, at a rate that everybody keeps up with.
    fn stalled(&mut self, members: usize, rate: f64) -> anyhow::Result<()> {
        self.size = 4096;
        self.lasts *= 4;
        self.connect(members, 1)?;
        let stalls = |member: usize| member % 20 == 19;
        let rooms = Rooms::new((0..members).map(|_| Some(0)));
        self.warm(&rooms, Speech::Publish)?;
        self.measure("all-read", &rooms, Speech::Publish, Pace::Rate(rate))?;
        for member in (0..members).filter(|member| stalls(*member)) {
            self.fleet.stall(member)?;
        }
        let before = process::memory(self.server.pid())?;
        let rooms = Rooms::new((0..members).map(|member| (!stalls(member)).then_some(0)));
        self.measure("5%-stalled", &rooms, Speech::Publish, Pace::Rate(rate))?;
        let grown = process::memory(self.server.pid())?.saturating_sub(before);
        let each = grown as f64 / (members / 20) as f64;
        self.note("5%-stalled, each of them", [("user_bytes", each)]);
        Ok(())
    }

    /// Connects everybody, and notes what that took and what they hold while they say nothing.
    fn connect(&mut self, members: usize, rooms: usize) -> anyhow::Result<()> {
        let pid = self.server.pid();
        let (cpu, before) = (
            process::cpu(pid)?,
            (process::memory(pid)?, process::kernel_memory()?),
        );
        let began = Instant::now();
        let all = (0..members).map(|number| Member {
            number,
            room: number % rooms,
        });
        self.fleet
            .connect(self.server.address, &self.server.entry, all)?;
        let (elapsed, cpu) = (began.elapsed(), process::cpu(pid)?.saturating_sub(cpu));
        self.note(
            "connect",
            [
                ("cpu_us", micros(cpu) / members as f64),
                ("per_s", members as f64 / elapsed.as_secs_f64()),
                ("server_cores", cpu.as_secs_f64() / elapsed.as_secs_f64()),
            ],
        );
        if members >= MANY {
            self.idle(members, before)?;
        }
        self.fleet.join()
    }

    /// Notes what connections hold that say nothing.
    fn idle(&mut self, members: usize, before: (u64, u64)) -> anyhow::Result<()> {
        // Collectors and allocators give back what the handshakes took, if they do.
        self.fleet.settle(Duration::from_secs(1))?;
        let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / members as f64;
        let (memory, kernel) = (
            process::memory(self.server.pid())?,
            process::kernel_memory()?,
        );
        let (memory, kernel) = (each(memory, before.0), each(kernel, before.1));
        self.note(
            "idle",
            [("user_bytes", memory), ("kernel_both_ends_bytes", kernel)],
        );
        Ok(())
    }

    /// Lets compilers and pools get going.
    fn warm(&mut self, rooms: &Rooms, speech: Speech) -> anyhow::Result<()> {
        let plan = Plan {
            speech,
            pace: Pace::Outstanding(1),
            lasts: self.lasts / 4,
            size: self.size,
        };
        let outcome = drive(&mut self.fleet, rooms, plan, None)?;
        self.whole(&outcome)
    }

    fn measure(
        &mut self,
        what: &str,
        rooms: &Rooms,
        speech: Speech,
        pace: Pace,
    ) -> anyhow::Result<()> {
        let plan = Plan {
            speech,
            pace,
            lasts: self.lasts,
            size: self.size,
        };
        let outcome = drive(&mut self.fleet, rooms, plan, Some(self.server.pid()))?;
        self.whole(&outcome).with_context(|| what.to_owned())?;
        self.note_all(what, metrics(&outcome));
        Ok(())
    }

    /// What was lost ends the bout: the next run would count from a state that nobody knows.
    fn whole(&mut self, outcome: &Outcome) -> anyhow::Result<()> {
        if let Some(stray) = &outcome.stray {
            self.results.strays.insert(self.peer.clone(), stray.clone());
        }
        let counts = outcome.counts;
        anyhow::ensure!(
            counts.lost == 0 && counts.repeated == 0,
            "not what was sent: {counts:?}, {:?}",
            outcome.stray
        );
        Ok(())
    }

    fn note<const N: usize>(&mut self, what: &str, metrics: [(&str, f64); N]) {
        self.note_all(
            what,
            metrics.map(|(name, value)| (name.to_owned(), value)).into(),
        );
    }

    fn note_all(&mut self, what: &str, metrics: std::collections::BTreeMap<String, f64>) {
        self.results.samples.push(Sample {
            scenario: format!("{} {what}", self.name),
            peer: self.peer.clone(),
            repetition: self.repetition,
            metrics,
        });
    }
}
