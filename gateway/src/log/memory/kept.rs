//! `Kept`: what is kept beside the messages of a log: who waits to hear of which, and what became of each.

use std::collections::HashMap;

use super::super::name::each_once;
use super::super::{About, AckState, MessageName, Record, Word};
use crate::protocol::UserId;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The messages that wait to be acknowledged, by their id: several senders may have given the same.
    acks: HashMap<String, Vec<Held>>,
    pub(super) records: HashMap<MessageName, Record>,
}

#[derive(Debug)]
struct Held {
    offset: u64,
    sender: String,
    waiting: Waiting,
    /// What each of several recipients said.
    words: Vec<(UserId, Word)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Pending,
    Delivered,
    GivenUp,
    /// It was read: there is nothing more to say.
    Over,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Ack(AckState),
    GiveUp,
}

impl Kept {
    /// A message of this name waits to be acknowledged.
    pub(super) fn wait(&mut self, MessageName { sender, id }: &MessageName, offset: u64) {
        self.acks.entry(id.clone()).or_default().push(Held {
            offset,
            sender: sender.clone(),
            waiting: Waiting::Pending,
            words: Vec::new(),
        });
    }

    /// A message is gone. A younger one may have the same name, and keeps what is its.
    pub(super) fn forget(&mut self, name: &MessageName, offset: u64) {
        self.release(&name.id, |held| held.offset == offset);
        let of_it = |record: &Record| record.position.offset == offset;
        if self.records.get(name).is_some_and(of_it) {
            self.records.remove(name);
        }
    }

    /// Takes the only reader's word, or gives up waiting for it. The senders to whom that is news.
    pub(super) fn change(
        &mut self,
        About { id, sender }: About<'_>,
        (to, at): (Change, u64),
    ) -> Vec<String> {
        let mut told = Vec::new();
        for held in self.acks.get_mut(id).into_iter().flatten() {
            if sender.is_some_and(|sender| sender != held.sender) || !held.becomes(to) {
                continue;
            }
            told.push(held.sender.clone());
            if let Some(record) = record_of(&mut self.records, held, id) {
                match to {
                    Change::Ack(AckState::Delivered) => record.delivered_at = Some(at),
                    Change::Ack(AckState::Read) => record.read_at = Some(at),
                    Change::GiveUp => record.expired_at = Some(at),
                }
            }
        }
        self.release(id, |held| held.waiting == Waiting::Over);
        each_once(told)
    }

    /// Takes the word of one of several readers, or gives up waiting for it. The senders to whom that is news.
    pub(super) fn change_one(
        &mut self,
        (user, About { id, sender }): (&UserId, About<'_>),
        (word, at): (Word, u64),
    ) -> Vec<String> {
        let mut told = Vec::new();
        for held in self.acks.get_mut(id).into_iter().flatten() {
            if sender.is_some_and(|sender| sender != held.sender) || held.knows(user, word) {
                continue;
            }
            held.words.push((user.clone(), word));
            told.push(held.sender.clone());
            if let Some(record) = record_of(&mut self.records, held, id) {
                let first = match word {
                    Word::Is(AckState::Delivered) => &mut record.delivered_at,
                    Word::Is(AckState::Read) => &mut record.read_at,
                    Word::Expired => &mut record.expired_at,
                };
                first.get_or_insert(at);
            }
        }
        each_once(told)
    }

    /// Whether it is still waited for this reader's word.
    pub(super) fn awaits(&self, MessageName { sender, id }: &MessageName, user: &UserId) -> bool {
        let said = |(who, word): &(UserId, Word)| who == user && matches!(word, Word::Is(_));
        self.acks.get(id).into_iter().flatten().any(|held| {
            held.sender == *sender
                && held.waiting == Waiting::Pending
                && !held.words.iter().any(said)
        })
    }

    /// Nobody waits any more for these of the messages of an id.
    fn release(&mut self, id: &str, which: impl Fn(&Held) -> bool) {
        if let Some(held) = self.acks.get_mut(id) {
            held.retain(|held| !which(held));
            if held.is_empty() {
                self.acks.remove(id);
            }
        }
    }
}

impl Held {
    /// Changes what is known of it; whether that is news.
    fn becomes(&mut self, to: Change) -> bool {
        self.waiting = match (to, self.waiting) {
            (Change::Ack(AckState::Delivered), Waiting::Delivered)
            | (Change::GiveUp, Waiting::Delivered | Waiting::GivenUp)
            | (_, Waiting::Over) => return false,
            (Change::Ack(AckState::Read), _) => Waiting::Over,
            (Change::Ack(AckState::Delivered), _) => Waiting::Delivered,
            (Change::GiveUp, Waiting::Pending) => Waiting::GivenUp,
        };
        true
    }

    /// Whether this user has said that already, or more.
    fn knows(&self, user: &UserId, word: Word) -> bool {
        let (delivered, read) = (Word::Is(AckState::Delivered), Word::Is(AckState::Read));
        let same_or_more: &[Word] = match word {
            Word::Is(AckState::Read) => &[read],
            Word::Is(AckState::Delivered) => &[delivered, read],
            Word::Expired => &[delivered, read, Word::Expired],
        };
        let mut words = self.words.iter();
        words.any(|(known, word)| known == user && same_or_more.contains(word))
    }
}

/// The record of this message, and not of another of the same name.
fn record_of<'a>(
    records: &'a mut HashMap<MessageName, Record>,
    held: &Held,
    id: &str,
) -> Option<&'a mut Record> {
    let record = records.get_mut(&MessageName::new(&held.sender, id))?;
    (record.position.offset == held.offset).then_some(record)
}
