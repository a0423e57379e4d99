//! A rolling restart under load: each server in turn is told to go and started anew, while one publishes to everybody and
//! all who are told or cut come back as good clients do.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::bout::{Bout, SIZE};
use crate::conn::Phase;
use crate::dialect::{Dialect, Entry, Member, mark};
use crate::drive::LOST;
use crate::extra::Extra;
use crate::fleet::{Fleet, PATIENCE};
use crate::pacer::{Pace, Pacer};
use crate::peer::{Peer, Place};
use crate::returns::{Books, Dice, encoded, peak, pos, quantile};

/// How many there are, all in one group. The first publishes.
const CLIENTS: usize = 1_000;
/// How many messages a second.
const RATE: f64 = 20.0;
/// How long everybody is there before the first restart and after each.
const STEADY: Duration = Duration::from_secs(2);
/// How long a server may take to go, and to listen again.
const GOES: Duration = Duration::from_secs(90);
/// What is not accepted by then is said again, where a server knows repetitions.
const AGAIN: Duration = Duration::from_secs(3);
/// Longer than any run is.
const LASTS: Duration = Duration::from_hours(1);

/// Where a client is.
#[derive(Clone, Copy, Debug)]
enum State {
    Here,
    /// It has been told or cut at `since`, and comes back when it is `due`.
    Away {
        since: Instant,
        due: Instant,
        failed: u32,
    },
    Coming {
        since: Instant,
        failed: u32,
    },
}

#[derive(Clone, Debug)]
struct Client {
    state: State,
    /// Its place in the group's log.
    pos: String,
    /// What the server has said to resume by.
    resume: Option<String>,
}

/// All that goes on around the restarts.
struct Crowd {
    clients: Vec<Client>,
    books: Books,
    pacer: Pacer,
    dice: Dice,
    entry: Entry,
    /// The servers that take connections, as a balancer knows them.
    open: Vec<SocketAddr>,
    /// What is to be said when the publisher is there.
    unsaid: VecDeque<u64>,
    /// What was said when, and is not accepted yet.
    said: BTreeMap<u64, Instant>,
    /// When sessions stood again, and how long each had been away.
    returns: Vec<Instant>,
    away: Vec<Duration>,
    heard: Instant,
    hint: usize,
    stray: Option<String>,
}

impl Bout<'_> {
    /// Ends and starts every server, one after the other.
    pub(crate) fn restart(
        &mut self,
        peer: Peer,
        place: &Place,
        ports: &[u16],
    ) -> anyhow::Result<()> {
        for port in ports {
            self.start(peer, place, *port, Extra::Leaving)?;
        }
        let open: Vec<_> = self.servers.iter().map(|server| server.address).collect();
        let entry = self.servers.first().context("a server")?.entry.clone();
        for (at, address) in open.iter().enumerate() {
            let share = CLIENTS * at / open.len()..CLIENTS * (at + 1) / open.len();
            let members = share.map(|number| Member { number, room: 0 });
            self.fleet.connect(*address, &entry, members)?;
        }
        self.fleet.join()?;
        let mut crowd = Crowd::new(entry, open, u64::from(self.repetition));
        crowd.all_here(&mut self.fleet)?;
        for (at, port) in ports.iter().enumerate() {
            let server = self.servers.get_mut(at).context("a server")?;
            let address = server.address;
            if ports.len() > 1 {
                crowd.open.retain(|open| *open != address);
            }
            server.terminate()?;
            let began = Instant::now();
            while !server.ended()? {
                ensure!(began.elapsed() < GOES, "a server does not go in {GOES:?}");
                crowd.turn(&mut self.fleet)?;
            }
            *server = peer.launch(place, *port, Extra::Leaving)?;
            let began = Instant::now();
            while !server.up()? {
                ensure!(began.elapsed() < GOES, "a server does not come in {GOES:?}");
                crowd.turn(&mut self.fleet)?;
            }
            if ports.len() > 1 {
                crowd.open.push(address);
            }
            crowd.all_here(&mut self.fleet)?;
        }
        crowd.rest(&mut self.fleet)?;
        self.sum_up(peer, crowd)
    }

    fn sum_up(&mut self, peer: Peer, mut crowd: Crowd) -> anyhow::Result<()> {
        let mut away = |part| {
            let time = quantile(&mut crowd.away, part).unwrap_or_default();
            time.as_secs_f64() * 1e3
        };
        let (p50, p99) = (away(0.5), away(0.99));
        let (books, lost) = (&crowd.books, crowd.books.lost());
        self.note(
            "rolling",
            [
                ("accepted", books.accepted() as f64),
                ("not_accepted", books.refused() as f64),
                ("accepted_lost", lost as f64),
                ("came_again", books.repeated() as f64),
                ("returns", crowd.returns.len() as f64),
                ("peak_per_s", peak(&mut crowd.returns) as f64),
                ("away_p50_ms", p50),
                ("away_p99_ms", p99),
            ],
        );
        if let Some(stray) = crowd.stray {
            self.results.strays.insert(self.peer.clone(), stray);
        }
        // With others it is a figure: nobody has promised more.
        ensure!(
            peer != Peer::Ours || lost == 0,
            "{lost} times a client lacks what was accepted"
        );
        Ok(())
    }
}

impl Crowd {
    fn new(entry: Entry, open: Vec<SocketAddr>, seed: u64) -> Self {
        let now = Instant::now();
        let client = Client {
            state: State::Here,
            pos: String::new(),
            resume: None,
        };
        Self {
            clients: vec![client; CLIENTS],
            books: Books::new(CLIENTS),
            pacer: Pacer::new(Pace::Rate(RATE), now, LASTS),
            dice: Dice::new(seed),
            entry,
            open,
            unsaid: VecDeque::new(),
            said: BTreeMap::new(),
            returns: Vec::new(),
            away: Vec::new(),
            heard: now,
            hint: 0,
            stray: None,
        }
    }

    /// Goes on until everybody has been there for a while.
    fn all_here(&mut self, fleet: &mut Fleet) -> anyhow::Result<()> {
        let (began, mut gone) = (Instant::now(), Instant::now());
        while gone.elapsed() < STEADY {
            self.turn(fleet)?;
            let away = |client: &&Client| !matches!(client.state, State::Here);
            let away = self.clients.iter().filter(away).count();
            if away > 0 {
                gone = Instant::now();
            }
            ensure!(
                began.elapsed() < GOES,
                "{away} clients have not come back within {GOES:?}"
            );
        }
        Ok(())
    }

    /// Nothing more is published; goes on until everything has come, or nothing comes any more.
    fn rest(&mut self, fleet: &mut Fleet) -> anyhow::Result<()> {
        self.pacer = Pacer::new(Pace::Rate(RATE), Instant::now(), Duration::ZERO);
        let began = Instant::now();
        self.heard = began;
        while self.heard.elapsed() < LOST && began.elapsed() < PATIENCE {
            self.turn(fleet)?;
            if self.said.is_empty() && self.unsaid.is_empty() && self.books.lost() == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    fn turn(&mut self, fleet: &mut Fleet) -> anyhow::Result<()> {
        let mut cut = Vec::new();
        self.publish(fleet, &mut cut)?;
        self.come_back(fleet)?;
        fleet.step(
            Some(Duration::from_millis(1)),
            &mut |conn, message, now| self.got(conn, message, now),
            &mut |conn, _| {
                cut.push(conn);
                Ok(())
            },
        )?;
        for client in cut {
            self.cut(client);
        }
        let now = Instant::now();
        for (client, conn) in self.clients.iter_mut().zip(fleet.conns()) {
            if let State::Coming { since, .. } = client.state
                && conn.phase() == Phase::Ready
            {
                client.state = State::Here;
                self.returns.push(now);
                self.away.push(now.duration_since(since));
            }
        }
        Ok(())
    }

    /// Says what is due, if the publisher is there.
    fn publish(&mut self, fleet: &mut Fleet, cut: &mut Vec<usize>) -> anyhow::Result<()> {
        let now = Instant::now();
        while self.pacer.due(now, 0).is_some() {
            self.unsaid.push_back(self.books.say());
        }
        if self.entry.dialect == Dialect::Wsc {
            let late = |said: &Instant| now.duration_since(*said) > AGAIN;
            let again: Vec<_> = self.said.iter().filter(|(_, said)| late(said)).collect();
            self.unsaid.extend(again.iter().map(|(number, _)| **number));
            self.said.retain(|_, said| !late(said));
        }
        let here = |client: &Client| matches!(client.state, State::Here);
        if !self.clients.first().is_some_and(here) {
            return Ok(());
        }
        let conn = fleet.conn(0)?;
        while let Some(number) = self.unsaid.pop_front() {
            conn.queue(&conn.dialect().keep(&conn.member, number, SIZE));
            self.said.insert(number, now);
        }
        if conn.flush().is_err() {
            cut.push(0);
        }
        Ok(())
    }

    /// Dials for those whose time has come.
    fn come_back(&mut self, fleet: &mut Fleet) -> anyhow::Result<()> {
        let now = Instant::now();
        for (number, client) in self.clients.iter_mut().enumerate() {
            let State::Away { since, due, failed } = client.state else {
                continue;
            };
            if due > now {
                continue;
            }
            let choice = self.dice.below(self.open.len() as u64);
            let address = self.open.get(usize::try_from(choice)?);
            let mut request = self.entry.request(&Member { number, room: 0 })?;
            if self.entry.dialect == Dialect::Wsc {
                let place = || format!(r#"{{"group:r0":"{}"}}"#, client.pos);
                let resume = client.resume.clone().unwrap_or_else(place);
                request.path.push_str("?resume=");
                request.path.push_str(&encoded(&resume));
            }
            let address = *address.context("no server is open")?;
            fleet.redial(number, address, &self.entry, &request)?;
            client.state = State::Coming { since, failed };
        }
        Ok(())
    }

    /// A connection has ended, or could not be made.
    fn cut(&mut self, client: usize) {
        let now = Instant::now();
        let Some(client) = self.clients.get_mut(client) else {
            return;
        };
        let (since, failed) = match client.state {
            // It has been told, and comes back by its own time.
            State::Away { .. } => return,
            State::Here => (now, 0),
            State::Coming { since, failed } => (since, failed + 1),
        };
        let due = now + self.dice.pause(failed);
        client.state = State::Away { since, due, failed };
    }

    fn got(&mut self, number: usize, message: &[u8], now: Instant) {
        let Some(client) = self.clients.get_mut(number) else {
            return;
        };
        if message.starts_with(br#"{"type":"reconnect""#) {
            let told: Value = serde_json::from_slice(message).unwrap_or_default();
            let after = told.pointer("/data/after_ms").and_then(Value::as_u64);
            let after = Duration::from_millis(after.unwrap_or_default());
            client.resume = told.pointer("/data/resume").map(Value::to_string);
            client.state = State::Away {
                since: now,
                due: now + after + self.dice.pause(0),
                failed: 0,
            };
            return;
        }
        let Some(marked) = mark(message, &mut self.hint) else {
            if self.stray.is_none() && !message.starts_with(br#"{"type":"result""#) {
                self.stray = Some(String::from_utf8_lossy(message).into_owned());
            }
            return;
        };
        self.heard = now;
        if message.starts_with(br#"{"type":"error""#) {
            self.stray = Some(String::from_utf8_lossy(message).into_owned());
        } else if message.starts_with(br#"{"type":"receipt""#) {
            self.books.accept(marked);
            self.said.remove(&marked);
        } else {
            self.books.got(number, marked);
            if let Some(pos) = pos(message) {
                pos.clone_into(&mut client.pos);
                client.resume = None;
            } else if number == 0 {
                // Who says nothing of having taken a message has shown it by its copy.
                self.books.accept(marked);
                self.said.remove(&marked);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_comes_back_after_its_time_and_is_not_hurried_by_the_cut_that_follows() {
        let entry = Entry {
            dialect: Dialect::Wsc,
            path: String::new(),
            key: None,
            deflate: crate::handshake::Deflate::No,
            tls: None,
        };
        let mut crowd = Crowd::new(entry, Vec::new(), 0);
        let now = Instant::now();
        let told = br#"{"type":"reconnect","data":{"after_ms":5000,"resume":{"group:r0":"1.7"}}}"#;
        crowd.got(3, told, now);
        crowd.cut(3);
        let State::Away { due, failed: 0, .. } = crowd.clients[3].state else {
            panic!("{:?}", crowd.clients[3]);
        };
        let after = due.duration_since(now).as_secs_f64();
        assert!((5.0..=6.0).contains(&after), "{after}");
        let resume = crowd.clients[3].resume.as_deref();
        assert_eq!(resume, Some(r#"{"group:r0":"1.7"}"#));
        // Cut without a word: at once, with a little jitter.
        crowd.cut(4);
        let State::Away { due, .. } = crowd.clients[4].state else {
            panic!("{:?}", crowd.clients[4]);
        };
        assert!(due.duration_since(now) < Duration::from_secs(2));
    }
}
