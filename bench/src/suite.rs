//! The scenarios, and all of them over all servers, interleaved: whatever else the machine does meets everybody.

use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::bout::{Bout, SIZE};
use crate::extra::{Acceptance, Extra, nodes};
use crate::fleet::Fleet;
use crate::idle;
use crate::machine::machine;
use crate::peer::{NODE_PORTS, PORTS, Peer, Place};
use crate::redis::{self, Keep, Redis};
use crate::sample::Results;

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
    /// 64 senders with a reader each, then 64 publishers with a room each, on one node, two and three.
    Nodes,
    /// 64 senders of messages that are stored, with each acceptance level, and what a bare append costs.
    Durable,
    /// 50,000 connections, or as many as asked for, that say nothing: memory, and what heartbeats cost.
    #[value(name = "idle-50k")]
    Idle50k,
    /// 1,000 who come back while each server is ended and started anew.
    Restart,
    /// 1,000 who connect to servers that ask nobody for a token.
    #[value(name = "connect-1k")]
    Connect1k,
    /// 1,000 who connect with a token, to servers that check it.
    #[value(name = "connect-token-1k")]
    ConnectToken1k,
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
    /// No repetition begins that would probably end later than so long after the start.
    pub limit: Duration,
    /// How many connections there are where they are only held.
    pub idle: usize,
    /// Which source our gateway was built from.
    pub revision: String,
}

impl Suite {
    /// Runs all of it. A server that fails is reported and the rest goes on.
    pub fn run(&self) -> Results {
        let mut results = Results {
            machine: machine(),
            configurations: [("generator".to_owned(), self.configuration())].into(),
            ..Results::default()
        };
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
        let started = Instant::now();
        let mut last = Duration::ZERO;
        for repetition in 0..self.repetitions {
            let whole = Instant::now();
            if started.elapsed() + last > self.limit {
                let of = self.repetitions;
                let why = format!(
                    "{repetition} repetitions of {of}: another would take longer than {:?}",
                    self.limit
                );
                results.failures.push(why);
                break;
            }
            for scenario in &self.scenarios {
                // Nobody is always the first, or always after the same one.
                let first = repetition as usize % there.len().max(1);
                for (peer, _) in there.iter().cycle().skip(first).take(there.len()) {
                    if !scenario.takes(*peer) || repetition >= scenario.most(*peer) {
                        continue;
                    }
                    // A port of its own each time: the last one's connections still wait out their time.
                    port = if port < 29_000 { port + PORTS } else { 20_000 };
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
            last = whole.elapsed();
            eprintln!("repetition {}: {:.0} s", repetition + 1, last.as_secs_f64());
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
        if scenario == Scenario::Durable {
            return self.durable(peer, (repetition, port), results);
        }
        let extra = scenario.extra();
        let keep = match (scenario, peer) {
            (Scenario::Nodes, Peer::Ours | Peer::Centrifuge) => Some(Keep::Nothing),
            (Scenario::Restart, Peer::Ours) => Some(Keep::Log),
            _ => None,
        };
        let redis = keep
            .map(|keep| self.redis(port, keep, results))
            .transpose()?;
        let mut bout = self.prepare(scenario, peer, repetition, results)?;
        if scenario != Scenario::Restart {
            bout.start(peer, &self.place, port, extra)?;
        }
        match scenario {
            Scenario::Connect1k | Scenario::ConnectToken1k => bout.arrive_again(1_000),
            Scenario::Group1k => bout.group(1_000, &[1, 8, 32], &[50.0, 100.0]),
            Scenario::Group10k => bout.group(10_000, &[1, 8], &[5.0]),
            Scenario::Tls1k => bout.group(1_000, &[1, 8], &[]),
            Scenario::Echo => bout.echo(64, &[500.0, 10_000.0]),
            Scenario::Rooms100x100 => bout.rooms(100, 100),
            Scenario::Rooms1000x10 => bout.rooms(1_000, 10),
            Scenario::Nodes => {
                for port in nodes(port).skip(1) {
                    bout.start(peer, &self.place, port, extra)?;
                }
                bout.nodes(redis.as_ref().map(Redis::pid))
            }
            Scenario::Stalled => bout.stalled(200, 200.0),
            Scenario::Deflate100 => bout.compressed(100),
            Scenario::Deflate1k => bout.compressed(1_000),
            Scenario::Idle50k => {
                for more in 1..idle::servers(self.idle) {
                    let port = port + u16::try_from(more)? * NODE_PORTS;
                    bout.start(peer, &self.place, port, extra)?;
                }
                bout.held(self.idle)
            }
            Scenario::Restart => {
                // A cluster where a server has that; others are one process.
                let count = if peer == Peer::Ours { usize::MAX } else { 1 };
                let ports: Vec<_> = nodes(port).take(count).collect();
                bout.restart(peer, &self.place, &ports)
            }
            // They have returned above: what is beside them is of their own.
            Scenario::Durable => Ok(()),
        }
    }

    /// A Redis, with what the report says of it.
    fn redis(&self, port: u16, keep: Keep, results: &mut Results) -> anyhow::Result<Redis> {
        let redis = Redis::start(&self.place, port, keep)?;
        let name = match keep {
            Keep::Nothing => "redis",
            Keep::Log => "redis that keeps",
        };
        let started = redis.started.clone();
        results
            .configurations
            .entry(name.to_owned())
            .or_insert(started);
        results
            .versions
            .entry("redis".to_owned())
            .or_insert_with(redis::version);
        Ok(redis)
    }

    /// What the generator was told.
    fn configuration(&self) -> String {
        let Self {
            place,
            repetitions,
            lasts,
            limit,
            idle,
            ..
        } = self;
        format!(
            "servers on core {}, {repetitions} repetitions within {limit:?}, {lasts:?} a measurement, {SIZE} bytes a \
             message where nothing else is said, {idle} idle connections",
            place.core
        )
    }

    fn prepare<'a>(
        &self,
        scenario: Scenario,
        peer: Peer,
        repetition: u32,
        results: &'a mut Results,
    ) -> anyhow::Result<Bout<'a>> {
        Ok(Bout {
            servers: Vec::new(),
            fleet: Fleet::new()?,
            name: scenario.name(),
            peer: peer.name(),
            repetition,
            lasts: self.lasts,
            size: SIZE,
            revision: self.revision.clone(),
            results,
        })
    }

    /// One level after the other, each with servers of its own.
    fn durable(
        &self,
        peer: Peer,
        (repetition, port): (u32, u16),
        results: &mut Results,
    ) -> anyhow::Result<()> {
        for level in [Acceptance::None, Acceptance::Stored, Acceptance::Replicated] {
            let mut redis = Vec::new();
            if level != Acceptance::None {
                let primary = self.redis(port, Keep::Log, results)?;
                if level == Acceptance::Replicated {
                    redis.push(primary.replica(&self.place)?);
                }
                redis.insert(0, primary);
            }
            let mut bout = self.prepare(Scenario::Durable, peer, repetition, results)?;
            match (peer, level) {
                // Where nothing is appended there is no floor of it.
                (Peer::Bare, Acceptance::None) => {}
                (Peer::Bare, _) => bout.appended(level, &redis)?,
                _ => {
                    bout.start(peer, &self.place, port, Extra::Durable(level))?;
                    bout.durable(level, &redis)?;
                }
            }
        }
        Ok(())
    }
}

impl Scenario {
    /// Those of a run in which nobody asks for others: with the rest, five repetitions take longer than one waits.
    pub const USUAL: [Self; 14] = [
        Self::Connect1k,
        Self::ConnectToken1k,
        Self::Group1k,
        Self::Group10k,
        Self::Echo,
        Self::Rooms100x100,
        Self::Stalled,
        Self::Nodes,
        Self::Durable,
        Self::Tls1k,
        Self::Deflate100,
        Self::Deflate1k,
        Self::Idle50k,
        Self::Restart,
    ];

    /// In how many repetitions this peer takes part: what lasts long does in few, so that the others have theirs, and of the
    /// largest, those by whom the targets are set in all.
    const fn most(self, peer: Peer) -> u32 {
        match (self, peer) {
            (Self::Idle50k | Self::Restart, _) => 1,
            (Self::Group10k | Self::Rooms100x100, peer) if !peer.sets_targets() => 2,
            _ => u32::MAX,
        }
    }

    /// What is on beside the plain exchange.
    fn extra(self) -> Extra {
        match self {
            Self::Connect1k => Extra::Open,
            Self::ConnectToken1k => Extra::Token,
            Self::Tls1k => Extra::Tls,
            Self::Nodes => Extra::Nodes,
            Self::Idle50k => Extra::Heartbeats,
            Self::Restart => Extra::Leaving,
            Self::Durable => Extra::Durable(Acceptance::Stored),
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
