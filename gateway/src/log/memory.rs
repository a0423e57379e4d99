//! `MemoryLog`: logs of a gateway that runs alone. They end with the process, and say so.

mod due;
mod kept;
mod repeated;
mod sent;
mod stored;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::{
    About, Append, Appended, Awaited, Gap, Log, MessageName, Most, Page, Record, Retention,
    SentPage, SentQuery, Word,
};
use crate::cluster::ClusterError;
use crate::group::Generation;
use crate::protocol::{LogId, Position, UserId};
use crate::time::millis;

use due::Due;
use sent::SentBooks;
use stored::Stored;

/// Appends between two sweeps over logs that nobody writes to any more.
const SWEEP: u64 = 4096;

/// A day in milliseconds: so much longer than twice its messages the end of a log is known.
const DAY: u64 = 86_400_000;

/// See the module.
#[derive(Debug)]
pub struct MemoryLog {
    retention: ArcSwap<Retention>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// That of logs which begin now: larger than any that a log had which is gone.
    epoch: u64,
    logs: HashMap<LogId, Stored>,
    seen: HashMap<UserId, Position>,
    appends: u64,
    sent: SentBooks,
    due: Due,
}

impl MemoryLog {
    /// Empty logs. The epoch, larger than any former process', makes positions of former processes void.
    pub fn new(retention: Retention, epoch: u64) -> Self {
        Self {
            retention: ArcSwap::from_pointee(retention),
            state: Mutex::new(State {
                epoch,
                ..State::default()
            }),
        }
    }

    fn retention(&self) -> Retention {
        **self.retention.load()
    }

    fn append_now(&self, log: &LogId, messages: &[Append]) -> Vec<Appended> {
        let retention = self.retention();
        let mut state = self.state.lock();
        let state = &mut *state;
        let fresh = Stored::new(state.epoch);
        let stored = state.logs.entry(log.clone()).or_insert(fresh);
        let store = |message| stored.store((log, message), &retention);
        let appended: Vec<Appended> = messages.iter().map(store).collect();
        if retention.records.is_some() {
            for (message, appended) in messages.iter().zip(&appended) {
                if matches!(appended, Appended::New(_)) {
                    state.sent.note(log, message);
                }
            }
        }
        state.appends += 1;
        if let Some(last) = messages.last()
            && state.appends.is_multiple_of(SWEEP)
        {
            state.sweep(&retention, last.at);
        }
        appended
    }

    fn read_now(&self, log: &LogId, after: Option<Position>, most: Most) -> Page {
        let state = self.state.lock();
        let Some(stored) = state.logs.get(log) else {
            let lost = after.filter(|after| after.offset > 0).map(|_| Gap::Lost);
            // Whoever has known the log gets a place to go on from.
            let beginning = Position {
                epoch: state.epoch,
                offset: 0,
            };
            let head = lost.map_or_else(Position::default, |_| beginning);
            return Page {
                gap: lost,
                head,
                end: head,
                ..Page::default()
            };
        };
        stored.read(after, most)
    }
}

impl State {
    /// Removes what is over, also of logs that nobody writes to any more. The end of a log is known for as long as Redis knows
    /// it; one that begins again after that does so under an epoch of its own, so that no old place is taken for one in it.
    fn sweep(&mut self, retention: &Retention, now: u64) {
        let logs = self.logs.len();
        self.logs.retain(|log, stored| {
            let age = retention.age_of(log);
            stored.sweep((retention, age), now);
            !stored.is_over(millis(age).saturating_mul(2).saturating_add(DAY), now)
        });
        if self.logs.len() < logs {
            self.epoch += 1;
        }
        // A place in an inbox that is gone is none in the next.
        let logs = &self.logs;
        self.seen
            .retain(|user, _| logs.contains_key(&LogId::Inbox(user.clone())));
        let longest = retention.age.max(retention.tickets);
        self.sent.sweep(now.saturating_sub(millis(longest)));
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, Result<T, ClusterError>> {
    Box::pin(std::future::ready(Ok(value)))
}

impl Log for MemoryLog {
    fn append<'a>(
        &'a self,
        log: &'a LogId,
        messages: &'a [Append],
    ) -> BoxFuture<'a, Result<Vec<Appended>, ClusterError>> {
        ready(self.append_now(log, messages))
    }

    fn read<'a>(
        &'a self,
        log: &'a LogId,
        after: Option<Position>,
        most: Most,
    ) -> BoxFuture<'a, Result<Page, ClusterError>> {
        ready(self.read_now(log, after, most))
    }

    fn heads<'a>(
        &'a self,
        logs: &'a [LogId],
    ) -> BoxFuture<'a, Result<Vec<Position>, ClusterError>> {
        let state = self.state.lock();
        let head = |log: &LogId| {
            let stored = state.logs.get(log);
            stored.map_or_else(Position::default, Stored::head)
        };
        ready(logs.iter().map(head).collect())
    }

    fn since<'a>(
        &'a self,
        log: &'a LogId,
        millis: u64,
    ) -> BoxFuture<'a, Result<Option<Position>, ClusterError>> {
        let state = self.state.lock();
        let stored = state.logs.get(log);
        ready(stored.map(|stored| stored.before(|entry| entry.at >= millis)))
    }

    fn joined<'a>(
        &'a self,
        log: &'a LogId,
        joined: Generation,
    ) -> BoxFuture<'a, Result<Option<Position>, ClusterError>> {
        let state = self.state.lock();
        let stored = state.logs.get(log);
        ready(stored.map(|stored| stored.before(|entry| entry.is_after(joined))))
    }

    fn seen<'a>(
        &'a self,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Option<Position>, ClusterError>> {
        ready(self.state.lock().seen.get(user).copied())
    }

    fn saw<'a>(
        &'a self,
        user: &'a UserId,
        position: Position,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        let mut state = self.state.lock();
        let seen = state.seen.entry(user.clone()).or_default();
        *seen = position.max(*seen);
        ready(())
    }

    fn acknowledge<'a>(
        &'a self,
        log: &'a LogId,
        by_about: (&'a UserId, About<'a>),
        word_at: (Word, u64),
    ) -> BoxFuture<'a, Result<Vec<String>, ClusterError>> {
        let mut state = self.state.lock();
        let stored = state.logs.get_mut(log);
        let told = stored.map(|stored| stored.kept.note_word(by_about, word_at));
        ready(told.unwrap_or_default())
    }

    fn remind<'a>(
        &'a self,
        awaited: &'a [Awaited],
        until: u64,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        self.state.lock().due.remember(awaited, until);
        ready(())
    }

    fn due(
        &self,
        share: u8,
        by: (u64, usize),
    ) -> BoxFuture<'_, Result<Vec<Awaited>, ClusterError>> {
        ready(self.state.lock().due.of_share(share, by))
    }

    fn forget<'a>(&'a self, awaited: &'a [Awaited]) -> BoxFuture<'a, Result<(), ClusterError>> {
        self.state.lock().due.forget(awaited);
        ready(())
    }

    fn awaits<'a>(
        &'a self,
        log: &'a LogId,
        name: &'a MessageName,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<bool, ClusterError>> {
        let state = self.state.lock();
        let stored = state.logs.get(log);
        ready(stored.is_some_and(|stored| stored.kept.awaits(name, user)))
    }

    fn records<'a>(
        &'a self,
        log: &'a LogId,
        names: &'a [MessageName],
        now: u64,
    ) -> BoxFuture<'a, Result<Vec<Option<Record>>, ClusterError>> {
        let state = self.state.lock();
        let stored = state.logs.get(log);
        let record = |name: &MessageName| {
            let record = stored.and_then(|stored| stored.kept.records.get(name));
            record
                .filter(|record| !record.is_over(self.retention().records, now))
                .cloned()
        };
        ready(names.iter().map(record).collect())
    }

    fn sent<'a>(
        &'a self,
        sender: &'a str,
        query: SentQuery,
        now: u64,
    ) -> BoxFuture<'a, Result<SentPage, ClusterError>> {
        let state = self.state.lock();
        let ttl = self.retention().records;
        let record = |log: &LogId, name: &MessageName| {
            let record = state.logs.get(log)?.kept.records.get(name)?;
            (!record.is_over(ttl, now)).then(|| record.clone())
        };
        ready(state.sent.page(sender, &query, record))
    }

    fn outlives_process(&self) -> bool {
        false
    }

    fn keep(&self, retention: Retention) {
        self.retention.store(Arc::new(retention));
    }
}
