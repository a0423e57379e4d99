//! `Lockout`: who has shown so many wrong tokens or keys that nothing of theirs is looked at for a while.
//!
//! Nobody can lock out somebody else's address: what counts is where the failures came from. A token that is signed
//! rightly and refused all the same, as by its expiry, tells who it belongs to: it counts against that user at that address
//! alone, so that a client with an old token does not lock out its neighbours behind the same address. A name in a token
//! that nobody signed counts for nothing. Bounded; when full, what is new is not counted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;

use super::LockoutRules;
use crate::protocol::UserId;
use crate::security::{TokenError, counted_as};

/// Suspects remembered at a time: some ten MiB.
const SUSPECTS: usize = 65_536;
/// A longer token is refused unread.
const TOKEN_MAX: usize = 8 * 1024;

/// What was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attempt {
    /// A client's token.
    Token,
    /// A backend's key.
    ApiKey,
}

/// Whom failures are counted against.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Suspect {
    /// Everyone at an address, for one kind of attempt.
    Address(Attempt, IpAddr),
    /// One user at an address.
    User(IpAddr, Box<str>),
}

/// Too many failures: come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many failed attempts, try again in {} s", .0.as_secs() + 1)]
pub struct LockedOut(pub Duration);

impl Suspect {
    pub(super) fn of(attempt: Attempt, address: IpAddr) -> Self {
        Self::Address(attempt, counted_as(address))
    }

    pub(super) fn user(address: IpAddr, user: &str) -> Self {
        Self::User(counted_as(address), user.into())
    }

    /// Its name among nodes.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Address(Attempt::Token, address) => format!("t {address}"),
            Self::Address(Attempt::ApiKey, address) => format!("k {address}"),
            Self::User(address, user) => format!("u {address} {user}"),
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once(' ')?;
        let (address, user) = rest
            .split_once(' ')
            .map_or((rest, None), |(a, u)| (a, Some(u)));
        let address = address.parse().ok()?;
        match (kind, user) {
            ("t", None) => Some(Self::Address(Attempt::Token, address)),
            ("k", None) => Some(Self::Address(Attempt::ApiKey, address)),
            ("u", Some(user)) => Some(Self::User(address, user.into())),
            _ => None,
        }
    }

    const fn is_user(&self) -> bool {
        matches!(self, Self::User(..))
    }
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// Seen here. None: other nodes have seen some.
    failures: u32,
    /// Of the failures that count now.
    since: Instant,
    locked_until: Option<Instant>,
}

/// What other nodes have not heard of yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    Failed(Suspect),
    Forgotten(Suspect),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lockout {
    records: Mutex<HashMap<Suspect, Record>>,
    users: AtomicUsize,
    news: Mutex<Vec<News>>,
}

impl Lockout {
    /// Whether any user is suspected: if not, no token needs to be looked into.
    pub(super) fn has_users(&self) -> bool {
        self.users.load(Relaxed) > 0
    }

    pub(super) fn judge(&self, suspect: &Suspect, now: Instant) -> Result<(), LockedOut> {
        let records = self.records.lock();
        let until = records.get(suspect).and_then(|record| record.locked_until);
        match until.map(|until| until.saturating_duration_since(now)) {
            Some(left) if !left.is_zero() => Err(LockedOut(left)),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn failed(&self, suspect: Suspect, rules: LockoutRules, now: Instant) {
        let mut records = self.records.lock();
        if records.len() >= SUSPECTS && !records.contains_key(&suspect) {
            records.retain(|_, record| record.matters(now, rules.duration));
            if records.len() >= SUSPECTS {
                return;
            }
        }
        let fresh = Record {
            failures: 0,
            since: now,
            locked_until: None,
        };
        let record = records.entry(suspect.clone()).or_insert(fresh);
        if !record.matters(now, rules.duration) {
            *record = fresh;
        }
        record.failures = record.failures.saturating_add(1);
        if record.failures >= rules.attempts && record.locked_until.is_none() {
            record.locked_until = Some(now + rules.duration);
            tracing::warn!(suspect = %suspect.name(), "locked out after failed attempts");
        }
        self.count_users(&records);
        drop(records);
        self.tell(News::Failed(suspect));
    }

    /// A success ends a row of failures. Who is locked out stays so: nobody looked at what was shown.
    pub(super) fn forget(&self, suspect: &Suspect) {
        let mut records = self.records.lock();
        match records.get(suspect) {
            Some(record) if record.locked_until.is_none() => {}
            Some(_) | None => return,
        }
        records.remove(suspect);
        self.count_users(&records);
        drop(records);
        self.tell(News::Forgotten(suspect.clone()));
    }

    /// Another node has locked somebody out.
    pub(super) fn lock(&self, suspect: Suspect, left: Duration, rules: LockoutRules) {
        let now = Instant::now();
        let mut records = self.records.lock();
        if records.len() >= SUSPECTS && !records.contains_key(&suspect) {
            return;
        }
        let record = Record {
            failures: rules.attempts,
            since: now,
            locked_until: Some(now + left),
        };
        records.insert(suspect, record);
        self.count_users(&records);
    }

    /// Other nodes have seen these fail: a success here is news to them.
    pub(super) fn others_failed(
        &self,
        suspects: impl Iterator<Item = Suspect>,
        rules: LockoutRules,
    ) {
        let now = Instant::now();
        let mut records = self.records.lock();
        for suspect in suspects {
            if records.len() >= SUSPECTS {
                break;
            }
            let seen = Record {
                failures: 0,
                since: now,
                locked_until: None,
            };
            let record = records.entry(suspect).or_insert(seen);
            if record.failures == 0 || !record.matters(now, rules.duration) {
                *record = seen;
            }
        }
        self.count_users(&records);
    }

    /// Other nodes have seen these succeed: what is left of their rows are failures that nobody has heard of. Who is locked
    /// out stays so.
    pub(super) fn others_succeeded(&self, suspects: impl Iterator<Item = Suspect>) {
        let mut records = self.records.lock();
        let news = self.news.lock();
        for suspect in suspects {
            let Entry::Occupied(mut record) = records.entry(suspect) else {
                continue;
            };
            if record.get().locked_until.is_some() {
                continue;
            }
            let untold = news
                .iter()
                .filter(|news| matches!(news, News::Failed(who) if who == record.key()));
            let untold = u32::try_from(untold.count()).unwrap_or(u32::MAX);
            if untold > 0 {
                record.get_mut().failures = untold;
            } else {
                record.remove();
            }
        }
        drop(news);
        self.count_users(&records);
    }

    /// What has happened since this was last asked, and a moment to drop what no longer matters.
    pub(super) fn take_news(&self, duration: Duration) -> Vec<News> {
        let now = Instant::now();
        let mut news = std::mem::take(&mut *self.news.lock());
        let mut records = self.records.lock();
        records.retain(|_, record| record.matters(now, duration));
        self.count_users(&records);
        // Failures that could not be told in their time count no more for others than here.
        news.retain(|news| match news {
            News::Failed(suspect) => records.contains_key(suspect),
            News::Forgotten(_) => true,
        });
        news
    }

    /// These could not be told.
    pub(super) fn put_back(&self, news: Vec<News>) {
        for news in news {
            self.tell(news);
        }
    }

    fn tell(&self, news: News) {
        let mut waiting = self.news.lock();
        // Without a Redis nobody takes them, and one that is away must not cost memory without end.
        if waiting.len() < SUSPECTS / 16 {
            waiting.push(news);
        }
    }

    fn count_users(&self, records: &HashMap<Suspect, Record>) {
        let users = if records.len() > 1024 {
            records.len()
        } else {
            records.keys().filter(|suspect| suspect.is_user()).count()
        };
        self.users.store(users, Relaxed);
    }
}

impl Record {
    fn matters(&self, now: Instant, duration: Duration) -> bool {
        match self.locked_until {
            Some(until) => until > now,
            None => now.saturating_duration_since(self.since) < duration,
        }
    }
}

/// Whom a refused token is counted against, if anyone. With the signature right, it is the token's own user.
pub(super) fn blame(error: TokenError, address: IpAddr, token: &str) -> Option<Suspect> {
    match error {
        TokenError::TooLong
        | TokenError::Malformed
        | TokenError::Algorithm
        | TokenError::Critical
        | TokenError::NoKeyId
        | TokenError::Signature => Some(Suspect::of(Attempt::Token, address)),
        // It may be this gateway that is behind with its keys, and no signature was checked.
        TokenError::UnknownKey
        | TokenError::Revoked
        | TokenError::NoKeys
        | TokenError::CannotSign => None,
        TokenError::NoExpiry
        | TokenError::Expired
        | TokenError::NotYetValid
        | TokenError::LivesTooLong
        | TokenError::Issuer
        | TokenError::Audience
        | TokenError::Subject
        | TokenError::UserType
        | TokenError::TokenId
        | TokenError::Groups
        | TokenError::Skills
        | TokenError::Device => {
            let user = claimed_user(token)?;
            Some(Suspect::user(address, &user))
        }
    }
}

/// Who a token says it belongs to. Not believed: only compared with what is known already, or read once the signature is
/// known to be right.
pub(super) fn claimed_user(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claimed {
        sub: String,
    }
    if token.len() > TOKEN_MAX {
        return None;
    }
    let claims = jsonwebtoken::dangerous::insecure_decode_claims::<Claimed>(token).ok()?;
    UserId::new(&claims.sub).ok()?;
    Some(claims.sub)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: LockoutRules = LockoutRules {
        attempts: 3,
        duration: Duration::from_mins(5),
    };

    fn suspect(text: &str) -> Suspect {
        Suspect::of(Attempt::Token, text.parse().unwrap())
    }

    #[test]
    fn so_many_failures_in_time_lock_out_for_a_time_and_only_whom_they_are_of() {
        let lockout = Lockout::default();
        let now = Instant::now();
        let (bad, good) = (suspect("192.0.2.1"), suspect("192.0.2.2"));
        for _ in 0..2 {
            lockout.failed(bad.clone(), RULES, now);
            assert_eq!(lockout.judge(&bad, now), Ok(()));
        }
        lockout.failed(bad.clone(), RULES, now);
        assert_eq!(lockout.judge(&bad, now), Err(LockedOut(RULES.duration)));
        assert_eq!(lockout.judge(&good, now), Ok(()));
        let key = Suspect::of(Attempt::ApiKey, "192.0.2.1".parse().unwrap());
        assert_eq!(lockout.judge(&key, now), Ok(()), "another kind of attempt");
        let now = now + RULES.duration;
        assert_eq!(lockout.judge(&bad, now), Ok(()));
        lockout.failed(bad.clone(), RULES, now);
        assert_eq!(lockout.judge(&bad, now), Ok(()), "counted anew");
    }

    #[test]
    fn failures_far_apart_and_before_a_success_do_not_count() {
        let lockout = Lockout::default();
        let now = Instant::now();
        let somebody = suspect("192.0.2.1");
        lockout.failed(somebody.clone(), RULES, now);
        lockout.failed(somebody.clone(), RULES, now);
        lockout.forget(&somebody);
        lockout.failed(somebody.clone(), RULES, now);
        lockout.failed(somebody.clone(), RULES, now);
        let now = now + RULES.duration;
        lockout.failed(somebody.clone(), RULES, now);
        assert_eq!(lockout.judge(&somebody, now), Ok(()));
    }

    #[test]
    fn a_row_that_other_nodes_saw_is_ended_by_a_success_here_and_one_here_by_a_success_there() {
        let lockout = Lockout::default();
        let now = Instant::now();
        let somebody = suspect("192.0.2.1");
        let one = || std::iter::once(somebody.clone());
        lockout.forget(&somebody);
        assert_eq!(lockout.take_news(RULES.duration), [], "nobody cares");
        lockout.others_failed(one(), RULES);
        assert_eq!(lockout.judge(&somebody, now), Ok(()));
        lockout.forget(&somebody);
        let ended = [News::Forgotten(somebody.clone())];
        assert_eq!(lockout.take_news(RULES.duration), ended);

        lockout.failed(somebody.clone(), RULES, now);
        lockout.failed(somebody.clone(), RULES, now);
        assert_eq!(lockout.take_news(RULES.duration).len(), 2);
        lockout.others_succeeded(one());
        lockout.failed(somebody.clone(), RULES, now);
        // What came after it, or before it and was not told yet, counts on.
        lockout.others_succeeded(one());
        lockout.failed(somebody.clone(), RULES, now);
        assert_eq!(lockout.judge(&somebody, now), Ok(()));
        lockout.failed(somebody.clone(), RULES, now);
        assert!(lockout.judge(&somebody, now).is_err());
        lockout.others_succeeded(one());
        lockout.others_failed(one(), RULES);
        assert!(
            lockout.judge(&somebody, now).is_err(),
            "it stays locked out"
        );
    }

    #[test]
    fn all_addresses_of_a_network_of_ipv6_are_one_suspect() {
        let lockout = Lockout::default();
        let now = Instant::now();
        for last in 1..=3 {
            lockout.failed(suspect(&format!("2001:db8::{last}")), RULES, now);
        }
        assert!(lockout.judge(&suspect("2001:db8::9"), now).is_err());
        assert!(lockout.judge(&suspect("2001:db8:0:1::9"), now).is_ok());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let lockout = Lockout::default();
        let now = Instant::now();
        for number in 0..=SUSPECTS {
            let address = std::net::Ipv4Addr::from_bits(u32::try_from(number).unwrap());
            lockout.failed(Suspect::of(Attempt::Token, address.into()), RULES, now);
        }
        assert_eq!(lockout.records.lock().len(), SUSPECTS);
        assert!(lockout.news.lock().len() <= SUSPECTS / 16);
        let now = now + RULES.duration;
        lockout.failed(suspect("192.0.2.1"), RULES, now);
        assert_eq!(lockout.records.lock().len(), 1);
    }

    #[test]
    fn failures_that_could_not_be_told_are_told_later_while_they_count() {
        let lockout = Lockout::default();
        let somebody = suspect("192.0.2.1");
        lockout.failed(somebody.clone(), RULES, Instant::now());
        let news = lockout.take_news(RULES.duration);
        lockout.put_back(news);
        let told = vec![News::Failed(somebody)];
        assert_eq!(lockout.take_news(RULES.duration), told);
        lockout.put_back(told);
        assert_eq!(lockout.take_news(Duration::ZERO), [], "long ago");
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let address = "2001:db8::1".parse().unwrap();
        for suspect in [
            Suspect::of(Attempt::Token, address),
            Suspect::of(Attempt::ApiKey, address),
            Suspect::user(address, "alice and bob"),
        ] {
            assert_eq!(Suspect::parse(&suspect.name()), Some(suspect));
        }
        assert_eq!(Suspect::parse("x 1.2.3.4"), None);
    }
}
