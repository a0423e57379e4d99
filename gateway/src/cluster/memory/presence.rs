//! `MemoryPresence`: who is online in memory, by the same rules as in Redis.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{MemoryStore, State};
use crate::cluster::ClusterError;
use crate::cluster::presence::{OFFLINE_DELAY, Place, Presence, PresenceBook};
use crate::protocol::UserId;

/// Changes that are kept for whoever reads them.
const CHANGES: usize = 65_536;

/// Users who are remembered to be offline; past that they are forgotten, and their next coming has a larger generation all
/// the same, by the clock.
const REMEMBERED: usize = 65_536;

/// Who is online, who is leaving, and what changed.
#[derive(Default)]
pub(super) struct Roll {
    users: HashMap<UserId, (bool, u64)>,
    leaving: HashMap<UserId, Instant>,
    changes: VecDeque<(Place, Presence)>,
    marks: HashMap<String, Place>,
    offline: usize,
}

impl Roll {
    pub(super) fn arrive(&mut self, user: &UserId) {
        self.leaving.remove(user);
        self.turn(user, true);
    }

    pub(super) fn depart(&mut self, user: &UserId, delay: Duration) {
        self.leaving.insert(user.clone(), Instant::now() + delay);
    }

    fn turn(&mut self, user: &UserId, online: bool) {
        let last = self.users.get(user).copied();
        if last.is_some_and(|(was, _)| was == online) {
            return;
        }
        let micros = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0));
        let generation = micros.max(last.map_or(0, |(_, generation)| generation + 1));
        self.offline += usize::from(!online);
        self.offline -= usize::from(online && last.is_some());
        self.users.insert(user.clone(), (online, generation));
        if self.offline > REMEMBERED {
            self.users.retain(|_, (online, _)| *online);
            self.offline = 0;
        }
        let change = Presence {
            user: user.clone(),
            online,
            generation,
        };
        self.changes
            .push_back((self.next_place(micros / 1000), change));
        if self.changes.len() > CHANGES {
            self.changes.pop_front();
        }
    }

    fn next_place(&self, millis: u64) -> Place {
        let last = self.last();
        if millis > last.millis {
            Place { millis, number: 0 }
        } else {
            Place {
                number: last.number + 1,
                ..last
            }
        }
    }

    fn last(&self) -> Place {
        self.changes
            .back()
            .map_or_else(Place::default, |last| last.0)
    }

    fn state(&self, user: &UserId) -> Presence {
        match self.users.get(user) {
            Some((online, generation)) => Presence {
                user: user.clone(),
                online: *online,
                generation: *generation,
            },
            None => Presence::unknown(user.clone()),
        }
    }
}

impl State {
    fn settle(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let leaving = self.roll.leaving.iter();
        let due: Vec<UserId> = leaving
            .filter(|(_, when)| **when <= now)
            .map(|(user, _)| user.clone())
            .collect();
        for user in due {
            self.roll.leaving.remove(&user);
            if !self.book.has(&user) {
                self.roll.turn(&user, false);
            }
        }
        let next = self.roll.leaving.values().min();
        next.map(|when| when.saturating_duration_since(now))
    }
}

/// See the module.
#[derive(Debug)]
pub struct MemoryPresence {
    store: Arc<MemoryStore>,
    delay: Duration,
}

impl MemoryPresence {
    /// Over this store.
    pub fn new(store: Arc<MemoryStore>) -> Self {
        Self {
            store,
            delay: OFFLINE_DELAY,
        }
    }

    /// Who is nowhere for so long is offline.
    #[must_use]
    pub fn offline_after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

impl PresenceBook for MemoryPresence {
    fn settle(&self) -> BoxFuture<'_, Result<Option<Duration>, ClusterError>> {
        Box::pin(async move { Ok(self.store.0.lock().settle()) })
    }

    fn depart<'a>(&'a self, users: &'a [UserId]) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            let mut state = self.store.0.lock();
            for user in users {
                if !state.book.has(user) {
                    state.roll.depart(user, self.delay);
                }
            }
            Ok(())
        })
    }

    fn states<'a>(
        &'a self,
        users: &'a [UserId],
    ) -> BoxFuture<'a, Result<Vec<Presence>, ClusterError>> {
        Box::pin(async move {
            let state = self.store.0.lock();
            Ok(users.iter().map(|user| state.roll.state(user)).collect())
        })
    }

    fn last(&self) -> BoxFuture<'_, Result<Place, ClusterError>> {
        Box::pin(async move { Ok(self.store.0.lock().roll.last()) })
    }

    fn changes(
        &self,
        after: Place,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Place, Presence)>, ClusterError>> {
        Box::pin(async move {
            let state = self.store.0.lock();
            let changes = &state.roll.changes;
            let first = changes.partition_point(|(place, _)| *place <= after);
            Ok(changes.iter().skip(first).take(limit).cloned().collect())
        })
    }

    fn mark<'a>(&'a self, reader: &'a str) -> BoxFuture<'a, Result<Option<Place>, ClusterError>> {
        Box::pin(async move { Ok(self.store.0.lock().roll.marks.get(reader).copied()) })
    }

    fn set_mark<'a>(
        &'a self,
        reader: &'a str,
        place: Place,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            let mut state = self.store.0.lock();
            state.roll.marks.insert(reader.to_owned(), place);
            Ok(())
        })
    }
}
