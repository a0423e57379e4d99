//! Durable logs: what was sent to a user, a group, a ticket or everyone, kept for whoever comes back.
//!
//! Each log has an epoch and offsets that count from 1 without holes. Accepted means stored here. [`MemoryLog`] serves a
//! gateway that runs alone, [`RedisLog`] a cluster. Nothing here delivers anything: that is `delivery`.

mod memory;
mod name;
mod redis;
mod scripts;
mod sent;
mod waiting;

pub use memory::MemoryLog;
pub use name::{About, MessageName};
pub use redis::RedisLog;
pub use sent::{SentCursor, SentCursorError, SentPage, SentQuery, SentRecord};
pub use waiting::Awaited;

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};

use crate::cluster::ClusterError;
use crate::group::Generation;
use crate::protocol::{LogId, Mark, Parcel, Position, Start, TraceContext, UserId};
use crate::time::millis;

/// The bounds of every log, and what is kept beside the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long a message is kept.
    pub age: Duration,
    /// The most messages in a log.
    pub messages: u64,
    /// How long a repeated id gets the first result.
    pub dedupe: Duration,
    /// How long a message of a ticket is kept.
    pub tickets: Duration,
    /// How long changes of a message's status are kept; `None`: they are not.
    pub records: Option<Duration>,
}

/// A message to be stored.
#[derive(Clone, Debug)]
pub struct Append {
    /// The message's id.
    pub id: String,
    /// Who sent it. With an id of the sender's own, a repetition of both is the same message.
    pub sender: String,
    /// Whether the id is the sender's own.
    pub own_id: bool,
    /// The message as the JSON codec wrote it.
    pub json: Bytes,
    /// Unix time in milliseconds.
    pub at: u64,
    /// Whether its recipient is to acknowledge it.
    pub ack: bool,
    /// The span it comes from, if it is traced: whoever reads it later is part of the same trace.
    pub trace: Option<TraceContext>,
}

/// What became of a message to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is stored, here.
    New(Position),
    /// The sender had sent it before: it stands here.
    Repeated(Position),
}

impl Appended {
    /// Where the message stands.
    pub const fn position(self) -> Position {
        match self {
            Self::New(position) | Self::Repeated(position) => position,
        }
    }
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// How many messages came before and with it.
    pub offset: u64,
    /// The message's id.
    pub id: String,
    /// Who sent it.
    pub sender: String,
    /// When it was stored, Unix time in milliseconds.
    pub at: u64,
    /// Whether its recipient is to acknowledge it.
    pub ack: bool,
    /// The span it came from, if it is traced.
    pub trace: Option<TraceContext>,
    /// In the log of a group: the newest membership there was when it was stored. `None`: an earlier release stored it.
    pub newest: Option<Generation>,
    /// The message as the JSON codec wrote it.
    pub json: Bytes,
}

impl Entry {
    /// For what an earlier release stored: clocks of gateways and of Redis agree at least so well that what was stored less
    /// than this before a member joined may be shown to them, in milliseconds.
    const CLOCKS: u64 = 5_000;

    /// Whether it was stored after this member of the log's group joined. No clock is asked: the step of one neither hides
    /// messages from members nor shows them what was before.
    pub fn is_after(&self, joined: Generation) -> bool {
        match self.newest {
            Some(newest) => newest >= joined,
            None => self.at >= joined.millis().saturating_sub(Self::CLOCKS),
        }
    }

    /// The message as it goes to those who read this log, of this epoch.
    pub fn into_parcel(self, log: LogId, epoch: u64) -> Parcel {
        let mark = Mark {
            log,
            position: Position {
                epoch,
                offset: self.offset,
            },
            ack: self.ack.then(|| self.id.into()),
            start: Start::Here,
        };
        Parcel {
            trace: self.trace,
            json: self.json,
            mark: Some(mark),
        }
    }
}

/// Why a reader does not get everything since the place it named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Older messages were removed by the bounds of the log.
    Trimmed,
    /// The storage lost messages, or the log is another one than the reader knew.
    Lost,
}

impl Gap {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::Lost => "lost",
        }
    }
}

/// How much of a log is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// So many messages.
    pub messages: usize,
    /// So many bytes of them. One message is read in any case.
    pub bytes: usize,
}

impl Most {
    /// So many messages, however large.
    pub const fn messages(messages: usize) -> Self {
        Self {
            messages,
            bytes: usize::MAX,
        }
    }
}

/// A piece of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In order, without holes.
    pub entries: Vec<Entry>,
    /// The end of the log when it was read. Offset 0: nothing was ever written.
    pub head: Position,
    /// Where the next piece begins.
    pub end: Position,
    /// Set when messages between the place named and the first entry are missing.
    pub gap: Option<Gap>,
}

impl Page {
    /// Whether there is more after this piece.
    pub fn more(&self) -> bool {
        self.end.offset < self.head.offset
    }
}

/// What the recipient of a message says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckState {
    /// It has arrived.
    Delivered,
    /// It was read.
    Read,
}

/// What becomes of a message with one of its recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The recipient says so.
    Is(AckState),
    /// The recipient said nothing in time.
    Expired,
}

impl Word {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Is(state) => state.as_str(),
            Self::Expired => "expired",
        }
    }
}

impl Word {
    /// A word of a reader counts over one that says less.
    const fn weight(self) -> u8 {
        match self {
            Self::Expired => 1,
            Self::Is(AckState::Delivered) => 2,
            Self::Is(AckState::Read) => 3,
        }
    }
}

impl Retention {
    /// How long a message of this log is kept.
    pub fn age_of(&self, log: &LogId) -> Duration {
        match log {
            LogId::Ticket(_) => self.tickets,
            LogId::Inbox(_) | LogId::Group(_) | LogId::Broadcast => self.age,
        }
    }
}

impl AckState {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }

    /// The state of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Delivered, Self::Read]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// The changes of a message's status, each in Unix milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Who sent it.
    pub sender: String,
    /// Where it stands in its log.
    pub position: Position,
    /// When it was stored.
    pub accepted_at: u64,
    /// When its recipient said that it had arrived.
    pub delivered_at: Option<u64>,
    /// When its recipient said that it was read.
    pub read_at: Option<u64>,
    /// When its sender was told that nobody had acknowledged it.
    pub expired_at: Option<u64>,
}

impl Record {
    /// Whether it has been kept for as long as it is to be.
    fn is_over(&self, ttl: Option<Duration>, now: u64) -> bool {
        ttl.is_none_or(|ttl| self.accepted_at.saturating_add(millis(ttl)) <= now)
    }
}

/// Messages of one log, in order.
pub type Batch<'a> = (&'a LogId, &'a [Append]);

/// What became of the messages of one log.
pub type AppendOutcome = Result<Vec<Appended>, ClusterError>;

/// See the module.
///
/// A call that fails with a deadline may have been done: repeating it is safe where the sender has an id of its own.
pub trait Log: Send + Sync + 'static {
    /// Stores messages in order; all or none.
    fn append<'a>(
        &'a self,
        log: &'a LogId,
        messages: &'a [Append],
    ) -> BoxFuture<'a, Result<Vec<Appended>, ClusterError>>;
    /// Stores messages of several logs, none of them twice: what each [`append`](Self::append) comes to, in order. What they have
    /// in common is waited for once.
    fn append_all<'a>(&'a self, batch: &'a [Batch<'a>]) -> BoxFuture<'a, Vec<AppendOutcome>> {
        let appends = batch
            .iter()
            .map(|(log, messages)| self.append(log, messages));
        Box::pin(join_all(appends))
    }
    /// At most so much after a place, or from the oldest that is kept.
    fn read<'a>(
        &'a self,
        log: &'a LogId,
        after: Option<Position>,
        most: Most,
    ) -> BoxFuture<'a, Result<Page, ClusterError>>;
    /// Where these logs end, in order.
    fn heads<'a>(&'a self, logs: &'a [LogId])
    -> BoxFuture<'a, Result<Vec<Position>, ClusterError>>;
    /// The first message stored at or after this time, as the place before it.
    fn since<'a>(
        &'a self,
        log: &'a LogId,
        millis: u64,
    ) -> BoxFuture<'a, Result<Option<Position>, ClusterError>>;
    /// The first message of a group stored after this member joined, as the place before it.
    fn joined<'a>(
        &'a self,
        log: &'a LogId,
        joined: Generation,
    ) -> BoxFuture<'a, Result<Option<Position>, ClusterError>>;
    /// Up to where the user's inbox is known to have arrived at one of the user's clients.
    fn seen<'a>(
        &'a self,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Option<Position>, ClusterError>>;
    /// Moves that place; never back.
    fn saw<'a>(
        &'a self,
        user: &'a UserId,
        position: Position,
    ) -> BoxFuture<'a, Result<(), ClusterError>>;
    /// Takes a reader's word for messages that wait for it, or gives up waiting. The senders to whom that is news of this
    /// reader, each once. The same word of the same moment is news again, and so is every giving up: whoever has not heard
    /// the answer asks once more and loses nothing.
    fn acknowledge<'a>(
        &'a self,
        log: &'a LogId,
        by_about: (&'a UserId, About<'a>),
        word_at: (Word, u64),
    ) -> BoxFuture<'a, Result<Vec<String>, ClusterError>>;
    /// Gives up waiting for the acknowledgement of a message. `false`: it has come.
    fn expire<'a>(
        &'a self,
        awaited: &'a Awaited,
        at: u64,
    ) -> BoxFuture<'a, Result<bool, ClusterError>> {
        Box::pin(async move {
            let log = awaited.log();
            let told = self.acknowledge(&log, awaited.by_about(), (Word::Expired, at));
            Ok(!told.await?.is_empty())
        })
    }
    /// Whether it is still waited for this reader's word for a message.
    fn awaits<'a>(
        &'a self,
        log: &'a LogId,
        name: &'a MessageName,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<bool, ClusterError>>;
    /// Remembers that these messages are due then, before they are stored. What is remembered already stays as it is.
    fn remind<'a>(
        &'a self,
        awaited: &'a [Awaited],
        until: u64,
    ) -> BoxFuture<'a, Result<(), ClusterError>>;
    /// At most so many messages of a share that are due now, acknowledged or not.
    fn due(
        &self,
        share: u8,
        now_limit: (u64, usize),
    ) -> BoxFuture<'_, Result<Vec<Awaited>, ClusterError>>;
    /// These are dealt with.
    fn forget<'a>(&'a self, awaited: &'a [Awaited]) -> BoxFuture<'a, Result<(), ClusterError>>;
    /// The records of these messages of a log, in order, as far as they are not over now.
    fn records<'a>(
        &'a self,
        log: &'a LogId,
        names: &'a [MessageName],
        now: u64,
    ) -> BoxFuture<'a, Result<Vec<Option<Record>>, ClusterError>>;
    /// What this sender has sent and is not over now, over all logs.
    fn sent<'a>(
        &'a self,
        sender: &'a str,
        query: SentQuery,
        now: u64,
    ) -> BoxFuture<'a, Result<SentPage, ClusterError>>;
    /// What `stored` means here: whether it outlives this process.
    fn outlives_process(&self) -> bool;
    /// Goes by other bounds from now on. What is there already is trimmed when its log is next written to.
    fn keep(&self, retention: Retention);
}
