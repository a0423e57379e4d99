//! `Carrier`: a connection of the gRPC listener, and how many sessions it carries.
//!
//! The listener's own limits are for callers of the API: few connections, none older than some minutes. One that carries a
//! session gives its place among those back, and is counted like the connection of a WebSocket instead; when the last of
//! its sessions has ended, so has its right to be there.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use crate::admission::Guest;

/// See the module.
#[derive(Debug)]
pub struct Carrier {
    peer: Option<SocketAddr>,
    /// Until when it may be there without a session.
    until: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Its place among callers of the API; none once it has carried a session.
    place: Option<Guest>,
    sessions: usize,
    /// When the last session ended.
    quiet_since: Option<Instant>,
}

impl Carrier {
    /// A fresh connection from there; it may be as old as `age` without a session.
    pub fn new(peer: Option<SocketAddr>, place: Guest, age: Duration) -> Arc<Self> {
        Arc::new(Self {
            peer,
            until: Instant::now() + age,
            state: Mutex::new(State {
                place: Some(place),
                sessions: 0,
                quiet_since: None,
            }),
        })
    }

    /// The other end.
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Counts a session, or another stream that is to stay, until what this returns is dropped.
    pub(crate) fn carry(self: &Arc<Self>) -> Carried {
        let mut state = self.state.lock();
        state.sessions += 1;
        state.place = None;
        Carried(Arc::clone(self))
    }

    /// Whether it has no right to be there any more; `grace`: what the last words of a session may take.
    pub fn is_over(&self, now: Instant, grace: Duration) -> bool {
        let state = self.state.lock();
        match (state.sessions, state.quiet_since) {
            (0, Some(since)) => now >= since + grace,
            (0, None) => now >= self.until,
            _ => false,
        }
    }
}

/// A session on a connection.
#[derive(Debug)]
pub(crate) struct Carried(Arc<Carrier>);

impl Drop for Carried {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.sessions -= 1;
        if state.sessions == 0 {
            state.quiet_since = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Door;

    const AGE: Duration = Duration::from_mins(10);
    const GRACE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_connection_is_there_by_its_place_or_by_its_sessions() {
        let door = Door::new(1);
        let room = door.room().await.unwrap();
        let guest = door.enter(room, [127, 0, 0, 1].into()).unwrap();
        let carrier = Carrier::new(None, guest, AGE);
        let began = Instant::now();
        assert!(!carrier.is_over(began + AGE / 2, GRACE));
        assert!(carrier.is_over(began + AGE * 2, GRACE), "too old");
        let (first, second) = (carrier.carry(), carrier.carry());
        let again = tokio::time::timeout(GRACE, door.room()).await;
        assert!(again.is_ok(), "it is counted elsewhere now");
        drop(first);
        assert!(!carrier.is_over(began + AGE * 2, GRACE), "carries one");
        drop(second);
        let now = Instant::now();
        assert!(!carrier.is_over(now, GRACE), "its last words");
        assert!(carrier.is_over(now + GRACE, GRACE));
        let again = carrier.carry();
        assert!(!carrier.is_over(now + GRACE, GRACE));
        drop(again);
    }
}
