//! `MemoryLog`: logs of a gateway that runs alone. They end with the process, and say so.

mod kept;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::redis::gap;
use super::sent::SENT_MAX;
use super::{
    About, AckState, Append, Appended, Awaited, Entry, Gap, Log, MessageName, Page, Record,
    Retention, SentCursor, SentPage, SentQuery, SentRecord, Word,
};
use crate::cluster::ClusterError;
use crate::protocol::{LogId, Position, UserId};
use crate::time::millis;

use kept::{Change, Kept};

/// Appends between two sweeps over logs that nobody writes to any more.
const SWEEP: u64 = 4096;

/// See the module.
#[derive(Debug)]
pub struct MemoryLog {
    retention: ArcSwap<Retention>,
    epoch: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    logs: HashMap<LogId, Stored>,
    seen: HashMap<UserId, Position>,
    appends: u64,
    /// By sender, in the order of sending.
    sent: HashMap<String, VecDeque<Sent>>,
    /// What is to be acknowledged, by the time when it is due.
    due: BTreeSet<(u64, Awaited)>,
}

#[derive(Debug)]
struct Sent {
    at: SentCursor,
    stored_at: u64,
    log: LogId,
    id: String,
}

#[derive(Debug, Default)]
struct Stored {
    entries: VecDeque<Entry>,
    head: u64,
    written_at: u64,
    repeated: HashMap<MessageName, (u64, u64)>,
    kept: Kept,
}

impl MemoryLog {
    /// Empty logs. The epoch, larger than any former process', makes positions of former processes void.
    pub fn new(retention: Retention, epoch: u64) -> Self {
        Self {
            retention: ArcSwap::from_pointee(retention),
            epoch,
            state: Mutex::default(),
        }
    }

    fn retention(&self) -> Retention {
        **self.retention.load()
    }

    fn append_now(&self, log: &LogId, messages: &[Append]) -> Vec<Appended> {
        let mut state = self.state.lock();
        let stored = state.logs.entry(log.clone()).or_default();
        let appended: Vec<Appended> = messages
            .iter()
            .map(|message| self.store((log, stored), message))
            .collect();
        for (message, appended) in messages.iter().zip(&appended) {
            if matches!(appended, Appended::New(_)) {
                self.note_sender(&mut state, log, message);
            }
        }
        state.appends += 1;
        if let Some(message) = messages
            .last()
            .filter(|_| state.appends.is_multiple_of(SWEEP))
        {
            let since = message.at.saturating_sub(millis(self.retention().age));
            let since = since.min(message.at.saturating_sub(millis(self.retention().tickets)));
            state.logs.retain(|_, stored| stored.written_at >= since);
            let recent = |sent: &Sent| sent.at.millis >= since;
            state.sent.retain(|_, sent| sent.back().is_some_and(recent));
        }
        appended
    }

    fn note_sender(&self, state: &mut State, log: &LogId, message: &Append) {
        if self.retention().records.is_none() {
            return;
        }
        let sent = state.sent.entry(message.sender.clone()).or_default();
        let last = sent.back().map(|last| last.at);
        let at = SentCursor {
            // A clock that was set back does not turn the order.
            millis: last.map_or(message.at, |last| last.millis.max(message.at)),
            number: last.map_or(0, |last| last.number + 1),
        };
        sent.push_back(Sent {
            at,
            stored_at: message.at,
            log: log.clone(),
            id: message.id.clone(),
        });
        if sent.len() > SENT_MAX {
            sent.pop_front();
        }
    }

    fn sent_now(&self, sender: &str, query: &SentQuery, now: u64) -> SentPage {
        let state = self.state.lock();
        let all = state.sent.get(sender);
        let wanted = all.into_iter().flatten().filter(|sent| {
            sent.at.millis >= query.since && query.after.is_none_or(|after| sent.at > after)
        });
        let page: Vec<&Sent> = wanted.take(query.limit).collect();
        let next = page.last().filter(|_| page.len() >= query.limit);
        let next = next.map(|last| last.at);
        let records = page.into_iter().filter_map(|sent| {
            let name = MessageName::new(sender, &sent.id);
            let record = state.logs.get(&sent.log)?.kept.records.get(&name)?;
            // The id may have been used anew: the record is of that then.
            let is_kept = !record.is_over(self.retention().records, now)
                && record.accepted_at == sent.stored_at;
            is_kept.then(|| SentRecord {
                log: sent.log.clone(),
                id: sent.id.clone(),
                record: record.clone(),
            })
        });
        SentPage {
            records: records.collect(),
            next,
        }
    }

    fn store(&self, (log, stored): (&LogId, &mut Stored), message: &Append) -> Appended {
        let name = MessageName::new(&message.sender, &message.id);
        let dedupe = millis(self.retention().dedupe);
        stored
            .repeated
            .retain(|_, (_, at)| *at + dedupe > message.at);
        if let Some((offset, _)) = stored.repeated.get(&name).filter(|_| message.own_id) {
            return Appended::Repeated(self.at(*offset));
        }
        stored.head += 1;
        let offset = stored.head;
        stored.written_at = message.at;
        stored.entries.push_back(Entry {
            trace: message.trace,
            offset,
            id: message.id.clone(),
            sender: message.sender.clone(),
            at: message.at,
            ack: message.ack,
            json: message.json.clone(),
        });
        if message.ack {
            stored.kept.wait(&name, offset);
        }
        if self.retention().records.is_some() {
            let record = Record {
                sender: message.sender.clone(),
                position: self.at(offset),
                accepted_at: message.at,
                ..Record::default()
            };
            stored.kept.records.insert(name.clone(), record);
        }
        if message.own_id {
            stored.repeated.insert(name, (offset, message.at));
        }
        self.trim((log, stored), message.at);
        Appended::New(self.at(offset))
    }

    fn trim(&self, (log, stored): (&LogId, &mut Stored), now: u64) {
        let since = now.saturating_sub(millis(self.retention().age_of(log)));
        let too_many = |stored: &Stored| stored.entries.len() as u64 > self.retention().messages;
        while let Some(oldest) = stored
            .entries
            .front()
            .filter(|oldest| oldest.at < since || too_many(stored))
        {
            let (offset, name) = (oldest.offset, MessageName::new(&oldest.sender, &oldest.id));
            stored.entries.pop_front();
            stored.kept.forget(&name, offset);
        }
    }

    const fn at(&self, offset: u64) -> Position {
        Position {
            epoch: self.epoch,
            offset,
        }
    }

    fn read_now(&self, log: &LogId, after: Option<Position>, limit: usize) -> Page {
        let state = self.state.lock();
        let Some(stored) = state.logs.get(log) else {
            let lost = after.filter(|after| after.offset > 0).map(|_| Gap::Lost);
            // Whoever has known the log gets a place to go on from.
            let head = lost.map_or_else(Position::default, |_| self.at(0));
            return Page {
                gap: lost,
                head,
                end: head,
                ..Page::default()
            };
        };
        let lost = after
            .filter(|after| after.offset > 0)
            .filter(|after| after.epoch != self.epoch || after.offset > stored.head)
            .map(|_| Gap::Lost);
        let from = match (after, lost) {
            (Some(after), None) => after.offset,
            (Some(after), Some(_)) if after.epoch == self.epoch => stored.head,
            _ => 0,
        };
        let later = stored.entries.iter().filter(|entry| entry.offset > from);
        let entries: Vec<Entry> = later.take(limit).cloned().collect();
        let head = self.at(stored.head);
        Page {
            end: entries.last().map_or(head, |last| self.at(last.offset)),
            gap: gap(after, lost, head, &entries),
            entries,
            head,
        }
    }

    fn change(&self, user: &UserId, about: About<'_>, (to, at): (Change, u64)) -> Vec<String> {
        let mut state = self.state.lock();
        let Some(stored) = state.logs.get_mut(&LogId::Inbox(user.clone())) else {
            return Vec::new();
        };
        stored.kept.change(about, (to, at))
    }

    fn change_one(
        &self,
        log: &LogId,
        by_about: (&UserId, About<'_>),
        word_at: (Word, u64),
    ) -> Vec<String> {
        let mut state = self.state.lock();
        let Some(stored) = state.logs.get_mut(log) else {
            return Vec::new();
        };
        stored.kept.change_one(by_about, word_at)
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
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, ClusterError>> {
        ready(self.read_now(log, after, limit))
    }

    fn heads<'a>(
        &'a self,
        logs: &'a [LogId],
    ) -> BoxFuture<'a, Result<Vec<Position>, ClusterError>> {
        let state = self.state.lock();
        let head = |log: &LogId| {
            let stored = state.logs.get(log);
            stored.map_or_else(Position::default, |stored| self.at(stored.head))
        };
        ready(logs.iter().map(head).collect())
    }

    fn since<'a>(
        &'a self,
        log: &'a LogId,
        millis: u64,
    ) -> BoxFuture<'a, Result<Option<Position>, ClusterError>> {
        let state = self.state.lock();
        let place = state.logs.get(log).map(|stored| {
            let first = stored.entries.iter().find(|entry| entry.at >= millis);
            self.at(first.map_or(stored.head, |first| first.offset - 1))
        });
        ready(place)
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
        user: &'a UserId,
        about: About<'a>,
        (state, at): (AckState, u64),
    ) -> BoxFuture<'a, Result<Vec<String>, ClusterError>> {
        ready(self.change(user, about, (Change::Ack(state), at)))
    }

    fn expire<'a>(
        &'a self,
        Awaited {
            user,
            ticket,
            message,
        }: &'a Awaited,
        at: u64,
    ) -> BoxFuture<'a, Result<bool, ClusterError>> {
        let about = About {
            id: &message.id,
            sender: Some(&message.sender),
        };
        let told = match ticket {
            None => self.change(user, about, (Change::GiveUp, at)),
            Some(ticket) => {
                let log = LogId::Ticket(ticket.clone());
                self.change_one(&log, (user, about), (Word::Expired, at))
            }
        };
        ready(!told.is_empty())
    }

    fn remind<'a>(
        &'a self,
        awaited: &'a [Awaited],
        until: u64,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        let mut state = self.state.lock();
        let awaited = awaited.iter().cloned();
        state.due.extend(awaited.map(|awaited| (until, awaited)));
        ready(())
    }

    fn due(
        &self,
        share: u8,
        (now, limit): (u64, usize),
    ) -> BoxFuture<'_, Result<Vec<Awaited>, ClusterError>> {
        let state = self.state.lock();
        let due = state.due.iter().take_while(|(until, _)| *until <= now);
        let of_share = due.filter(|(_, awaited)| awaited.share() == share);
        let due = of_share.take(limit).map(|(_, awaited)| awaited.clone());
        ready(due.collect())
    }

    fn forget<'a>(&'a self, awaited: &'a [Awaited]) -> BoxFuture<'a, Result<(), ClusterError>> {
        if !awaited.is_empty() {
            let mut state = self.state.lock();
            state.due.retain(|(_, one)| !awaited.contains(one));
        }
        ready(())
    }

    fn acknowledge_one<'a>(
        &'a self,
        log: &'a LogId,
        by_about: (&'a UserId, About<'a>),
        word_at: (Word, u64),
    ) -> BoxFuture<'a, Result<Vec<String>, ClusterError>> {
        ready(self.change_one(log, by_about, word_at))
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
        ready(self.sent_now(sender, &query, now))
    }

    fn outlives_process(&self) -> bool {
        false
    }

    fn keep(&self, retention: Retention) {
        self.retention.store(Arc::new(retention));
    }
}
