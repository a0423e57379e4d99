//! Connections that are only held, by processes of their own: one may have only so many files open.
//!
//! A holder says `ready` when all its sessions stand, answers each line by how many heartbeats it has answered, and goes
//! when its input ends.

use std::io::{BufReader, Write as _};
use std::net::SocketAddr;
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::ValueEnum as _;

use crate::dialect::{Entry, Member};
use crate::fleet::Fleet;
use crate::peer::Server;

/// How long it may take until all of a holder's sessions stand. A server that says nothing ends it sooner.
const STANDS: Duration = Duration::from_mins(3);
/// How long it may take to count.
const COUNTS: Duration = Duration::from_secs(10);
/// The variable that has the key of tokens: arguments can be read by everybody.
pub const KEY: &str = "WSC_BENCH_JWT_KEY";

/// Holds them until the input ends.
pub fn hold(address: SocketAddr, entry: &Entry, members: Range<usize>) -> anyhow::Result<()> {
    let mut fleet = Fleet::new()?;
    let members = members.map(|number| Member { number, room: 0 });
    fleet.connect(address, entry, members)?;
    println!("ready");
    let (asks, asked) = sync_channel(1);
    std::thread::spawn(move || pass_on(std::io::stdin().lock(), &asks));
    loop {
        fleet.turn(Some(Duration::from_millis(100)), &mut |_, _, _| ())?;
        match asked.try_recv() {
            Ok(_) => println!("{}", fleet.heartbeats()),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Ok(()),
        }
    }
}

fn pass_on(lines: impl std::io::BufRead, to: &SyncSender<String>) {
    for line in lines.lines() {
        let Ok(line) = line else { return };
        if to.send(line).is_err() {
            return;
        }
    }
}

/// A holder that runs; it ends with this value.
#[derive(Debug)]
pub(crate) struct Holder {
    child: Child,
    lines: Receiver<String>,
}

impl Holder {
    /// Starts to connect these members.
    pub(crate) fn start(server: &Server, members: &Range<usize>) -> anyhow::Result<Self> {
        let entry = &server.entry;
        let dialect = entry.dialect.to_possible_value().context("a dialect")?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["hold", "--dialect", dialect.get_name()])
            .args(["--address", &server.address.to_string()])
            .args(["--first", &members.start.to_string()])
            .args(["--connections", &members.len().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(key) = &entry.key {
            command.env(KEY, key);
        }
        let mut child = command.spawn().context("starting a holder")?;
        let out = child.stdout.take().context("a holder's output")?;
        let (to, lines) = sync_channel(4);
        std::thread::spawn(move || pass_on(BufReader::new(out), &to));
        Ok(Self { child, lines })
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until all stand.
    pub(crate) fn ready(&self) -> anyhow::Result<()> {
        let line = self
            .lines
            .recv_timeout(STANDS)
            .context("a holder ended, or its sessions do not stand in time")?;
        ensure!(line == "ready", "a holder said {line:?}");
        Ok(())
    }

    /// How many heartbeats it has answered.
    pub(crate) fn heartbeats(&mut self) -> anyhow::Result<u64> {
        let input = self.child.stdin.as_mut().context("a holder's input")?;
        writeln!(input, "heartbeats").context("a holder is gone")?;
        let line = self
            .lines
            .recv_timeout(COUNTS)
            .context("a holder has ended: a connection was cut")?;
        line.parse()
            .with_context(|| format!("a holder said {line:?}"))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
