//! Where the desk is kept between steps: a trait, in memory and in Redis.
//!
//! A store holds the desk's fields as text and knows nothing of tickets. It has a version; a commit names the version its
//! step was worked out on and is refused if that is not the latest any more. Versions never repeat, not even after a
//! store has lost data: a copy that is based on a version the store does not know is replaced as a whole.

mod memory;
mod redis;

pub use memory::MemoryDesk;
pub use redis::RedisDesk;

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Event, Field, Millis, Record, Ticket};
use crate::cluster::ClusterError;
use crate::protocol::TicketId;

/// A state of the store; 0: nothing has been kept yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// What a copy needs to become the latest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// What it is then.
    pub version: Version,
    /// The store's time.
    pub now: Millis,
    /// Whether `fields` is everything, and what else the copy has is void.
    pub whole: bool,
    /// Fields and their text; `None`: gone.
    pub fields: Vec<(Field, Option<String>)>,
}

/// One field of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which.
    pub field: Field,
    /// Its text; `None`: it is removed.
    pub text: Option<String>,
    /// When its time comes.
    pub due: Option<Millis>,
}

/// A step, or several, made real at once or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Its name. Asked for again under the same one, it is not made again: the answer is what the first time was.
    pub token: u64,
    /// What it was worked out on.
    pub based_on: Version,
    /// Fields.
    pub writes: Vec<Write>,
    /// What is to be told of it: kept with it until it is.
    pub events: Vec<Event>,
    /// What goes into the records of tickets.
    pub records: Vec<Record>,
    /// Tickets that are over.
    pub closed: Vec<Ticket>,
    /// How long closed tickets and their records are kept.
    pub keep: Millis,
}

/// A commit of which nobody has said that it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// The version that it made.
    pub version: Version,
    /// What is to be told.
    pub events: Vec<Event>,
}

/// Something whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// What.
    pub field: Field,
    /// The last message in it, if it is a ticket and there was one.
    pub heard: Option<Millis>,
}

/// How many versions a copy may lie behind and still be told only what has changed, and how many commits are known by
/// their tokens.
const HISTORY: usize = 1024;

/// The most commits that wait to be told of: enough for hours where the log of a ticket cannot be written for so long. More
/// are refused, so that none is forgotten.
pub const MAX_UNTOLD: usize = 4096;

/// The most records of one ticket; older ones are trimmed.
pub const MAX_RECORDS: usize = 1000;

/// See the module. Every call is bounded by the store's own deadline.
pub trait DeskStore: Send + Sync + 'static {
    /// What has changed since a version, and the time.
    fn load(&self, since: Version) -> BoxFuture<'_, Result<Loaded, ClusterError>>;
    /// Makes a step real; `None`: the store has moved on, nothing was done. After an error it is unknown whether it was:
    /// asking again with the same token says so, as long as no more than a thousand other commits have come since.
    fn commit<'a>(
        &'a self,
        commit: &'a Commit,
    ) -> BoxFuture<'a, Result<Option<Version>, ClusterError>>;
    /// At most so many commits after a version that are at least so old and not told of, oldest first.
    fn untold(
        &self,
        age: Duration,
        after_most: (Version, usize),
    ) -> BoxFuture<'_, Result<Vec<Untold>, ClusterError>>;
    /// All of this commit is told.
    fn told(&self, version: Version) -> BoxFuture<'_, Result<(), ClusterError>>;
    /// What is due now, the longest overdue first. Firing something twice is harmless.
    fn due(&self, most: usize) -> BoxFuture<'_, Result<Vec<Due>, ClusterError>>;
    /// Notes that something was said in an open ticket.
    fn heard<'a>(&'a self, ticket: &'a TicketId) -> BoxFuture<'a, Result<(), ClusterError>>;
    /// Those of these tickets that are over, as long as they are kept.
    fn closed<'a>(
        &'a self,
        tickets: &'a [TicketId],
    ) -> BoxFuture<'a, Result<Vec<Ticket>, ClusterError>>;
    /// Tickets that are over, the latest first, after skipping so many.
    fn closed_page(
        &self,
        skip: usize,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Ticket>, ClusterError>>;
    /// The records of a ticket, oldest first.
    fn records<'a>(
        &'a self,
        ticket: &'a TicketId,
    ) -> BoxFuture<'a, Result<Vec<Record>, ClusterError>>;
}
