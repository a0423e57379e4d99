//! One measured run: publishers say what is due, recipients are counted, and the books are held against the CPU that the
//! server's process used meanwhile.
//!
//! A run begins and ends with nothing on its way, so that CPU and deliveries belong to each other exactly. The generator
//! looks at its sockets without ever sleeping: waking it would be paid by the server's `send`.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;

use crate::dialect::{contains, mark};
use crate::fleet::Fleet;
use crate::ledger::{Counts, Ledger, histogram};
use crate::pacer::{Pace, Pacer};
use crate::process;

/// Nothing arriving for so long, with messages on their way: they are lost.
pub(crate) const LOST: Duration = Duration::from_secs(5);

/// What each room's publisher says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// Messages for everyone in its room.
    Publish,
    /// Messages that come back to itself alone: a room is one member.
    Echo,
    /// Messages for one reader alone: a room is that reader.
    Direct {
        /// How many places the sender is before its reader.
        before: usize,
    },
    /// Messages for a reader of the publisher's own, that count when the publisher has heard that they are accepted: a room
    /// is the publisher.
    Store {
        /// The reader's number, less the publisher's.
        reader: usize,
        /// What the receipt has to say.
        receipt: &'static str,
    },
}

/// Who is in which room: the first of each publishes.
#[derive(Clone, Debug)]
pub struct Rooms {
    /// The room of each connection and its place there; `None` for connections that only stand.
    places: Vec<Option<(usize, usize)>>,
    /// The connection that publishes, and how many are in the room.
    rooms: Vec<(usize, usize)>,
}

impl Rooms {
    /// The rooms of connections that are in `rooms[i]`, or in none that counts.
    pub fn new(rooms: impl Iterator<Item = Option<usize>>) -> Self {
        let mut made = Self {
            places: Vec::new(),
            rooms: Vec::new(),
        };
        for (conn, room) in rooms.enumerate() {
            let place = room.and_then(|room| {
                if made.rooms.len() <= room {
                    made.rooms.resize(room + 1, (conn, 0));
                }
                let (_, members) = made.rooms.get_mut(room)?;
                *members += 1;
                Some((room, *members - 1))
            });
            made.places.push(place);
        }
        made
    }
}

/// What one run is.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What is said.
    pub speech: Speech,
    /// How many at a time, or how many a second, in each room.
    pub pace: Pace,
    /// For how long.
    pub lasts: Duration,
    /// Bytes of a message, before the server adds its own.
    pub size: usize,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What recipients got.
    pub counts: Counts,
    /// From the intended time to each receipt.
    pub latency: Histogram<u64>,
    /// How long it took, until the last was there.
    pub elapsed: Duration,
    /// CPU that the server used, if it is a process here.
    pub server: Option<Duration>,
    /// CPU that the generator used, less what it spent looking at nothing.
    pub generator: Duration,
    /// Something that was said and was no message, such as a refusal.
    pub stray: Option<String>,
}

/// Runs a plan. `servers` are the processes whose CPU is counted, all together.
pub fn drive(
    fleet: &mut Fleet,
    rooms: &Rooms,
    plan: Plan,
    servers: &[u32],
) -> anyhow::Result<Outcome> {
    let base = fleet.next_run();
    let used = || process::cpus(servers);
    let own = std::process::id();
    let (server_before, own_before, spare_before) = (used()?, process::cpu(own)?, fleet.spare());
    // Only now, so that what reading accounts took is not taken off the run.
    let mut run = Run::new(rooms, &plan, base);
    let began = Instant::now();
    let mut heard = began;
    while !run.over(Instant::now()) && heard.elapsed() < LOST {
        if run.publish(fleet, rooms, &plan)? {
            heard = Instant::now();
        }
        fleet.turn(Some(Duration::ZERO), &mut |conn, message, now| {
            heard = now;
            run.got(rooms, conn, message, now);
        })?;
    }
    let elapsed = began.elapsed();
    let server = (!servers.is_empty()).then_some(used()?.saturating_sub(server_before));
    // By shares, so that what others take of the core while the generator looks at nothing does not count for it.
    let spare = fleet.spare().saturating_sub(spare_before).as_secs_f64() / elapsed.as_secs_f64();
    let generator = process::cpu(own)?
        .saturating_sub(own_before)
        .mul_f64((1.0 - spare).clamp(0.0, 1.0));
    let mut outcome = Outcome {
        counts: Counts::default(),
        latency: histogram(),
        elapsed,
        server,
        generator,
        stray: run.stray,
    };
    for ledger in run.ledgers {
        let (counts, latency) = ledger.close();
        outcome.counts.add(counts);
        outcome.latency.add(latency).context("adding histograms")?;
    }
    Ok(outcome)
}

struct Run {
    ledgers: Vec<Ledger>,
    pacers: Vec<Pacer>,
    hint: usize,
    /// What a message must say to count.
    receipt: Option<&'static str>,
    stray: Option<String>,
}

impl Run {
    fn new(rooms: &Rooms, plan: &Plan, base: u64) -> Self {
        let now = Instant::now();
        let count = rooms.rooms.len();
        // Rooms at a rate take turns: all at once would be a load of its own kind.
        let apart = match plan.pace {
            Pace::Rate(rate) => Duration::from_secs_f64(1.0 / rate / count.max(1) as f64),
            Pace::Outstanding(_) => Duration::ZERO,
        };
        let starts = std::iter::successors(Some(now), |start| Some(*start + apart));
        Self {
            ledgers: rooms
                .rooms
                .iter()
                .map(|(_, members)| Ledger::new(*members, base))
                .collect(),
            pacers: starts
                .take(count)
                .map(|start| Pacer::new(plan.pace, start, plan.lasts))
                .collect(),
            hint: 0,
            receipt: match plan.speech {
                Speech::Store { receipt, .. } => Some(receipt),
                Speech::Publish | Speech::Echo | Speech::Direct { .. } => None,
            },
            stray: None,
        }
    }

    /// Says what is due; whether there was anything.
    fn publish(&mut self, fleet: &mut Fleet, rooms: &Rooms, plan: &Plan) -> anyhow::Result<bool> {
        let now = Instant::now();
        let mut said = false;
        for ((ledger, pacer), (publisher, _)) in self
            .ledgers
            .iter_mut()
            .zip(&mut self.pacers)
            .zip(&rooms.rooms)
        {
            let mut due = pacer.due(now, ledger.outstanding());
            if due.is_none() {
                continue;
            }
            said = true;
            let speaker = match plan.speech {
                Speech::Direct { before } => publisher.checked_sub(before).context("a sender")?,
                Speech::Publish | Speech::Echo | Speech::Store { .. } => *publisher,
            };
            let conn = fleet.conn(speaker)?;
            while let Some(intended) = due {
                let number = ledger.publish(intended);
                let words = match plan.speech {
                    Speech::Publish => conn.dialect().publish(&conn.member, number, plan.size),
                    Speech::Echo => conn.dialect().echo(&conn.member, number, plan.size),
                    Speech::Direct { before } => {
                        conn.dialect()
                            .direct(conn.member.number + before, number, plan.size)
                    }
                    Speech::Store { reader, .. } => {
                        conn.dialect()
                            .store(conn.member.number + reader, number, plan.size)
                    }
                };
                conn.queue(&words);
                due = pacer.due(now, ledger.outstanding());
            }
            conn.flush()?;
        }
        Ok(said)
    }

    fn got(&mut self, rooms: &Rooms, conn: usize, message: &[u8], now: Instant) {
        let number = mark(message, &mut self.hint);
        let place = rooms.places.get(conn).copied().flatten();
        let counts = self
            .receipt
            .is_none_or(|receipt| place.is_none() || contains(message, receipt.as_bytes()));
        let (Some(number), true) = (number, counts) else {
            if self.stray.is_none() {
                self.stray = Some(String::from_utf8_lossy(message).into_owned());
            }
            return;
        };
        if let Some((room, place)) = place
            && let Some(ledger) = self.ledgers.get_mut(room)
        {
            ledger.got(place, number, now);
        }
    }

    fn over(&self, now: Instant) -> bool {
        self.pacers.iter().all(|pacer| pacer.over(now))
            && self.ledgers.iter().all(|ledger| ledger.outstanding() == 0)
    }
}
