//! `Debts`: the messages that a session has got and has yet to acknowledge, and those that it may have a last word about. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use crate::log::{About, AckState};
use crate::protocol::TicketId;

/// Messages a session may owe an acknowledgement for and still have repeated; beyond, they are not repeated.
const MOST: usize = 1024;

/// Messages that are remembered for the word that they were read, or for one that comes late; the oldest go.
const MOST_SAID: usize = 256;

/// A message: its id and its sender, since ids are their senders' own.
type Key = (Arc<str>, Arc<str>);

/// See the module. Most sessions are never asked for an acknowledgement, and have no room for one.
#[derive(Debug, Default)]
pub struct Debts(Option<Box<Books>>);

#[derive(Debug, Default)]
struct Books {
    owed: BTreeMap<Key, Debt>,
    said: VecDeque<Key>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debt {
    /// When it was first sent.
    pub since: Instant,
    /// The ticket that it is in.
    pub ticket: Option<TicketId>,
}

impl Debts {
    /// Adds one; `false` when it is known, or there is no room.
    pub fn add(&mut self, key: Key, debt: Debt) -> bool {
        let books = self.0.get_or_insert_default();
        if books.owed.len() >= MOST || books.owed.contains_key(&key) {
            return false;
        }
        books.owed.insert(key, debt);
        true
    }

    /// Whether any of these is waited for.
    pub fn has(&self, about: About<'_>) -> bool {
        let books = self.0.as_ref();
        books.is_some_and(|books| books.owed(about).next().is_some())
    }

    /// Whether a word about these is one that the session was asked for.
    pub fn expects(&self, about: About<'_>) -> bool {
        let has_said = |books: &Books| books.said.iter().any(|key| is_about(key, about));
        self.has(about) || self.0.as_deref().is_some_and(has_said)
    }

    /// These are acknowledged, or are not waited for any longer. One that was not read may still be.
    pub fn settle(&mut self, about: About<'_>, state: AckState) -> Vec<Debt> {
        let books = self.0.as_mut();
        books.map_or_else(Vec::new, |books| books.settle(about, state))
    }
}

impl Books {
    fn settle(&mut self, about: About<'_>, state: AckState) -> Vec<Debt> {
        let keys: Vec<Key> = self.owed(about).cloned().collect();
        let settled = keys.iter().filter_map(|key| self.owed.remove(key));
        let settled = settled.collect();
        match state {
            AckState::Read => self.said.retain(|key| !is_about(key, about)),
            AckState::Delivered => {
                self.said.extend(keys);
                let over = self.said.len().saturating_sub(MOST_SAID);
                drop(self.said.drain(..over));
            }
        }
        settled
    }

    fn owed<'a>(&'a self, about: About<'a>) -> impl Iterator<Item = &'a Key> {
        let first: Key = (about.id.into(), about.sender.unwrap_or_default().into());
        let keys = self.owed.range(first..).map(|(key, _)| key);
        keys.take_while(move |key| is_about(key, about))
    }
}

fn is_about((id, sender): &Key, about: About<'_>) -> bool {
    **id == *about.id && about.sender.is_none_or(|wanted| **sender == *wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about<'a>(id: &'a str, sender: Option<&'a str>) -> About<'a> {
        About { id, sender }
    }

    fn debts(names: &[(&str, &str)]) -> Debts {
        let mut debts = Debts::default();
        for (id, sender) in names {
            let debt = Debt {
                since: Instant::now(),
                ticket: TicketId::new(sender).ok(),
            };
            assert!(debts.add(((*id).into(), (*sender).into()), debt));
        }
        debts
    }

    #[test]
    fn an_id_settles_what_every_sender_gave_it_and_a_sender_its_own_only() {
        let mut all = debts(&[("c1", "alice"), ("c1", "carol"), ("c10", "alice")]);
        assert!(!all.has(about("c", None)));
        let settled = all.settle(about("c1", Some("carol")), AckState::Read);
        assert_eq!(settled.len(), 1);
        assert_eq!(settled[0].ticket.as_ref().unwrap().as_str(), "carol");
        assert!(all.has(about("c1", None)) && !all.has(about("c1", Some("carol"))));
        assert_eq!(all.settle(about("c1", None), AckState::Read).len(), 1);
        assert!(all.has(about("c10", Some("alice"))), "another id");
    }

    #[test]
    fn one_is_owed_once_and_no_more_than_there_is_room_for() {
        let mut debts = debts(&[("c1", "alice")]);
        let debt = debts.settle(about("c1", None), AckState::Read).remove(0);
        for number in 0..MOST {
            let id: Arc<str> = number.to_string().into();
            assert!(debts.add((id.clone(), "alice".into()), debt.clone()));
            assert!(!debts.add((id, "alice".into()), debt.clone()));
        }
        assert!(!debts.add(("more".into(), "alice".into()), debt));
    }
    #[test]
    fn after_the_word_that_it_has_come_one_that_it_was_read_is_expected_and_then_no_more() {
        let mut debts = debts(&[("c1", "alice")]);
        assert!(!debts.expects(about("c2", None)), "nobody asked");
        assert_eq!(
            debts.settle(about("c1", None), AckState::Delivered).len(),
            1
        );
        assert!(!debts.has(about("c1", None)) && debts.expects(about("c1", Some("alice"))));
        assert!(!debts.expects(about("c1", Some("carol"))));
        assert!(debts.settle(about("c1", None), AckState::Read).is_empty());
        assert!(!debts.expects(about("c1", None)));
    }
}
