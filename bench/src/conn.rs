//! One connection of the generator: bytes in, messages out. It never blocks and never waits.

use std::io::{self, Read as _, Write as _};
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::dialect::{Dialect, Member, Step, contains};
use crate::frame::{self, Opcode};
use crate::handshake;
use crate::inflate::Inflate;
use crate::link::Link;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// TCP is not there yet.
    Dialing,
    /// The handshake is not answered yet.
    Upgrading,
    /// This step of getting in is under way.
    Entering(usize),
    /// Messages count.
    Ready,
    /// The server has ended it.
    Over,
}

/// One connection.
#[derive(Debug)]
pub struct Conn {
    /// The socket.
    pub link: Link,
    /// Who it is.
    pub member: Member,
    phase: Phase,
    dialect: Dialect,
    /// How many heartbeats it has answered.
    heartbeats: u64,
    /// The beginning of what has not all come yet.
    rest: Vec<u8>,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
    /// The beginning of a message in several frames, and whether it is compressed.
    begun: Option<(bool, Vec<u8>)>,
    /// The beginning of a message that goes on in the next frame, where a dialect has that.
    part: Vec<u8>,
}

/// Who hears of messages: the time is when they were read.
pub type Listen<'a> = dyn FnMut(&[u8], Instant) + 'a;

/// What all connections read with.
#[derive(Debug)]
pub struct Shared {
    /// Read into; what is whole is looked at there.
    pub buffer: Vec<u8>,
    /// For messages that were compressed.
    pub inflate: Inflate,
}

impl Conn {
    /// A connection that is being dialled and will say `request` first.
    pub fn new(link: Link, member: Member, dialect: Dialect, request: Vec<u8>) -> Self {
        Self {
            link,
            member,
            phase: Phase::Dialing,
            dialect,
            heartbeats: 0,
            rest: Vec::new(),
            unsent: request,
            begun: None,
            part: Vec::new(),
        }
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How many heartbeats it has answered.
    pub fn heartbeats(&self) -> u64 {
        self.heartbeats
    }

    /// The server's language.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Says something, now or when the socket takes it.
    pub fn say(&mut self, words: &[u8]) -> io::Result<()> {
        self.queue(words);
        self.flush()
    }

    /// Enters something to be said by the next [`Conn::flush`], so that what is due at once goes in one piece.
    pub fn queue(&mut self, words: &[u8]) {
        frame::masked(self.dialect.opcode(), words, &mut self.unsent);
    }

    /// The socket takes bytes.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.phase == Phase::Dialing {
            match self.link.socket().peer_addr() {
                Ok(_) => self.phase = Phase::Upgrading,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        while !self.unsent.is_empty() {
            match self.link.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        match self.link.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The socket has bytes.
    pub fn read(&mut self, shared: &mut Shared, listen: &mut Listen<'_>) -> anyhow::Result<()> {
        let Shared { buffer, inflate } = shared;
        // By TLS what was to be said may have waited for the other side.
        if !self.unsent.is_empty() {
            self.flush()?;
        }
        loop {
            let kept = self.rest.len();
            let (front, space) = buffer
                .split_at_mut_checked(kept)
                .context("a frame is larger than the generator's buffer")?;
            front.copy_from_slice(&self.rest);
            let room = space.len();
            let read = match self.link.read(space) {
                Ok(0) => {
                    self.phase = Phase::Over;
                    return Ok(());
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let now = Instant::now();
            let bytes = buffer.get(..kept + read).unwrap_or_default();
            let used = self.take(bytes, inflate, &mut |message| listen(message, now))?;
            self.rest.clear();
            self.rest.extend(bytes.get(used..).unwrap_or_default());
            // A short read has emptied the socket: epoll tells of what comes next.
            if read < room && self.link.short_read_empties() {
                return Ok(());
            }
        }
    }

    fn take(
        &mut self,
        bytes: &[u8],
        inflate: &mut Inflate,
        listen: &mut dyn FnMut(&[u8]),
    ) -> anyhow::Result<usize> {
        let mut used = 0;
        if self.phase == Phase::Upgrading {
            let Some(head) = handshake::answered(bytes)? else {
                return Ok(0);
            };
            used = head;
            self.enter(0)?;
        }
        while let Some(frame) = frame::first(bytes.get(used..).unwrap_or_default())? {
            used += frame.size;
            match frame.opcode {
                Opcode::Text | Opcode::Binary if frame.last => {
                    self.whole((frame.compressed, frame.payload), inflate, listen)?;
                }
                Opcode::Text | Opcode::Binary => {
                    self.begun = Some((frame.compressed, frame.payload.to_vec()));
                }
                Opcode::Continuation => {
                    let (compressed, mut payload) = self
                        .begun
                        .take()
                        .context("a message goes on that has not begun")?;
                    payload.extend(frame.payload);
                    if frame.last {
                        self.whole((compressed, &payload), inflate, listen)?;
                    } else {
                        self.begun = Some((compressed, payload));
                    }
                }
                Opcode::Ping => {
                    self.heartbeats += 1;
                    frame::masked(Opcode::Pong, frame.payload, &mut self.unsent);
                    self.flush()?;
                }
                Opcode::Pong => {}
                Opcode::Close => {
                    self.phase = Phase::Over;
                    let reason =
                        String::from_utf8_lossy(frame.payload.get(2..).unwrap_or_default());
                    bail!("the server closed {:?}: {reason:?}", self.member);
                }
            }
        }
        Ok(used)
    }

    fn whole(
        &mut self,
        (compressed, payload): (bool, &[u8]),
        inflate: &mut Inflate,
        listen: &mut dyn FnMut(&[u8]),
    ) -> anyhow::Result<()> {
        let payload = if compressed {
            inflate.message(payload)?
        } else {
            payload
        };
        if self.part.is_empty() {
            let used = self.messages(payload, listen)?;
            self.part.extend(payload.get(used..).unwrap_or_default());
        } else {
            let mut part = std::mem::take(&mut self.part);
            part.extend(payload);
            let used = self.messages(&part, listen)?;
            part.drain(..used);
            self.part = part;
        }
        Ok(())
    }

    /// Takes what is all there, and says how many bytes that was.
    fn messages(&mut self, bytes: &[u8], listen: &mut dyn FnMut(&[u8])) -> anyhow::Result<usize> {
        let mut used = 0;
        while let Some((message, size)) =
            self.dialect.first(bytes.get(used..).unwrap_or_default())?
        {
            used += size;
            self.message(message, listen)?;
        }
        Ok(used)
    }

    fn message(&mut self, message: &[u8], listen: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
        if let Some(answer) = self.dialect.heartbeat(message) {
            self.heartbeats += 1;
            self.say(answer)?;
        } else if self.dialect.refuses(message) {
            let why = String::from_utf8_lossy(message);
            bail!("the server refuses {:?}: {why}", self.member);
        } else if let Phase::Entering(at) = self.phase {
            let waits = self.dialect.entrance().get(at);
            if waits.is_some_and(|step| contains(message, step.until.as_bytes())) {
                self.enter_after(at)?;
            }
        } else if !self.dialect.aside(message) {
            listen(message);
        }
        Ok(())
    }

    /// Says what step `at` says, and goes on to the next.
    fn enter_after(&mut self, at: usize) -> anyhow::Result<()> {
        if let Some(say) = self.dialect.entrance().get(at).and_then(|step| step.say) {
            let words = say(&self.member);
            self.say(words.as_bytes())?;
        }
        self.enter(at + 1)
    }

    /// Waits for step `at`, or is ready after the last.
    fn enter(&mut self, at: usize) -> anyhow::Result<()> {
        match self.dialect.entrance().get(at) {
            Some(Step { until: "", .. }) => self.enter_after(at)?,
            Some(_) => self.phase = Phase::Entering(at),
            None => self.phase = Phase::Ready,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::dialect::{Entry, mark};
    use crate::fleet::Fleet;
    use crate::handshake::{ACCEPT, Deflate, SWITCHING};

    /// Reads until something was said.
    fn hear(stream: &mut TcpStream, words: &str) {
        let mut heard = Vec::new();
        while !contains(&heard, words.as_bytes()) {
            let mut some = [0; 512];
            let read = stream.read(&mut some).unwrap();
            assert!(read > 0, "no {words:?} in {:?}", heard.escape_ascii());
            heard.extend(&some[..read]);
        }
    }

    /// A server that answers the entrance of one member of NATS, says `frames` when it publishes, each in a frame of its own,
    /// and a ninth message when its ping is answered.
    fn server(answer: &'static str, frames: &'static [&str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let say = |stream: &mut TcpStream, words: &str| {
                let head = [0x82, u8::try_from(words.len()).unwrap()];
                stream.write_all(&[&head, words.as_bytes()].concat())
            };
            hear(&mut stream, "\r\n\r\n");
            let upgrade = format!("{SWITCHING}\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n");
            stream.write_all(upgrade.as_bytes()).unwrap();
            say(&mut stream, "INFO {\"server").unwrap();
            say(&mut stream, "_id\":\"a\"}\r\n").unwrap();
            hear(&mut stream, "SUB r0 1\r\nPING\r\n");
            say(&mut stream, answer).unwrap();
            hear(&mut stream, "PUB r0");
            for words in frames {
                say(&mut stream, words).unwrap();
            }
            hear(&mut stream, "PONG\r\n");
            say(&mut stream, "MSG r0 1 13\r\n#000000000009\r\n").unwrap();
            // Until the other side has gone.
            let _ = stream.read(&mut [0]);
        });
        address
    }

    fn member(address: SocketAddr) -> anyhow::Result<Fleet> {
        let entry = Entry {
            dialect: Dialect::Nats,
            path: String::new(),
            key: None,
            deflate: Deflate::No,
            tls: None,
        };
        let mut fleet = Fleet::new()?;
        let member = Member { number: 0, room: 0 };
        fleet.connect(address, &entry, std::iter::once(member))?;
        Ok(fleet)
    }

    #[test]
    fn a_member_of_nats_hears_what_frames_have_cut_and_answers_pings() {
        let frames = &[
            "INFO {}\r\nMSG r0 1 13\r\n#00000000",
            "0001\r\nMSG r0 1 13\r\n#000000000002\r\nPI",
            "NG\r\n",
        ];
        let mut fleet = member(server("PONG\r\n", frames)).unwrap();
        let conn = fleet.conn(0).unwrap();
        conn.say(&Dialect::Nats.publish(&conn.member, 1, 13))
            .unwrap();
        let mut heard = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !heard.contains(&Some(9)) && Instant::now() < deadline {
            let wait = Some(Duration::from_millis(10));
            fleet
                .turn(wait, &mut |_, message, _| heard.push(mark(message, &mut 0)))
                .unwrap();
        }
        assert_eq!(heard, [Some(1), Some(2), Some(9)]);
        assert_eq!(fleet.heartbeats(), 1);
    }

    #[test]
    fn a_refusal_of_nats_is_told_in_its_own_words() {
        let refused = member(server("-ERR 'Authorization Violation'\r\n", &[])).unwrap_err();
        assert!(
            refused.to_string().contains("Authorization Violation"),
            "{refused:#}"
        );
    }
}
