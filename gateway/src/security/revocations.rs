//! `Revocations`: the tokens that are over before their time, as this node knows them.
//!
//! Asked for each token that is judged and for each session when the list grows. What is in it stays until the last token it
//! can be about has expired, and goes by itself an hour later: nothing is ever taken back, so that a list that was lost
//! elsewhere, or a wall clock that steps forward and back, revives no token here. Kept in step with the other nodes by
//! `revocation`.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Identity;
use crate::protocol::UserId;

/// The longest id of a token.
pub const MAX_TOKEN_ID_BYTES: usize = 128;

/// How long the wall clock must say without a break that a line is over before it is forgotten: what is forgotten is not read
/// again, and the clock may be wrong for a while.
const GRACE: Duration = Duration::from_hours(1);

/// What is over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revoked {
    /// The token with this id (`jti`).
    Token(String),
    /// Every token of a user that was issued (`iat`) then or before, Unix seconds. One that does not say when it was is
    /// among them.
    User {
        /// The user.
        id: UserId,
        /// The time.
        before: u64,
    },
}

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Revocation {
    /// What is over.
    pub what: Revoked,
    /// From when on no token can be meant any more, Unix seconds.
    pub until: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Revocations(RwLock<List>);

#[derive(Debug, Default)]
struct List {
    tokens: HashMap<String, Life>,
    users: HashMap<UserId, (u64, Life)>,
}

/// How long a line is kept.
#[derive(Debug, Default)]
struct Life {
    until: u64,
    /// Since when the wall clock has said that it is over.
    over: Option<Instant>,
}

impl Life {
    /// Whether the line is kept at this moment, and this time by the wall clock.
    fn goes_on(&mut self, now: u64, moment: Instant) -> bool {
        if self.until > now {
            self.over = None;
            return true;
        }
        let over = *self.over.get_or_insert(moment);
        moment.saturating_duration_since(over) < GRACE
    }
}

impl Revocations {
    /// Adds lines; false when all of them were known.
    pub fn add(&self, lines: impl IntoIterator<Item = Revocation>) -> bool {
        let mut list = self.0.write();
        let mut grew = false;
        for Revocation { what, until } in lines {
            grew |= match what {
                Revoked::Token(id) => longer(&mut list.tokens.entry(id).or_default().until, until),
                Revoked::User { id, before } => {
                    let (known, kept) = list.users.entry(id).or_default();
                    longer(known, before) | longer(&mut kept.until, until)
                }
            };
        }
        grew
    }

    /// Whether a token that said this is over.
    pub fn cover(&self, identity: &Identity) -> bool {
        let list = self.0.read();
        let by_id = identity
            .token_id
            .as_deref()
            .is_some_and(|id| list.tokens.contains_key(id));
        by_id || {
            let user = list.users.get(&identity.user);
            user.is_some_and(|(before, _)| identity.issued <= *before)
        }
    }

    /// Forgets what no token can be about any more. `now`: the wall clock's time in Unix seconds at this moment.
    pub fn forget(&self, now: u64, moment: Instant) {
        let mut list = self.0.write();
        let List { tokens, users } = &mut *list;
        tokens.retain(|_, life| life.goes_on(now, moment));
        users.retain(|_, (_, life)| life.goes_on(now, moment));
    }

    /// Every line.
    pub fn all(&self) -> Vec<Revocation> {
        let list = self.0.read();
        let tokens = list.tokens.iter().map(|(id, life)| Revocation {
            what: Revoked::Token(id.clone()),
            until: life.until,
        });
        let users = list.users.iter().map(|(id, (before, life))| Revocation {
            what: Revoked::User {
                id: id.clone(),
                before: *before,
            },
            until: life.until,
        });
        tokens.chain(users).collect()
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        let list = self.0.read();
        list.tokens.len() + list.users.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Raises a value; false when it was as high.
fn longer(known: &mut u64, asked: u64) -> bool {
    let grew = asked > *known;
    *known = asked.max(*known);
    grew
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::Scopes;

    fn identity(token_id: Option<&str>, issued: u64) -> Identity {
        Identity {
            skills: None,
            user: UserId::new("alice").unwrap(),
            user_type: "customer".into(),
            device: None,
            expires: None,
            scopes: Scopes::NONE,
            groups: None,
            token_id: token_id.map(Into::into),
            issued,
        }
    }

    fn token(id: &str, until: u64) -> Revocation {
        let what = Revoked::Token(id.to_owned());
        Revocation { what, until }
    }

    fn user(before: u64, until: u64) -> Revocation {
        let id = UserId::new("alice").unwrap();
        let what = Revoked::User { id, before };
        Revocation { what, until }
    }

    #[test]
    fn a_token_is_over_by_its_id_or_by_when_it_was_issued() {
        let list = Revocations::default();
        assert!(list.add([token("a", 100), user(50, 100)]));
        assert!(list.cover(&identity(Some("a"), 99)));
        assert!(!list.cover(&identity(Some("b"), 51)));
        assert!(list.cover(&identity(Some("b"), 50)) && list.cover(&identity(None, 0)));
        let mut bob = identity(None, 0);
        bob.user = UserId::new("bob").unwrap();
        assert!(!list.cover(&bob));
    }

    #[test]
    fn what_is_known_is_only_ever_raised_and_goes_when_it_is_over() {
        let list = Revocations::default();
        list.add([user(50, 100)]);
        assert!(!list.add([user(40, 90), user(50, 100)]), "nothing new");
        assert!(list.cover(&identity(None, 50)));
        assert!(list.add([user(60, 100)]));
        assert_eq!(list.all(), [user(60, 100)]);
        let began = Instant::now();
        for (now, after) in [(99, Duration::ZERO), (100, GRACE), (100, GRACE * 2)] {
            assert_eq!(list.len(), 1, "at {now}");
            list.forget(now, began + after);
        }
        assert!(list.is_empty());
    }

    #[test]
    fn a_clock_that_steps_forward_and_back_revives_no_token() {
        let list = Revocations::default();
        list.add([token("a", 1000), user(50, 1000)]);
        let began = Instant::now();
        let tick = Duration::from_secs(2);
        // For an hour it is a little wrong, in turns: what counts is how long it says so without a break.
        for turn in 0..1800 {
            let now = if turn % 900 < 899 { 1000 + 3600 } else { 500 };
            list.forget(now, began + tick * turn);
        }
        assert!(list.cover(&identity(Some("a"), 99)));
        assert!(list.cover(&identity(Some("b"), 50)));
        // What it learns meanwhile stays as well.
        list.forget(4600, began + tick * 1800);
        list.add([token("c", 1000)]);
        list.forget(4600, began + tick * 1801);
        list.forget(500, began + tick * 1802);
        assert!(list.cover(&identity(Some("c"), 99)));
        assert_eq!(list.len(), 3);
    }
}
