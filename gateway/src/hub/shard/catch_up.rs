//! Reading a log until a session has all of it: after a reconnect, after a hole, and when a slow reader has room again.
//!
//! One task for each log that is read, ended by the session's end. It goes as fast as the client reads: it waits for room
//! in the outbox before each message, and the logs of a session take turns, so that a long absence fills no memory: what was
//! read and waits is at most the half of the outbox that is left to it, or one message. A log that cannot be read now is tried again.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::value::to_raw_value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::Shard;
use crate::group::Generation;
use crate::hub::{Outgoing, SessionKey};
use crate::log::{Entry, Gap, Most, Page};
use crate::protocol::{Control, LogId, Position, resume};
use crate::session::liveness::Tick;
use crate::session::{Limits, Waiting};
use crate::transport::Connection;

/// Messages read at once, if they are small.
const PAGE: usize = 100;
/// The pause after a read that failed, doubled by each that follows.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// What was sent while the directory did not yet know of a session is in the log by then: a second, and a tick of which
/// some is over.
const SETTLED: Tick = 5;

impl Shard {
    /// Follows a log from after this place; `None`: from where the session is, or was when it was last here.
    pub fn follow(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        log: LogId,
        after: Option<Position>,
    ) {
        if let Some(reading) = self.begin_reading(connection, log, after) {
            tokio::task::spawn_local(reading.begin());
        }
    }

    /// The same, begun at once: where nothing has to be waited for it needs no task. Not to be called with anything of the
    /// connection borrowed.
    pub fn follow_at_once(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        log: LogId,
        after: Option<Position>,
    ) {
        let Some(reading) = self.begin_reading(connection, log, after) else {
            return;
        };
        let mut begun = Box::pin(reading.begin());
        if (&mut begun).now_or_never().is_none() {
            tokio::task::spawn_local(begun);
        }
    }

    fn begin_reading(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        log: LogId,
        after: Option<Position>,
    ) -> Option<Reading> {
        let session = connection.session()?;
        let begins = session.cursors.borrow_mut().begin(&log, after);
        begins.then(|| Reading {
            shard: Rc::clone(self),
            connection: Rc::clone(connection),
            log,
        })
    }

    /// Reads a log that a live message has shown to be ahead; the cursor says so already.
    pub(super) fn catch_up(self: &Rc<Self>, connection: &Rc<Connection>, log: LogId) {
        let reading = Reading {
            shard: Rc::clone(self),
            connection: Rc::clone(connection),
            log,
        };
        tokio::task::spawn_local(async move { reading.to_the_end().await });
    }
}

struct Reading {
    shard: Rc<Shard>,
    connection: Rc<Connection>,
    log: LogId,
}

/// A log that was read when its session began, to be read once more. Of everybody who comes in a storm there is one, so it
/// is no task that sleeps.
#[derive(Debug)]
pub(super) struct Settling {
    at: Tick,
    key: SessionKey,
    log: LogId,
}

impl Shard {
    /// Whether nothing is to be read once more.
    pub fn has_settled(&self) -> bool {
        self.settling.borrow().is_empty()
    }

    /// Reads once more what has settled.
    pub(super) fn read_settled(self: &Rc<Self>) {
        let now = self.now();
        let is_due = |settling: &mut Settling| settling.at <= now;
        // In the order in which they are due: all wait for the same time.
        loop {
            let due = self.settling.borrow_mut().pop_front_if(is_due);
            let Some(Settling { key, log, .. }) = due else {
                break;
            };
            let Some(connection) = self.get(key) else {
                continue;
            };
            let reading = Reading {
                shard: Rc::clone(self),
                connection,
                log,
            };
            if reading.is_wanted() && reading.begin_again() {
                tokio::task::spawn_local(async move { reading.to_the_end().await });
            }
        }
        let mut settling = self.settling.borrow_mut();
        if settling.is_empty() {
            *settling = VecDeque::new();
        }
    }
}

impl Reading {
    /// When a session begins: to the end, and again a little later.
    async fn begin(self) {
        self.to_the_end().await;
        if self.is_wanted() {
            let at = self.shard.now().saturating_add(SETTLED);
            let (key, log) = (self.connection.key(), self.log);
            let settling = Settling { at, key, log };
            self.shard.settling.borrow_mut().push_back(settling);
        }
    }

    fn is_wanted(&self) -> bool {
        !self.connection.is_closing() && self.is_member()
    }

    /// Nobody reads the log of a group that they have left.
    fn is_member(&self) -> bool {
        let LogId::Group(group) = &self.log else {
            return true;
        };
        let session = self.connection.session();
        session.is_some_and(|session| session.groups.borrow().contains(group))
    }

    /// When the member of the group whose log it is joined: messages from before are not for them, whatever place they name.
    fn joined(&self) -> Option<Generation> {
        let (LogId::Group(group), Some(session)) = (&self.log, self.connection.session()) else {
            return None;
        };
        let roster = self.shard.context().hub.groups().roster();
        let stay = roster.stay(&session.identity().user, group);
        stay.map(|stay| stay.generation)
    }

    fn begin_again(&self) -> bool {
        self.connection
            .session()
            .is_some_and(|session| session.cursors.borrow_mut().begin(&self.log, None))
    }

    async fn to_the_end(&self) {
        let Some(session) = self.connection.session() else {
            return;
        };
        let turn = session.reading_turn();
        self.read(&turn).await;
        session.has_read(turn);
    }

    async fn read(&self, turn: &Semaphore) {
        let mut pause = PAUSE;
        while self.is_wanted() {
            match self.step(turn).await {
                Ok(true) => return,
                Ok(false) => pause = PAUSE,
                Err(error) => {
                    tracing::debug!(log = %self.log, %error, "a log cannot be read now");
                    sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Reads and delivers one page; `true`: the session has caught up.
    async fn step(&self, turn: &Semaphore) -> Result<bool, crate::cluster::ClusterError> {
        let Some(session) = self.connection.session() else {
            return Ok(true);
        };
        // Never closed.
        let _turn = turn.acquire().await;
        if !self.is_wanted() {
            return Ok(true);
        }
        let delivery = &self.shard.context().delivery;
        let most = self.share();
        let asked = Instant::now();
        let (at, noted) = {
            let cursors = session.cursors.borrow();
            (cursors.at(&self.log), cursors.noted(&self.log))
        };
        let after = match (at, &self.log) {
            (None, LogId::Inbox(user)) => delivery.log().seen(user).await?,
            (at, _) => at,
        };
        let mut page = delivery.log().read(&self.log, after, most).await?;
        let vanished = noted.filter(|noted| page.entries.is_empty() && *noted > page.head);
        if vanished.is_some() {
            // It was heard of before it was asked for, and is not there: the storage has lost it.
            page = delivery.log().read(&self.log, vanished, most).await?;
        }
        if !self.is_wanted() {
            return Ok(true);
        }
        if vanished.is_some() {
            session.cursors.borrow_mut().give_up_noted(&self.log);
        }
        let joined = self.joined();
        let is_theirs = |entry: &Entry| joined.is_none_or(|joined| entry.is_after(joined));
        if let Some(gap) = page.gap.filter(|_| at.is_some() || vanished.is_some()) {
            self.tell_gap(gap, &page);
        }
        let more = page.more();
        let end = page.end;
        for entry in page.entries.into_iter().filter(is_theirs) {
            let message = Outgoing::new(entry.into_parcel(self.log.clone(), end.epoch));
            let frame = message.waiting(self.connection.codec());
            if !self.has_room(frame.size()).await {
                return Ok(true);
            }
            self.deliver(&message, frame, asked);
        }
        let mut cursors = session.cursors.borrow_mut();
        cursors.advance(&self.log, end);
        Ok(!more && cursors.caught_up(&self.log))
    }

    /// Half of the room stays for what comes live meanwhile. What is larger goes when nothing else waits.
    fn half(&self) -> Limits {
        let limits = self.shard.limits(&self.connection);
        Limits {
            messages: limits.messages / 2 + 1,
            bytes: limits.bytes / 2,
        }
    }

    /// What is read at once: no more than that half.
    fn share(&self) -> Most {
        let half = self.half();
        Most {
            messages: half.messages.min(PAGE),
            bytes: half.bytes,
        }
    }

    /// Waits until the outbox takes one more of so many bytes; `false`: the session is over.
    async fn has_room(&self, len: usize) -> bool {
        loop {
            if !self.is_wanted() {
                return false;
            }
            if self.connection.outbox().borrow().fits(len, self.half()) {
                return true;
            }
            if self.connection.blocked() {
                if self.connection.writable().await.is_err() {
                    return false;
                }
                tokio::task::yield_now().await;
            } else if self.shard.write_out(&self.connection).is_none() {
                return false;
            } else if !self.connection.outbox().borrow().is_empty() {
                self.shard.mark_dirty(&self.connection);
                tokio::task::yield_now().await;
            }
        }
    }

    fn deliver(&self, message: &Outgoing, frame: Waiting, asked: Instant) {
        self.shard.push(&self.connection, frame);
        self.shard.caught_up(message, asked);
        self.shard.await_ack(&self.connection, message);
        if let (Some(session), Some(mark)) = (self.connection.session(), message.mark()) {
            let mut cursors = session.cursors.borrow_mut();
            cursors.advance(&self.log, mark.position);
        }
        self.shard.tell_places(&self.connection);
    }

    fn tell_gap(&self, gap: Gap, page: &Page) {
        let first = page
            .entries
            .first()
            .map_or(page.head.offset, |entry| entry.offset - 1);
        let position = Position {
            offset: first,
            ..page.head
        };
        let data = serde_json::json!({
            "log": resume::name(&self.log),
            "gap": gap.as_str(),
            "pos": position.to_string(),
        });
        // A map of strings always serialises.
        let Ok(data) = to_raw_value(&data) else {
            return;
        };
        let event = Control::Event {
            kind: "position",
            data: &data,
        };
        self.shard.say_anyway(&self.connection, &event);
    }
}
