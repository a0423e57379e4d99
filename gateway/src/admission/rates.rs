//! `Rates`: how much users and addresses have sent lately, whichever session it came by.
//!
//! A session finds its meters once and keeps them; from then on a message costs two short locks that only sessions of the
//! same user or address share. What one session may send is counted by itself alone. Other nodes' messages come in by the exchange: a node may not know of them for one exchange,
//! nor of what is less than an eighth of the limit.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::window::{Bounds, Count, SLOTS, Slots, Window};
use crate::protocol::UserId;
use crate::security::counted_as;

/// Groups of meters, each in one slot of a Redis Cluster, so that one script serves many and not all lie on one server.
pub(super) const GROUPS: u64 = 16;

/// How much may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateRules {
    /// The time over which it is counted.
    pub window: Duration,
    /// Messages of a user.
    pub messages: u32,
    /// Bytes of a user's messages; `None`: any.
    pub bytes: Option<u64>,
    /// Messages from an address; `None`: any.
    pub per_address: Option<u32>,
    /// Messages of a session; `None`: as many as its user may send.
    pub session_messages: Option<u32>,
    /// Bytes of a session's messages; `None`: as many as its user may send.
    pub session_bytes: Option<u64>,
    /// How long one who sent too much is refused; zero: until there is room.
    pub block: Duration,
}

impl RateRules {
    fn of_user(&self) -> Bounds {
        Bounds {
            window: self.window,
            messages: u64::from(self.messages),
            bytes: self.bytes,
            block: self.block,
        }
    }

    fn of_session(&self) -> Option<Bounds> {
        let is_bounded = self.session_messages.is_some() || self.session_bytes.is_some();
        is_bounded.then(|| Bounds {
            messages: self.session_messages.map_or(u64::MAX, u64::from),
            bytes: self.session_bytes,
            ..self.of_user()
        })
    }

    fn of(&self, meter: &Meter) -> Option<Bounds> {
        let user = self.of_user();
        match meter.whose {
            Whose::User(_) => Some(user),
            Whose::Address(_) => self.per_address.map(|messages| Bounds {
                messages: u64::from(messages),
                bytes: None,
                ..user
            }),
        }
    }
}

/// Too much was sent: what was not taken may be sent again after this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch {
    /// How long to wait.
    pub retry_after: Duration,
    /// Of whom it was too much.
    pub of: Sender,
}

/// Whose messages are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The session's own.
    Session,
    /// Those of all its user's sessions.
    User,
    /// Those from its address, which others may share.
    Address,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    User(UserId),
    Address(IpAddr),
}

#[derive(Debug)]
pub(super) struct Meter {
    whose: Whose,
    window: Mutex<Window>,
}

/// What a session's messages are counted by. Made with its first message.
#[derive(Debug)]
pub struct SessionMeters {
    /// There once a session has limits of its own.
    own: OnceCell<Box<RefCell<Window>>>,
    user: Arc<Meter>,
    address: Arc<Meter>,
}

/// What one meter has to tell the other nodes.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) meter: Arc<Meter>,
    pub(super) count: Count,
    pub(super) shut: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<HashMap<Whose, Arc<Meter>>>);

impl Rates {
    /// The meters of a session of this user that comes from there.
    pub(super) fn of(&self, user: &UserId, address: IpAddr) -> SessionMeters {
        let mut meters = self.0.lock();
        let mut meter = |whose: Whose| {
            let fresh = || Meter {
                whose: whose.clone(),
                window: Mutex::new(Window::new(Instant::now())),
            };
            Arc::clone(
                meters
                    .entry(whose.clone())
                    .or_insert_with(|| Arc::new(fresh())),
            )
        };
        SessionMeters {
            own: OnceCell::new(),
            user: meter(Whose::User(user.clone())),
            address: meter(Whose::Address(counted_as(address))),
        }
    }

    /// Forgets who has sent nothing for a while and has no session here, and lists what the others should hear.
    pub(super) fn turn(&self, rules: &RateRules) -> Vec<Word> {
        let now = Instant::now();
        let mut words = Vec::new();
        self.0.lock().retain(|_, meter| {
            let Some(bounds) = rules.of(meter) else {
                return Arc::strong_count(meter) > 1;
            };
            let mut window = meter.window.lock();
            if let Some(count) = window.tell(bounds) {
                words.push(Word {
                    meter: Arc::clone(meter),
                    count,
                    shut: window.shut(now).unwrap_or_default(),
                });
                return true;
            }
            Arc::strong_count(meter) > 1 || !window.is_fresh(bounds, now)
        });
        words
    }
}

impl SessionMeters {
    /// Counts a message of so many bytes, if it may be sent. All are asked before any counts it: what is refused is nobody's.
    pub fn take(&self, bytes: usize, rules: &RateRules) -> Result<(), TooMuch> {
        let (now, bytes) = (Instant::now(), bytes as u64);
        let too_much = |of| move |retry_after| TooMuch { retry_after, of };
        let mut own = None;
        if let Some(bounds) = rules.of_session() {
            let fresh = || Box::new(RefCell::new(Window::new(now)));
            let mut window = self.own.get_or_init(fresh).borrow_mut();
            let asked = window.ask(bytes, bounds, now);
            asked.map_err(too_much(Sender::Session))?;
            own = Some(window);
        }
        // Everybody locks a user's before an address'.
        let user = self.user.ask(bytes, rules, now);
        let user = user.map_err(too_much(Sender::User))?;
        let address = self.address.ask(bytes, rules, now);
        let address = address.map_err(too_much(Sender::Address))?;
        for mut window in [user, address].into_iter().flatten() {
            window.count(bytes);
        }
        if let Some(mut own) = own {
            own.count(bytes);
        }
        Ok(())
    }
}

impl Meter {
    /// Its window, if it has room; `None`: any number is fine.
    fn ask(
        &self,
        bytes: u64,
        rules: &RateRules,
        now: Instant,
    ) -> Result<Option<MutexGuard<'_, Window>>, Duration> {
        let Some(bounds) = rules.of(self) else {
            return Ok(None);
        };
        let mut window = self.window.lock();
        window.ask(bytes, bounds, now)?;
        Ok(Some(window))
    }

    /// Its name among nodes.
    pub(super) fn name(&self) -> String {
        match &self.whose {
            Whose::User(user) => format!("u {user}"),
            Whose::Address(address) => format!("a {address}"),
        }
    }

    /// Which of the [`GROUPS`] it is in: the same on all nodes of a release.
    pub(super) fn group(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.whose.hash(&mut hasher);
        hasher.finish() % GROUPS
    }

    /// The others could not be told.
    pub(super) fn untell(&self, count: Count) {
        self.window.lock().untell(count);
    }

    /// What all nodes have counted: ms into the current slot, ms for which it is shut, then messages and bytes of each slot.
    pub(super) fn heard(&self, told: &[u64]) {
        let [into, shut, counts @ ..] = told else {
            return;
        };
        let mut slots = Slots::default();
        if counts.len() != 2 * (SLOTS + 1) {
            return;
        }
        for (slot, pair) in slots.iter_mut().zip(counts.chunks_exact(2)) {
            if let [messages, bytes] = pair {
                *slot = Count {
                    messages: *messages,
                    bytes: *bytes,
                };
            }
        }
        let times = (Duration::from_millis(*into), Duration::from_millis(*shut));
        self.window.lock().heard(slots, times, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const RULES: RateRules = RateRules {
        window: Duration::from_hours(1),
        messages: 3,
        bytes: None,
        per_address: None,
        session_messages: Some(5),
        session_bytes: None,
        block: Duration::ZERO,
    };

    fn refused(meters: &SessionMeters, rules: &RateRules) -> Option<Sender> {
        meters.take(1, rules).err().map(|too_much| too_much.of)
    }

    #[test]
    fn what_one_limit_refuses_is_not_counted_by_the_others() {
        let (rates, address) = (Rates::default(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let bob = UserId::new("bob").unwrap();
        let meters = rates.of(&bob, address);
        let told: Vec<_> = (0..8).map(|_| refused(&meters, &RULES)).collect();
        let user = Some(Sender::User);
        assert_eq!(told, [None, None, None, user, user, user, user, user]);
        // Three of the session's five are counted, and so for its user while the address refuses.
        let by_address = RateRules {
            messages: 6,
            per_address: Some(0),
            ..RULES
        };
        for _ in 0..4 {
            assert_eq!(refused(&meters, &by_address), Some(Sender::Address));
        }
        let wider = RateRules {
            messages: 6,
            ..RULES
        };
        let told: Vec<_> = (0..3).map(|_| refused(&meters, &wider)).collect();
        assert_eq!(told, [None, None, Some(Sender::Session)]);
        let other = rates.of(&bob, address);
        assert_eq!(refused(&other, &wider), None, "the sixth of the user's six");
        assert_eq!(refused(&other, &wider), user);
    }

    #[test]
    fn what_an_address_may_not_send_is_not_charged_to_its_user_or_session() {
        let rules = RateRules {
            window: Duration::from_mins(1),
            messages: 5,
            bytes: None,
            per_address: Some(5),
            session_messages: Some(5),
            session_bytes: None,
            block: Duration::ZERO,
        };
        let unbounded = RateRules {
            per_address: None,
            ..rules
        };
        let rates = Rates::default();
        let of = |user| rates.of(&UserId::new(user).unwrap(), [192, 0, 2, 1].into());
        let (alice, bob) = (of("alice"), of("bob"));
        for _ in 0..5 {
            assert_eq!(alice.take(1, &rules), Ok(()));
        }
        for _ in 0..5 {
            assert_eq!(bob.take(1, &rules).unwrap_err().of, Sender::Address);
        }
        for _ in 0..5 {
            assert_eq!(bob.take(1, &unbounded), Ok(()), "all five are his");
        }
        assert_eq!(bob.take(1, &unbounded).unwrap_err().of, Sender::Session);
    }
}
