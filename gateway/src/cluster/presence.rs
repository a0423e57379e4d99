//! Presence: who is online, decided where the directory is written, so that all nodes agree on it.
//!
//! A user is online from their first session anywhere on, and offline once they have had none for the configured delay.
//! Each change has a generation, larger than any that the user has had, and a place in one sequence that outlives whoever
//! caused it. [`Directory`](super::Directory) writes decide who comes and who may be going; [`PresenceBook::settle`] who is
//! gone. Changes of one user alternate, in the order of their generations.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::ClusterError;
use crate::protocol::UserId;

/// The delay where nobody says another.
pub(super) const OFFLINE_DELAY: Duration = Duration::from_secs(5);

/// Whether a user is online, and since which change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Presence {
    /// Who.
    pub user: UserId,
    /// Whether they have a session anywhere.
    pub online: bool,
    /// The number of the change; 0: nobody remembers one. Unix microseconds, unless the clock stood still or went back.
    pub generation: u64,
}

impl Presence {
    /// When it changed, Unix milliseconds.
    pub const fn at(&self) -> u64 {
        self.generation / 1000
    }

    pub(super) const fn unknown(user: UserId) -> Self {
        Self {
            user,
            online: false,
            generation: 0,
        }
    }
}

/// A place in the sequence of changes: Unix milliseconds and a number within them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Unix milliseconds.
    pub millis: u64,
    /// Which of those in that millisecond.
    pub number: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.millis, self.number)
    }
}

/// A text that names no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a place is MILLIS-NUMBER")]
pub struct PlaceError;

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let (millis, number) = text.split_once('-').ok_or(PlaceError)?;
        Ok(Self {
            millis: millis.parse().map_err(|_| PlaceError)?,
            number: number.parse().map_err(|_| PlaceError)?,
        })
    }
}

/// Who is online and what changed.
pub trait PresenceBook: Send + Sync + 'static {
    /// Declares those offline whose delay is over, some at a time. Any node may call it, and several at once. How long
    /// nobody else's can be over; `None`: nobody is leaving.
    fn settle(&self) -> BoxFuture<'_, Result<Option<Duration>, ClusterError>>;
    /// Has users leave who have no session by now: their end could not be written when it came.
    fn depart<'a>(&'a self, users: &'a [UserId]) -> BoxFuture<'a, Result<(), ClusterError>>;
    /// How each of these users stands, in order.
    fn states<'a>(
        &'a self,
        users: &'a [UserId],
    ) -> BoxFuture<'a, Result<Vec<Presence>, ClusterError>>;
    /// The place of the last change.
    fn last(&self) -> BoxFuture<'_, Result<Place, ClusterError>>;
    /// The changes after a place, oldest first. Old ones are forgotten, in number.
    fn changes(
        &self,
        after: Place,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Place, Presence)>, ClusterError>>;
    /// Up to where a reader, by its name, has passed the changes on.
    fn mark<'a>(&'a self, reader: &'a str) -> BoxFuture<'a, Result<Option<Place>, ClusterError>>;
    /// Notes that. What a reader does before this it may do again.
    fn set_mark<'a>(
        &'a self,
        reader: &'a str,
        place: Place,
    ) -> BoxFuture<'a, Result<(), ClusterError>>;
}
