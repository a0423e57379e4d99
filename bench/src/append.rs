//! The floor of what it costs to store a message: one connection to Redis that appends, and nothing else. Nobody is asked
//! who they are, nothing is looked up, nobody gets the message.
//!
//! What is to be on a replica waits for it by `WAIT`, one for all that was due at the same time: Redis does nothing else for
//! a connection that waits.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::dialect::body;
use crate::drive::{LOST, Outcome};
use crate::extra::Acceptance;
use crate::ledger::Ledger;
use crate::pacer::{Pace, Pacer};
use crate::process;

/// How many logs there are, one for each sender of the runs beside it.
pub(crate) const LOGS: usize = 64;

/// What Redis says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// To `XADD`: it is there.
    Added,
    /// To `WAIT`: on so many replicas.
    On(u64),
}

/// The connection, and what is under way on it.
struct Appends {
    stream: TcpStream,
    level: Acceptance,
    size: usize,
    ledger: Ledger,
    unsent: Vec<u8>,
    rest: Vec<u8>,
    /// What was asked and is not answered.
    asked: VecDeque<u64>,
    /// What Redis has and a replica perhaps not.
    added: VecDeque<u64>,
    /// Whether a `WAIT` is under way.
    waits: bool,
    /// Time in reads that found nothing.
    spare: Duration,
}

/// Appends at a pace, and says how long each took from when it was meant.
pub(crate) fn append(
    address: impl ToSocketAddrs,
    level: Acceptance,
    (pace, lasts): (Pace, Duration),
    size: usize,
) -> anyhow::Result<Outcome> {
    let stream = TcpStream::connect(address).context("connecting to Redis")?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let mut appends = Appends {
        stream,
        level,
        size,
        ledger: Ledger::new(1, 0),
        unsent: Vec::new(),
        rest: Vec::new(),
        asked: VecDeque::new(),
        added: VecDeque::new(),
        waits: false,
        spare: Duration::ZERO,
    };
    let before = process::cpu(std::process::id())?;
    let began = Instant::now();
    let mut pacer = Pacer::new(pace, began, lasts);
    let mut heard = began;
    while !(pacer.over(Instant::now()) && appends.ledger.outstanding() == 0)
        && heard.elapsed() < LOST
    {
        if appends.ask(&mut pacer)? | appends.hear()? {
            heard = Instant::now();
        }
    }
    let elapsed = began.elapsed();
    let busy = 1.0 - appends.spare.as_secs_f64() / elapsed.as_secs_f64();
    let generator = process::cpu(std::process::id())?.saturating_sub(before);
    let (counts, latency) = appends.ledger.close();
    Ok(Outcome {
        counts,
        latency,
        elapsed,
        server: None,
        generator: generator.mul_f64(busy.clamp(0.0, 1.0)),
        stray: None,
    })
}

impl Appends {
    /// Asks for what is due; whether there was anything.
    fn ask(&mut self, pacer: &mut Pacer) -> anyhow::Result<bool> {
        let now = Instant::now();
        let mut due = false;
        while !self.waits
            && let Some(intended) = pacer.due(now, self.ledger.outstanding())
        {
            due = true;
            let number = self.ledger.publish(intended);
            self.asked.push_back(number);
            let log = format!("bare:{}", number % LOGS as u64);
            let body = body(number, self.size);
            command(&["XADD", &log, "*", "m", &body], &mut self.unsent);
        }
        if due && self.level == Acceptance::Replicated {
            self.waits = true;
            command(&["WAIT", "1", "5000"], &mut self.unsent);
        }
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(due)
    }

    /// Takes what Redis has answered; whether there was anything.
    fn hear(&mut self) -> anyhow::Result<bool> {
        let began = Instant::now();
        let mut buffer = [0; 1 << 14];
        match self.stream.read(&mut buffer) {
            Ok(0) => bail!("Redis cut the connection"),
            Ok(read) => self.rest.extend(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.spare += began.elapsed();
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        let now = Instant::now();
        let mut used = 0;
        while let Some((size, answer)) = answer(self.rest.get(used..).unwrap_or_default())? {
            used += size;
            match answer {
                Answer::Added => {
                    let number = self.asked.pop_front().context("more answers than asked")?;
                    if self.level == Acceptance::Replicated {
                        self.added.push_back(number);
                    } else {
                        self.ledger.got(0, number, now);
                    }
                }
                Answer::On(replicas) => {
                    ensure!(replicas > 0, "no replica had it within five seconds");
                    self.waits = false;
                    for number in self.added.drain(..) {
                        self.ledger.got(0, number, now);
                    }
                }
            }
        }
        self.rest.drain(..used);
        Ok(true)
    }
}

fn command(words: &[&str], out: &mut Vec<u8>) {
    out.extend(format!("*{}\r\n", words.len()).bytes());
    for word in words {
        out.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
}

/// The answer at the start of `bytes`, and how many of them it takes; `None` when it is not all there yet.
fn answer(bytes: &[u8]) -> anyhow::Result<Option<(usize, Answer)>> {
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else {
        return Ok(None);
    };
    let line = std::str::from_utf8(bytes.get(..end).unwrap_or_default())?;
    let size = end + 2;
    let (kind, word) = line.split_at_checked(1).unwrap_or_default();
    match (kind, word.parse::<u64>()) {
        (":", Ok(count)) => Ok(Some((size, Answer::On(count)))),
        ("$", Ok(len)) => {
            let size = size + usize::try_from(len)? + 2;
            Ok((bytes.len() >= size).then_some((size, Answer::Added)))
        }
        _ => bail!("Redis says {line:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_and_half_an_answer_is_waited_for() {
        let both = b"$15\r\n1732368000123-0\r\n:1\r\n";
        let (size, first) = answer(both).unwrap().unwrap();
        assert_eq!((size, first), (22, Answer::Added));
        assert_eq!(answer(&both[22..]).unwrap(), Some((4, Answer::On(1))));
        for short in 0..22 {
            assert_eq!(answer(&both[..short]).unwrap(), None, "{short}");
        }
    }

    #[test]
    fn a_refusal_ends_the_run_by_its_own_words() {
        let told = answer(b"-OOM command not allowed\r\n").unwrap_err();
        assert!(told.to_string().contains("-OOM command not allowed"));
        assert!(answer(b"$-1\r\n").is_err());
    }

    #[test]
    fn a_command_is_what_redis_reads() {
        let mut out = Vec::new();
        command(&["WAIT", "1", "50"], &mut out);
        assert_eq!(out, b"*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$2\r\n50\r\n");
    }
}
