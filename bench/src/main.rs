//! `wsc-bench`: arguments, one command.

// Counts of connections and rooms are far below where an f64 loses a unit.
#![allow(clippy::cast_precision_loss)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum as _};
use wsc_bench::dialect::{Dialect, Entry, Member};
use wsc_bench::drive::{Plan, Rooms, Speech, drive};
use wsc_bench::fleet::Fleet;
use wsc_bench::handshake::Deflate;
use wsc_bench::pacer::Pace;
use wsc_bench::peer::{self, Peer, Place};
use wsc_bench::sample::{Results, metrics};
use wsc_bench::suite::{Scenario, Suite};
use wsc_bench::{bare, hold, plot, report};

/// Measures WebSocket servers.
#[derive(Debug, Parser)]
#[command(version)]
enum Command {
    /// All servers through all scenarios; `make bench` calls this in a network namespace of its own.
    Run(RunArguments),
    /// Prints the report of a results.json.
    Report {
        /// The file.
        file: PathBuf,
    },
    /// One run against a server of your own.
    #[command(subcommand)]
    Load(Load),
    /// Connects and holds on until its input ends, answering each line by how many heartbeats it has answered: many of these
    /// hold more connections than a process may have.
    Hold(HoldArguments),
    /// Serves the bare send loop.
    Bare {
        /// The port on loopback.
        port: u16,
    },
}

#[derive(Debug, Parser)]
struct RunArguments {
    /// The gateway's binary.
    #[arg(long)]
    gateway: PathBuf,
    /// The folder that bench/setup has filled.
    #[arg(long)]
    peers_dir: PathBuf,
    /// Where results.json, report.txt and the servers' logs go.
    #[arg(long)]
    out: PathBuf,
    /// The core that servers are kept on.
    #[arg(long, default_value = "0")]
    server_core: String,
    /// Which source the gateway was built from, for the report.
    #[arg(long, default_value = "of unknown source")]
    revision: String,
    /// Which servers, all by default.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Which scenarios, all but rooms-1000x10 by default.
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<Scenario>,
    /// How often all of it is done.
    #[arg(long, default_value_t = 5)]
    repetitions: u32,
    /// No repetition begins that would probably end later than so many minutes after the start.
    #[arg(long, default_value_t = 19)]
    minutes: u64,
    /// How many connections `idle-50k` holds.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=70_000))]
    idle_connections: u32,
    /// How many milliseconds each measurement lasts.
    #[arg(long, default_value_t = 300)]
    lasts_ms: u64,
}

#[derive(Debug, clap::Args)]
struct HoldArguments {
    /// Where the server listens.
    #[arg(long)]
    address: SocketAddr,
    /// The server's language.
    #[arg(long)]
    dialect: Dialect,
    /// The key that signs tokens for a gateway; without it, users are named in the query.
    #[arg(long, env = hold::KEY, hide_env_values = true)]
    jwt_key: Option<String>,
    /// The number of the first user.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// How many connect.
    #[arg(long)]
    connections: usize,
}

#[derive(Debug, Subcommand)]
enum Load {
    /// One publisher to everyone in its room.
    FanOut(LoadArguments),
    /// Each connection gets back what it says.
    Echo(LoadArguments),
}

#[derive(Debug, clap::Args)]
struct LoadArguments {
    /// Where the server listens.
    #[arg(long)]
    address: SocketAddr,
    /// The server's language.
    #[arg(long)]
    dialect: Dialect,
    /// The path of the handshake, if it is not the usual one.
    #[arg(long, default_value = "")]
    path: String,
    /// The key that signs tokens for a gateway; without it, users are named in the query.
    #[arg(long, env = "WSC_BENCH_JWT_KEY", hide_env_values = true)]
    jwt_key: Option<String>,
    /// How many connect.
    #[arg(long, default_value_t = 1000)]
    connections: usize,
    /// How many rooms they are in.
    #[arg(long, default_value_t = 1)]
    rooms: usize,
    /// How many messages are on their way at a time in each room.
    #[arg(long, default_value_t = 1, conflicts_with = "rate")]
    outstanding: usize,
    /// How many messages a second in all, whether the server keeps up or not.
    #[arg(long)]
    rate: Option<f64>,
    /// Bytes of a message.
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// How many seconds.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// The server's process, to count its CPU.
    #[arg(long)]
    pid: Option<u32>,
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Run(arguments) => arguments.run(),
        Command::Report { file } => {
            let results: Results = serde_json::from_slice(&std::fs::read(&file)?)
                .with_context(|| file.display().to_string())?;
            print!("{}", report::text(&results));
            Ok(())
        }
        Command::Load(Load::FanOut(arguments)) => arguments.load(Speech::Publish),
        Command::Load(Load::Echo(arguments)) => arguments.load(Speech::Echo),
        Command::Hold(arguments) => arguments.hold(),
        Command::Bare { port } => bare::serve(port),
    }
}

impl RunArguments {
    fn run(self) -> anyhow::Result<()> {
        let scratch = self.out.join("scratch");
        std::fs::create_dir_all(&scratch)?;
        let or_all = |some: Vec<Peer>| {
            if some.is_empty() {
                Peer::value_variants().to_vec()
            } else {
                some
            }
        };
        let suite = Suite {
            place: Place {
                gateway: self
                    .gateway
                    .canonicalize()
                    .with_context(|| self.gateway.display().to_string())?,
                peers: self
                    .peers_dir
                    .canonicalize()
                    .with_context(|| self.peers_dir.display().to_string())?,
                trust: peer::secrets(&scratch)?,
                scratch,
                core: self.server_core,
            },
            scenarios: if self.scenarios.is_empty() {
                Scenario::USUAL.to_vec()
            } else {
                self.scenarios
            },
            peers: or_all(self.peers),
            repetitions: self.repetitions,
            idle: usize::try_from(self.idle_connections)?,
            revision: self.revision,
            limit: Duration::from_secs(self.minutes * 60),
            lasts: Duration::from_millis(self.lasts_ms),
        };
        let results = suite.run();
        std::fs::write(
            self.out.join("results.json"),
            serde_json::to_vec_pretty(&results)?,
        )?;
        for (name, svg) in plot::all(&results) {
            std::fs::write(self.out.join(name), svg)?;
        }
        let text = report::text(&results);
        std::fs::write(self.out.join("report.txt"), &text)?;
        print!("{text}");
        Ok(())
    }
}

impl HoldArguments {
    fn hold(self) -> anyhow::Result<()> {
        let entry = Entry {
            dialect: self.dialect,
            path: String::new(),
            key: self.jwt_key,
            deflate: Deflate::No,
            tls: None,
        };
        let members = self.first..self.first + self.connections;
        hold::hold(self.address, &entry, members)
    }
}

impl LoadArguments {
    fn load(self, speech: Speech) -> anyhow::Result<()> {
        let rooms = match speech {
            Speech::Publish => self.rooms.max(1),
            Speech::Echo | Speech::Direct { .. } | Speech::Store { .. } => self.connections,
        };
        let pace = match self.rate {
            Some(rate) => Pace::Rate(rate / rooms as f64),
            None => Pace::Outstanding(self.outstanding),
        };
        let entry = Entry {
            dialect: self.dialect,
            path: self.path,
            key: self.jwt_key,
            deflate: Deflate::No,
            tls: None,
        };
        let mut fleet = Fleet::new()?;
        let room = |number| number % rooms;
        fleet.connect(
            self.address,
            &entry,
            (0..self.connections).map(|number| Member {
                number,
                room: room(number),
            }),
        )?;
        if speech == Speech::Publish {
            fleet.join()?;
        }
        let plan = Plan {
            speech,
            pace,
            lasts: Duration::from_secs_f64(self.seconds),
            size: self.size,
        };
        let rooms = Rooms::new((0..self.connections).map(|number| Some(room(number))));
        let outcome = drive(&mut fleet, &rooms, plan, self.pid.as_slice())?;
        println!("{}", serde_json::to_string_pretty(&metrics(&outcome))?);
        if let Some(stray) = outcome.stray {
            println!("the server said something that was no message: {stray}");
        }
        Ok(())
    }
}
