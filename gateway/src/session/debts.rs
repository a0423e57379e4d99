//! `Debts`: the messages that a session has got and has yet to acknowledge. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::log::About;
use crate::protocol::TicketId;

/// Messages a session may owe an acknowledgement for and still have repeated; beyond, they are not repeated.
const MOST: usize = 1024;

/// By id and sender: ids are their senders' own.
#[derive(Debug, Default)]
pub struct Debts(BTreeMap<(Arc<str>, Arc<str>), Debt>);

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
    pub fn add(&mut self, (id, sender): (Arc<str>, Arc<str>), debt: Debt) -> bool {
        let key = (id, sender);
        if self.0.len() >= MOST || self.0.contains_key(&key) {
            return false;
        }
        self.0.insert(key, debt);
        true
    }

    /// Whether there is any of these.
    pub fn has(&self, about: About<'_>) -> bool {
        self.keys(about).next().is_some()
    }

    /// These are acknowledged, or are not waited for any longer.
    pub fn settle(&mut self, about: About<'_>) -> Vec<Debt> {
        let keys: Vec<_> = self.keys(about).cloned().collect();
        let settled = keys.iter().filter_map(|key| self.0.remove(key));
        settled.collect()
    }

    fn keys<'a>(&'a self, about: About<'a>) -> impl Iterator<Item = &'a (Arc<str>, Arc<str>)> {
        let first = (about.id.into(), about.sender.unwrap_or_default().into());
        let keys = self.0.range(first..).map(|(key, _)| key);
        keys.take_while(move |(id, sender)| {
            **id == *about.id && about.sender.is_none_or(|wanted| **sender == *wanted)
        })
    }
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
        let settled = all.settle(about("c1", Some("carol")));
        assert_eq!(settled.len(), 1);
        assert_eq!(settled[0].ticket.as_ref().unwrap().as_str(), "carol");
        assert!(all.has(about("c1", None)) && !all.has(about("c1", Some("carol"))));
        assert_eq!(all.settle(about("c1", None)).len(), 1);
        assert!(all.has(about("c10", Some("alice"))), "another id");
    }

    #[test]
    fn one_is_owed_once_and_no_more_than_there_is_room_for() {
        let mut debts = debts(&[("c1", "alice")]);
        let debt = debts.settle(about("c1", None)).remove(0);
        for number in 0..MOST {
            let id: Arc<str> = number.to_string().into();
            assert!(debts.add((id.clone(), "alice".into()), debt.clone()));
            assert!(!debts.add((id, "alice".into()), debt.clone()));
        }
        assert!(!debts.add(("more".into(), "alice".into()), debt));
    }
}
