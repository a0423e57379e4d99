//! `MemoryDesk`: the desk of a gateway that runs alone, or of several nodes in one process.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Commit, DeskStore, Due, HISTORY, Loaded, MAX_RECORDS, MAX_UNTOLD, Untold, Version};
use crate::cluster::ClusterError;
use crate::hub::unix_millis;
use crate::protocol::TicketId;
use crate::ticket::{Event, Field, Millis, Record, Ticket};

/// See the module.
#[derive(Debug)]
pub struct MemoryDesk {
    began: (Instant, Millis),
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    version: u64,
    fields: BTreeMap<Field, String>,
    due: BTreeMap<Field, Millis>,
    heard: HashMap<TicketId, Millis>,
    closed: Vec<(Millis, Ticket)>,
    records: HashMap<TicketId, Vec<Record>>,
    untold: BTreeMap<Version, (Instant, Vec<Event>)>,
    /// The tokens of the last commits and what they made.
    done: VecDeque<(u64, u64)>,
}

impl Default for MemoryDesk {
    fn default() -> Self {
        Self {
            began: (Instant::now(), unix_millis()),
            inner: Mutex::default(),
        }
    }
}

impl MemoryDesk {
    /// Goes with tokio's clock, so that a step of the wall clock harms nothing.
    fn now(&self) -> Millis {
        let (began, at) = self.began;
        let passed = u64::try_from(began.elapsed().as_millis()).unwrap_or(Millis::MAX);
        at.saturating_add(passed)
    }
}

impl Inner {
    fn commit(&mut self, commit: &Commit, now: Millis) -> Result<Option<Version>, ClusterError> {
        let made = self.done.iter().find(|(token, _)| *token == commit.token);
        if let Some((_, version)) = made {
            return Ok(Some(Version(*version)));
        }
        if commit.based_on.0 != self.version {
            return Ok(None);
        }
        if !commit.events.is_empty() && self.untold.len() >= MAX_UNTOLD {
            return Err(ClusterError::Busy);
        }
        for write in &commit.writes {
            if let Some(text) = &write.text {
                self.fields.insert(write.field.clone(), text.clone());
            } else {
                self.fields.remove(&write.field);
                if let Field::Ticket(id) = &write.field {
                    self.heard.remove(id);
                }
            }
            match write.due {
                Some(due) => self.due.insert(write.field.clone(), due),
                None => self.due.remove(&write.field),
            };
        }
        for record in &commit.records {
            let records = self.records.entry(record.ticket.clone()).or_default();
            records.push(record.clone());
            let over = records.len().saturating_sub(MAX_RECORDS);
            records.drain(..over);
        }
        for ticket in &commit.closed {
            self.closed
                .push((now.saturating_add(commit.keep), ticket.clone()));
        }
        self.forget(now);
        self.version += 1;
        self.done.push_front((commit.token, self.version));
        self.done.truncate(HISTORY);
        let version = Version(self.version);
        if !commit.events.is_empty() {
            let untold = (Instant::now(), commit.events.clone());
            self.untold.insert(version, untold);
        }
        Ok(Some(version))
    }

    fn forget(&mut self, now: Millis) {
        let records = &mut self.records;
        self.closed.retain(|(until, ticket)| {
            let kept = *until > now;
            if !kept {
                records.remove(&ticket.id);
            }
            kept
        });
    }

    fn due(&self, now: Millis) -> Vec<(Millis, Due)> {
        let due = self.due.iter().filter(|(_, due)| **due <= now);
        let due = due.map(|(field, due)| {
            let heard = match field {
                Field::Ticket(id) => self.heard.get(id).copied(),
                Field::Agent(_) | Field::Number => None,
            };
            let field = field.clone();
            (*due, Due { field, heard })
        });
        due.collect()
    }
}

fn done<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, Result<T, ClusterError>> {
    Box::pin(ready(Ok(value)))
}

impl DeskStore for MemoryDesk {
    fn load(&self, since: Version) -> BoxFuture<'_, Result<Loaded, ClusterError>> {
        let inner = self.inner.lock();
        let same = since.0 == inner.version;
        let fields = inner.fields.iter().filter(|_| !same);
        done(Loaded {
            version: Version(inner.version),
            now: self.now(),
            whole: !same,
            fields: fields
                .map(|(field, text)| (field.clone(), Some(text.clone())))
                .collect(),
        })
    }

    fn commit<'a>(
        &'a self,
        commit: &'a Commit,
    ) -> BoxFuture<'a, Result<Option<Version>, ClusterError>> {
        Box::pin(ready(self.inner.lock().commit(commit, self.now())))
    }

    fn untold(
        &self,
        age: Duration,
        (after, most): (Version, usize),
    ) -> BoxFuture<'_, Result<Vec<Untold>, ClusterError>> {
        let inner = self.inner.lock();
        let later = (Bound::Excluded(after), Bound::Unbounded);
        let old = inner.untold.range(later);
        let old = old.filter(|(_, (made, _))| made.elapsed() >= age);
        let untold = old.map(|(version, (_, events))| Untold {
            version: *version,
            events: events.clone(),
        });
        done(untold.take(most).collect())
    }

    fn told(&self, version: Version) -> BoxFuture<'_, Result<(), ClusterError>> {
        self.inner.lock().untold.remove(&version);
        done(())
    }

    fn due(&self, most: usize) -> BoxFuture<'_, Result<Vec<Due>, ClusterError>> {
        let mut due = self.inner.lock().due(self.now());
        due.sort_by_key(|(at, _)| *at);
        due.truncate(most);
        done(due.into_iter().map(|(_, due)| due).collect())
    }

    fn heard<'a>(&'a self, ticket: &'a TicketId) -> BoxFuture<'a, Result<(), ClusterError>> {
        let mut inner = self.inner.lock();
        if inner.fields.contains_key(&Field::Ticket(ticket.clone())) {
            inner.heard.insert(ticket.clone(), self.now());
        }
        done(())
    }

    fn closed<'a>(
        &'a self,
        tickets: &'a [TicketId],
    ) -> BoxFuture<'a, Result<Vec<Ticket>, ClusterError>> {
        let mut inner = self.inner.lock();
        inner.forget(self.now());
        let latest = |id: &TicketId| {
            let mut latest_first = inner.closed.iter().rev();
            latest_first.find(|(_, known)| known.id == *id)
        };
        let found = tickets.iter().filter_map(latest);
        done(found.map(|(_, known)| known.clone()).collect())
    }

    fn closed_page(
        &self,
        skip: usize,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Ticket>, ClusterError>> {
        let mut inner = self.inner.lock();
        inner.forget(self.now());
        let latest_first = inner.closed.iter().rev().skip(skip).take(most);
        done(latest_first.map(|(_, ticket)| ticket.clone()).collect())
    }

    fn records<'a>(
        &'a self,
        ticket: &'a TicketId,
    ) -> BoxFuture<'a, Result<Vec<Record>, ClusterError>> {
        let mut inner = self.inner.lock();
        inner.forget(self.now());
        done(inner.records.get(ticket).cloned().unwrap_or_default())
    }
}
