//! `MemoryDesk`: the desk of a gateway that runs alone, or of several nodes in one process.

use std::collections::{BTreeMap, HashMap, VecDeque};

use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Commit, DeskStore, Due, HISTORY, Loaded, MAX_RECORDS, Version};
use crate::cluster::ClusterError;
use crate::hub::unix_millis;
use crate::protocol::TicketId;
use crate::ticket::{Field, Millis, Record, Ticket};

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
    fn commit(&mut self, commit: &Commit, now: Millis) -> Option<Version> {
        let made = self.done.iter().find(|(token, _)| *token == commit.token);
        if let Some((_, version)) = made {
            return Some(Version(*version));
        }
        if commit.based_on.0 != self.version {
            return None;
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
        Some(Version(self.version))
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
        done(self.inner.lock().commit(commit, self.now()))
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
