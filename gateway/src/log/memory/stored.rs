//! `Stored`: one log in memory: its messages, where it ends, and what is kept beside them.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::redis::gap;
use super::super::{Append, Appended, Entry, Gap, MessageName, Most, Page, Record, Retention};
use super::kept::Kept;
use super::repeated::Repeated;
use crate::group::Generation;
use crate::protocol::{LogId, Position};
use crate::time::{millis, tick};

/// The bounds of all logs, and how long messages of this one are kept.
pub(super) type Bounds<'a> = (&'a Retention, Duration);

/// See the module.
#[derive(Debug)]
pub(super) struct Stored {
    epoch: u64,
    entries: VecDeque<Entry>,
    head: u64,
    written_at: u64,
    repeated: Repeated,
    pub(super) kept: Kept,
}

impl Stored {
    /// Nothing yet.
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            entries: VecDeque::new(),
            head: 0,
            written_at: 0,
            repeated: Repeated::default(),
            kept: Kept::default(),
        }
    }

    const fn at(&self, offset: u64) -> Position {
        Position {
            epoch: self.epoch,
            offset,
        }
    }

    /// Where it ends.
    pub(super) const fn head(&self) -> Position {
        self.at(self.head)
    }

    /// Stores a message, unless its sender had sent it before.
    pub(super) fn store(
        &mut self,
        (log, message): (&LogId, &Append),
        retention: &Retention,
    ) -> Appended {
        let is_group = matches!(log, LogId::Group(_));
        let name = MessageName::new(&message.sender, &message.id);
        self.repeated.forget(retention.dedupe, message.at);
        if let Some(offset) = self.repeated.place(&name).filter(|_| message.own_id) {
            return Appended::Repeated(self.at(offset));
        }
        self.head += 1;
        let offset = self.head;
        self.written_at = message.at;
        self.entries.push_back(Entry {
            trace: message.trace,
            offset,
            id: message.id.clone(),
            sender: message.sender.clone(),
            at: message.at,
            ack: message.ack,
            // Whoever joined before has a smaller one, and who joins later a larger one.
            newest: is_group.then(|| Generation(tick())),
            json: message.json.clone(),
        });
        if message.ack {
            self.kept.wait(&name, offset);
        }
        if retention.records.is_some() {
            let record = Record {
                sender: message.sender.clone(),
                position: self.at(offset),
                accepted_at: message.at,
                ..Record::default()
            };
            self.kept.records.insert(name.clone(), record);
        }
        if message.own_id {
            self.repeated.note(name, offset, message.at);
        }
        self.trim((retention, retention.age_of(log)), message.at);
        Appended::New(self.at(offset))
    }

    fn trim(&mut self, (retention, age): Bounds<'_>, now: u64) {
        let since = now.saturating_sub(millis(age));
        let too_many = |stored: &Self| stored.entries.len() as u64 > retention.messages;
        while let Some(oldest) = self
            .entries
            .front()
            .filter(|oldest| oldest.at < since || too_many(self))
        {
            let (offset, name) = (oldest.offset, MessageName::new(&oldest.sender, &oldest.id));
            self.entries.pop_front();
            self.kept.forget(&name, offset);
        }
    }

    /// Removes what is over, and gives back the room.
    pub(super) fn sweep(&mut self, bounds: Bounds<'_>, now: u64) {
        let (retention, _) = bounds;
        self.trim(bounds, now);
        self.repeated.forget(retention.dedupe, now);
        self.entries.shrink_to_fit();
        self.repeated.shrink();
    }

    /// Whether nothing is in it and nothing was written to it for so many milliseconds.
    pub(super) fn is_over(&self, life: u64, now: u64) -> bool {
        self.entries.is_empty() && self.written_at.saturating_add(life) <= now
    }

    /// At most so much after a place.
    pub(super) fn read(&self, after: Option<Position>, most: Most) -> Page {
        let lost = after
            .filter(|after| after.offset > 0)
            .filter(|after| after.epoch != self.epoch || after.offset > self.head)
            .map(|_| Gap::Lost);
        let from = match (after, lost) {
            (Some(after), None) => after.offset,
            (Some(after), Some(_)) if after.epoch == self.epoch => self.head,
            _ => 0,
        };
        let later = self.entries.iter().filter(|entry| entry.offset > from);
        let mut bytes = 0_usize;
        let fits = |(index, entry): &(usize, &Entry)| {
            bytes = bytes.saturating_add(entry.json.len());
            *index == 0 || bytes <= most.bytes
        };
        let some = later.take(most.messages).enumerate().take_while(fits);
        let entries: Vec<Entry> = some.map(|(_, entry)| entry.clone()).collect();
        let head = self.head();
        Page {
            end: entries.last().map_or(head, |last| self.at(last.offset)),
            gap: gap(after, lost, head, &entries),
            entries,
            head,
        }
    }

    /// The place before the first such message.
    pub(super) fn before(&self, is_wanted: impl Fn(&Entry) -> bool) -> Position {
        let first = self.entries.iter().find(|entry| is_wanted(entry));
        self.at(first.map_or(self.head, |first| first.offset - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::UserId;

    #[test]
    fn what_is_over_takes_no_room_although_nobody_writes_any_more() {
        let hour = Duration::from_hours(1);
        let retention = Retention {
            age: 2 * hour,
            messages: 10,
            dedupe: hour,
            tickets: hour,
            records: Some(hour),
        };
        let inbox = LogId::Inbox(UserId::new("bob").unwrap());
        let message = Append {
            id: "m".to_owned(),
            sender: "alice".to_owned(),
            own_id: true,
            json: "{}".into(),
            at: 1,
            ack: true,
            trace: None,
        };
        let mut stored = Stored::new(7);
        stored.store((&inbox, &message), &retention);
        let bounds = (&retention, retention.age);
        stored.sweep(bounds, millis(hour));
        assert_eq!(
            (stored.entries.len(), stored.repeated.room() > 0),
            (1, true)
        );
        stored.sweep(bounds, millis(hour) + 1);
        assert_eq!((stored.entries.len(), stored.repeated.room()), (1, 0));
        assert!(!stored.is_over(1, millis(hour)), "something is in it");
        stored.sweep(bounds, millis(2 * hour) + 2);
        assert_eq!(stored.entries.capacity(), 0);
        assert!(stored.is_over(1, millis(hour)));
        assert_eq!(stored.head().offset, 1);
    }
}
