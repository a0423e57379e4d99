//! `Kept`: what is kept beside the messages of a log: what readers said of each, and what became of it.

use std::collections::HashMap;

use super::super::name::each_once;
use super::super::{About, AckState, MessageName, Record, Word};
use crate::protocol::UserId;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The messages that are to be acknowledged, by their id: several senders may have given the same.
    acks: HashMap<String, Vec<Held>>,
    pub(super) records: HashMap<MessageName, Record>,
}

#[derive(Debug)]
struct Held {
    offset: u64,
    sender: String,
    /// The last word of each reader, and when it was said.
    words: Vec<(UserId, (Word, u64))>,
}

impl Kept {
    /// A message of this name waits to be acknowledged.
    pub(super) fn wait(&mut self, MessageName { sender, id }: &MessageName, offset: u64) {
        self.acks.entry(id.clone()).or_default().push(Held {
            offset,
            sender: sender.clone(),
            words: Vec::new(),
        });
    }

    /// A message is gone. A younger one may have the same name, and keeps what is its.
    pub(super) fn forget(&mut self, name: &MessageName, offset: u64) {
        if let Some(held) = self.acks.get_mut(&name.id) {
            held.retain(|held| held.offset != offset);
            if held.is_empty() {
                self.acks.remove(&name.id);
            }
        }
        let of_it = |record: &Record| record.position.offset == offset;
        if self.records.get(name).is_some_and(of_it) {
            self.records.remove(name);
        }
    }

    /// Takes a reader's word, or gives up waiting for it. The senders to whom that is news.
    pub(super) fn note_word(
        &mut self,
        (user, About { id, sender }): (&UserId, About<'_>),
        (word, at): (Word, u64),
    ) -> Vec<String> {
        let mut told = Vec::new();
        for held in self.acks.get_mut(id).into_iter().flatten() {
            if sender.is_some_and(|sender| sender != held.sender) || !held.learns(user, (word, at))
            {
                continue;
            }
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
        let said =
            |(who, (word, _)): &(UserId, (Word, u64))| who == user && matches!(word, Word::Is(_));
        let mut held = self.acks.get(id).into_iter().flatten();
        held.any(|held| held.sender == *sender && !held.words.iter().any(said))
    }
}

impl Held {
    /// Takes what a reader says of it; whether that is news.
    fn learns(&mut self, user: &UserId, (word, at): (Word, u64)) -> bool {
        let mut words = self.words.iter_mut();
        match words.find(|(who, _)| who == user) {
            None => self.words.push((user.clone(), (word, at))),
            Some((_, known)) if word.weight() > known.0.weight() => *known = (word, at),
            Some((_, known)) => {
                return *known == (word, at) || word == known.0 && word == Word::Expired;
            }
        }
        true
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
