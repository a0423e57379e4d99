//! `Seats`: how many sessions a user may have, and who has to go when another one comes.
//!
//! This node's own sessions are known here; the sum over all nodes is Redis' word, and without one, or while it is away,
//! only this node's count. A session that has to go keeps its place in the list until it has gone, marked, so that nobody
//! counts it or sends it away again.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Admission;
use crate::cluster::Cluster;
use crate::cluster::redis::{RedisSeats, Seating, Yields};
use crate::protocol::{NodeId, SessionId, UserId};
use crate::telemetry::Limit;

/// Sessions that ended while Redis was away and are to be told; beyond that the seats of the rest run out by themselves.
const GONE: usize = 65_536;

/// How many sessions a user may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRules {
    /// So many, at least one.
    pub limit: usize,
    /// Who goes when there are more.
    pub yields: Yields,
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    session: SessionId,
    leaving: bool,
}

/// The seats of a user, in the order they came. Most users have one, which costs no allocation.
#[derive(Debug)]
enum UserSeats {
    One(Seat),
    Several(Vec<Seat>),
}

impl UserSeats {
    fn all(&self) -> &[Seat] {
        match self {
            Self::One(seat) => std::slice::from_ref(seat),
            Self::Several(seats) => seats,
        }
    }

    fn all_mut(&mut self) -> &mut [Seat] {
        match self {
            Self::One(seat) => std::slice::from_mut(seat),
            Self::Several(seats) => seats,
        }
    }

    fn of(seats: Vec<Seat>) -> Option<Self> {
        match *seats {
            [] => None,
            [seat] => Some(Self::One(seat)),
            [..] => Some(Self::Several(seats)),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seats {
    /// A tree and no table: idle sessions are many, and half of a table is empty.
    here: Mutex<BTreeMap<UserId, UserSeats>>,
    gone: Mutex<Vec<(UserId, SessionId)>>,
    /// Somebody has gone.
    pub(super) woken: Notify,
    /// Somebody has come whom Redis could not be told of.
    pub(super) untold: AtomicBool,
}

impl Seats {
    /// Seats a session by this node's own count.
    fn take(&self, user: &UserId, session: SessionId, rules: Option<SessionRules>) -> Local {
        let mut here = self.here.lock();
        let seats = here.get(user).map(UserSeats::all).unwrap_or_default();
        let staying = seats.iter().filter(|seat| !seat.leaving).count();
        let mut kicked = Vec::new();
        if let Some(SessionRules { limit, yields }) = rules
            && staying >= limit
        {
            match yields {
                Yields::Newest => return Local::Full,
                // The list is in the order they came.
                Yields::Oldest => kicked.extend(
                    seats
                        .iter()
                        .filter(|seat| !seat.leaving)
                        .take(staying + 1 - limit)
                        .map(|seat| seat.session),
                ),
            }
        }
        let new = Seat {
            session,
            leaving: false,
        };
        let seats = UserSeats::of([seats, &[new]].concat());
        if let Some(seats) = seats {
            here.insert(user.clone(), seats);
        }
        Local::In(kicked)
    }

    fn is_full(&self, user: &UserId, limit: usize) -> bool {
        let here = self.here.lock();
        let seats = here.get(user).map(UserSeats::all).unwrap_or_default();
        seats.iter().filter(|seat| !seat.leaving).count() >= limit
    }

    fn mark(&self, user: &UserId, session: SessionId) {
        let mut here = self.here.lock();
        let seats = here.get_mut(user).map(UserSeats::all_mut);
        let seats = seats.into_iter().flatten();
        for seat in seats.filter(|seat| seat.session == session) {
            seat.leaving = true;
        }
    }

    /// Frees a seat; does nothing if there was none.
    pub(super) fn leave(&self, user: &UserId, session: SessionId) {
        let mut here = self.here.lock();
        let seats = here.get(user).map(UserSeats::all).unwrap_or_default();
        let others = |seat: &&Seat| seat.session != session;
        let left: Vec<Seat> = seats.iter().filter(others).copied().collect();
        if left.len() == seats.len() {
            return;
        }
        match UserSeats::of(left) {
            Some(left) => here.insert(user.clone(), left),
            None => here.remove(user),
        };
        drop(here);
        let mut gone = self.gone.lock();
        if gone.len() < GONE {
            gone.push((user.clone(), session));
        }
        drop(gone);
        self.woken.notify_one();
    }

    /// Whose seats are free and Redis does not know.
    pub(super) fn take_gone(&self) -> Vec<(UserId, SessionId)> {
        std::mem::take(&mut *self.gone.lock())
    }

    /// Redis could not be told.
    pub(super) fn put_back(&self, mut gone: Vec<(UserId, SessionId)>) {
        let mut waiting = self.gone.lock();
        gone.truncate(GONE.saturating_sub(waiting.len()));
        waiting.append(&mut gone);
    }

    /// Who is here and stays.
    pub(super) fn here(&self) -> Vec<(UserId, SessionId)> {
        let here = self.here.lock();
        let all = here.iter().flat_map(|(user, seats)| {
            let staying = seats.all().iter().filter(|seat| !seat.leaving);
            staying.map(|seat| (user.clone(), seat.session))
        });
        all.collect()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Local {
    In(Vec<SessionId>),
    Full,
}

impl Admission {
    /// Seats a session of this node, and says which others have to go for it.
    pub async fn seat(&self, cluster: &Cluster, user: &UserId, session: SessionId) -> Seating {
        let rules = self.rules().sessions;
        let seating = self.seat_by(rules, cluster, (user, session)).await;
        match &seating {
            Seating::Full => self.met(Limit::SessionRefused),
            Seating::In(kicked) => {
                for (session, _) in kicked {
                    self.met(Limit::SessionKicked);
                    self.0.seats.mark(user, *session);
                }
            }
        }
        seating
    }

    async fn seat_by(
        &self,
        rules: Option<SessionRules>,
        cluster: &Cluster,
        (user, session): (&UserId, SessionId),
    ) -> Seating {
        let seats = &self.0.seats;
        if let (Some(redis), Some(SessionRules { limit, yields })) = (self.redis_seats(), rules) {
            let whole = redis
                .take(cluster, (user, Some(session)), limit, yields)
                .await;
            match whole {
                Ok(Seating::Full) => return Seating::Full,
                Ok(seating) => {
                    let _counted = seats.take(user, session, None);
                    return seating;
                }
                Err(error) => {
                    self.met(Limit::CountedAlone);
                    seats.untold.store(true, Relaxed);
                    tracing::debug!(%error, "sessions of a user were counted on this node alone");
                }
            }
        }
        match seats.take(user, session, rules) {
            Local::Full => Seating::Full,
            Local::In(kicked) => {
                let node: &NodeId = cluster.identity().0;
                let kicked = kicked.into_iter().map(|session| (session, node.clone()));
                Seating::In(kicked.collect())
            }
        }
    }

    /// Whether one more session of this user would be refused now. What is said here may have changed when it comes.
    pub async fn would_refuse(&self, cluster: &Cluster, user: &UserId) -> bool {
        let Some(SessionRules { limit, yields }) = self.rules().sessions else {
            return false;
        };
        if yields == Yields::Oldest {
            return false;
        }
        let whole = match self.redis_seats() {
            Some(redis) => redis.take(cluster, (user, None), limit, yields).await.ok(),
            None => None,
        };
        let is_full = whole.map_or_else(
            || self.0.seats.is_full(user, limit),
            |seating| seating == Seating::Full,
        );
        if is_full {
            self.met(Limit::SessionRefused);
        }
        is_full
    }

    /// Whether a session of this node has its seat.
    pub fn is_seated(&self, user: &UserId, session: SessionId) -> bool {
        let here = self.0.seats.here.lock();
        let seats = here.get(user).map(UserSeats::all).unwrap_or_default();
        seats.iter().any(|seat| seat.session == session)
    }

    /// Frees the seat of a session of this node.
    pub fn unseat(&self, user: &UserId, session: SessionId) {
        self.0.seats.leave(user, session);
    }

    fn redis_seats(&self) -> Option<RedisSeats> {
        self.0.link.get().map(RedisSeats::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserId {
        UserId::new("alice").unwrap()
    }

    const fn rules(limit: usize, yields: Yields) -> SessionRules {
        SessionRules { limit, yields }
    }

    #[test]
    fn the_oldest_go_and_nobody_is_sent_away_twice() {
        let (seats, alice) = (Seats::default(), user());
        let ids: Vec<SessionId> = (0..5).map(|_| SessionId::generate()).collect();
        let two = Some(rules(2, Yields::Oldest));
        assert_eq!(seats.take(&alice, ids[0], two), Local::In(vec![]));
        assert_eq!(seats.take(&alice, ids[1], two), Local::In(vec![]));
        assert_eq!(seats.take(&alice, ids[2], two), Local::In(vec![ids[0]]));
        seats.mark(&alice, ids[0]);
        assert_eq!(seats.take(&alice, ids[3], two), Local::In(vec![ids[1]]));
        seats.mark(&alice, ids[1]);
        seats.leave(&alice, ids[0]);
        // The limit was lowered meanwhile.
        let one = Some(rules(1, Yields::Oldest));
        assert_eq!(
            seats.take(&alice, ids[4], one),
            Local::In(vec![ids[2], ids[3]])
        );
    }

    #[test]
    fn a_full_house_takes_nobody_until_somebody_leaves() {
        let (seats, alice) = (Seats::default(), user());
        let (first, second) = (SessionId::generate(), SessionId::generate());
        let one = Some(rules(1, Yields::Newest));
        assert_eq!(seats.take(&alice, first, one), Local::In(vec![]));
        assert!(seats.is_full(&alice, 1));
        assert_eq!(seats.take(&alice, second, one), Local::Full);
        seats.leave(&alice, second);
        assert!(seats.is_full(&alice, 1), "who never sat frees nothing");
        seats.leave(&alice, first);
        assert_eq!(seats.take(&alice, second, one), Local::In(vec![]));
        assert_eq!(seats.here(), [(alice.clone(), second)]);
        assert!(seats.here.lock().len() == 1);
        seats.leave(&alice, second);
        assert!(seats.here.lock().is_empty());
    }
}
