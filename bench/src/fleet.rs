//! All connections of the generator, on one thread and one poll.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::conn::{Conn, Phase, Shared};
use crate::dialect::{self, Entry, Member};
use crate::handshake::Request;
use crate::inflate::Inflate;
use crate::link::Link;

/// More at a time are refused by careful servers, and one core serves no more at a time anyway.
const HANDSHAKES: usize = 128;
/// A server that says nothing for so long is taken for dead.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// When nothing has come for so long after everybody has joined, nothing is on its way.
const QUIET: Duration = Duration::from_millis(100);
/// All connections read into one buffer of this size.
const BUFFER: usize = 1 << 20;

/// All connections.
#[derive(Debug)]
pub struct Fleet {
    poll: Poll,
    events: Events,
    conns: Vec<Conn>,
    /// How many of them are in their rooms.
    joined: usize,
    shared: Shared,
    /// Time in polls that found nothing: what the generator had to spare.
    spare: Duration,
    runs: u64,
}

/// Who hears which connection has ended, and why, and whether that is an error.
pub type Cut<'a> = dyn FnMut(usize, anyhow::Error) -> anyhow::Result<()> + 'a;

/// Who hears of messages: of which connection, what, and when it was read.
pub type Listen<'a> = dyn FnMut(usize, &[u8], Instant) + 'a;

impl Fleet {
    /// Nobody yet.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            conns: Vec::new(),
            joined: 0,
            shared: Shared {
                buffer: vec![0; BUFFER],
                inflate: Inflate::default(),
            },
            spare: Duration::ZERO,
            runs: 0,
        })
    }

    /// Connects members, a bounded number at a time, and returns when the sessions of all stand.
    pub fn connect(
        &mut self,
        address: SocketAddr,
        entry: &Entry,
        members: impl Iterator<Item = Member>,
    ) -> anyhow::Result<()> {
        let mut members = members.peekable();
        let mut ready = self.conns.len();
        let mut heard = Instant::now();
        loop {
            while self.conns.len() - ready < HANDSHAKES
                && let Some(member) = members.next()
            {
                self.dial(address, entry, member)?;
            }
            if ready == self.conns.len() && members.peek().is_none() {
                return Ok(());
            }
            self.turn(Some(Duration::from_millis(100)), &mut |_, _, _| ())?;
            while self
                .conns
                .get(ready)
                .is_some_and(|conn| conn.phase() == Phase::Ready)
            {
                ready += 1;
                heard = Instant::now();
            }
            if heard.elapsed() > PATIENCE {
                let stuck = self
                    .conns
                    .get(ready)
                    .map(|conn| (&conn.member, conn.phase()));
                bail!("{ready} connections stand, then nothing for {PATIENCE:?}: {stuck:?}");
            }
        }
    }

    fn dial(&mut self, address: SocketAddr, entry: &Entry, member: Member) -> anyhow::Result<()> {
        let request = entry.request(&member)?;
        let conn = self.dialled(self.conns.len(), address, (entry, member), &request)?;
        self.conns.push(conn);
        Ok(())
    }

    /// Puts a new connection in the place of one that has ended or is not wanted any more.
    pub fn redial(
        &mut self,
        index: usize,
        address: SocketAddr,
        entry: &Entry,
        request: &Request,
    ) -> anyhow::Result<()> {
        let member = self.conn(index)?.member.clone();
        let conn = self.dialled(index, address, (entry, member), request)?;
        *self.conn(index)? = conn;
        Ok(())
    }

    fn dialled(
        &self,
        index: usize,
        address: SocketAddr,
        (entry, member): (&Entry, Member),
        request: &Request,
    ) -> anyhow::Result<Conn> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let mut conn = Conn::new(
            Link::new(stream, entry.tls.as_ref())?,
            member,
            entry.dialect,
            request.bytes(),
        );
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(conn.link.socket(), Token(index), both)?;
        Ok(conn)
    }

    /// One poll, and everything that it found. Without `wait` it blocks until there is something; with zero it looks. That a
    /// connection ends is an error.
    pub fn turn(&mut self, wait: Option<Duration>, listen: &mut Listen<'_>) -> anyhow::Result<()> {
        self.step(wait, listen, &mut |_, why| Err(why))
    }

    /// The same where connections may end: `cut` hears which, and why.
    pub fn step(
        &mut self,
        wait: Option<Duration>,
        listen: &mut Listen<'_>,
        cut: &mut Cut<'_>,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        // A poll that blocks costs nothing, one that only looks costs what it takes.
        if self.events.is_empty() && wait == Some(Duration::ZERO) {
            self.spare += began.elapsed();
        }
        for event in &self.events {
            let Token(index) = event.token();
            let Some(conn) = self.conns.get_mut(index) else {
                continue;
            };
            if event.is_writable()
                && let Err(error) = conn.flush()
            {
                let why = anyhow::Error::new(error);
                cut(index, why.context(format!("writing as {:?}", conn.member)))?;
                continue;
            }
            if event.is_readable() {
                let read = conn.read(&mut self.shared, &mut |message, now| {
                    listen(index, message, now);
                });
                let over = conn.phase() == Phase::Over;
                match read {
                    Err(why) => cut(index, why)?,
                    Ok(()) if over => {
                        cut(
                            index,
                            anyhow!("the server cut the connection of {:?}", conn.member),
                        )?;
                    }
                    Ok(()) => {}
                }
            }
        }
        Ok(())
    }

    /// Gets everybody who has come since the last time into their rooms, where that is not part of connecting.
    pub fn join(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let (mut asked, mut joined) = (self.joined, self.joined);
        while joined < self.conns.len() {
            while asked - joined < HANDSHAKES
                && let Some(conn) = self.conns.get_mut(asked)
            {
                asked += 1;
                match conn.dialect().join(&conn.member) {
                    Some(words) => conn.say(words.as_bytes())?,
                    None => joined += 1,
                }
            }
            let mut refused = None;
            if joined < asked {
                self.turn(Some(Duration::from_millis(100)), &mut |_, message, _| {
                    joined += usize::from(dialect::joined(message));
                    if dialect::contains(message, br#""type":"error""#) {
                        refused = Some(String::from_utf8_lossy(message).into_owned());
                    }
                })?;
            }
            if let Some(refused) = refused {
                bail!("a member may not join its room: {refused}");
            }
            if began.elapsed() > PATIENCE {
                bail!(
                    "{joined} of {} members are in their rooms after {PATIENCE:?}",
                    self.conns.len()
                );
            }
        }
        self.joined = joined;
        self.settle(QUIET)
    }

    /// The first number of a new run's messages, so that a straggler of an old one is not taken for one of its own.
    pub fn next_run(&mut self) -> u64 {
        self.runs += 1;
        self.runs * 1_000_000_000
    }

    /// Stops reading from a connection, as a stalled reader does; its kernel takes little in its place.
    pub fn stall(&mut self, index: usize) -> anyhow::Result<()> {
        let conn = self
            .conns
            .get_mut(index)
            .with_context(|| format!("there is no connection {index}"))?;
        socket2::SockRef::from(&*conn.link.socket()).set_recv_buffer_size(4096)?;
        Ok(self.poll.registry().deregister(conn.link.socket())?)
    }

    /// Turns until nothing has come for `quiet`.
    pub fn settle(&mut self, quiet: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut heard = began;
        while heard.elapsed() < quiet {
            if began.elapsed() > PATIENCE {
                bail!("the server does not come to rest within {PATIENCE:?}");
            }
            self.turn(Some(quiet), &mut |_, _, now| heard = now)?;
        }
        Ok(())
    }

    /// All connections.
    pub fn conns(&self) -> &[Conn] {
        &self.conns
    }

    /// A connection to speak on.
    pub fn conn(&mut self, index: usize) -> anyhow::Result<&mut Conn> {
        self.conns
            .get_mut(index)
            .with_context(|| format!("there is no connection {index}"))
    }

    /// How many heartbeats all of them have answered.
    pub fn heartbeats(&self) -> u64 {
        self.conns.iter().map(Conn::heartbeats).sum()
    }

    /// How long the generator has looked at nothing: what it had to spare.
    pub fn spare(&self) -> Duration {
        self.spare
    }
}
