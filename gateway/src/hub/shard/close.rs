//! How connections end, and how all of them leave in a drain.

use std::cmp::Reverse;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

use super::Shard;
use crate::hub::{Departure, DrainPlan, Movable, Turns};
use crate::protocol::{Control, Disconnect, LogId, Transport, resume};
use crate::session::liveness::{CLOSE_PATIENCE, TICK};
use crate::transport::Connection;

/// How often a draining shard looks whether everyone has left.
const DRAIN_POLL: Duration = Duration::from_millis(20);

impl Shard {
    /// Ends a connection: a close frame with the reason, some patience for the answer, then the socket is cut.
    pub fn close(&self, connection: &Rc<Connection>, why: Disconnect) {
        if !connection.begin_close(why) {
            return;
        }
        match why {
            // RFC 6455 §7.4.1: 1006 is never sent.
            Disconnect::ConnectionLost => return connection.cut(),
            // What it did not read it will not read now; what others wait for goes out before the close frame.
            Disconnect::SlowConsumer => connection.outbox().borrow_mut().clear(),
            Disconnect::ClientClosed
            | Disconnect::Protocol(_)
            | Disconnect::Drain
            | Disconnect::Rebalance
            | Disconnect::Internal
            | Disconnect::Unauthenticated
            | Disconnect::TokenExpired
            | Disconnect::TokenRevoked
            | Disconnect::Kicked
            | Disconnect::Timeout
            | Disconnect::Rejected
            | Disconnect::Unavailable
            | Disconnect::AddressRefused
            | Disconnect::LockedOut
            | Disconnect::RateLimited
            | Disconnect::TooManySessions
            | Disconnect::Abuse => {}
        }
        match connection.codec().close(why) {
            Some(farewell) => self.push_anyway(connection, Rc::new(farewell)),
            // The end itself says it; it comes after what waits.
            None => self.mark_dirty(connection),
        }
        self.schedule(connection, self.now().saturating_add(CLOSE_PATIENCE));
    }

    /// Sends every session away over the plan's window, quiet ones first, sharing its rate with so many `nodes`. Returns when
    /// nobody is left, or at the deadline, when whoever is left has been cut.
    pub async fn drain(self: Rc<Self>, plan: DrainPlan, nodes: Arc<AtomicU32>) {
        self.draining.set(true);
        let began = Instant::now();
        let mut leaving = self.all();
        leaving.sort_by_key(|connection| connection.signs().heard);
        let random = || rand::rng().random_range(0.0..1.0);
        let mut turns = Turns::new(plan, leaving.len(), nodes.load(Relaxed), random());
        for connection in leaving {
            let Departure { at, wait } = turns.next(nodes.load(Relaxed), random());
            tokio::time::sleep_until(began + at).await;
            self.send_away(&connection, Disconnect::Drain, wait);
        }
        let pending = || {
            let handle = self.handle();
            self.asked() > 0 || handle.is_some_and(|handle| handle.pending().load(Relaxed) > 0)
        };
        while (!self.is_empty() || pending()) && began.elapsed() < plan.deadline {
            // Also those whose handshake was under way when the drain began.
            for connection in self.all() {
                self.send_away(&connection, Disconnect::Drain, Duration::ZERO);
            }
            tokio::time::sleep(DRAIN_POLL).await;
        }
        for connection in self.all() {
            connection.cut();
        }
    }

    /// At most so many sessions that are at least so old, those that have been quiet for longest.
    pub fn movable(&self, min_age: Duration, most: usize) -> Vec<Movable> {
        // A session of age zero is one tick old at once.
        let (now, age) = (self.now(), min_age.as_millis().div_ceil(TICK.as_millis()));
        let is_movable = |connection: &Rc<Connection>| {
            let old = u128::from(now.saturating_sub(connection.began())) >= age;
            let held = Transport::HOLDING.contains(&connection.transport());
            old && held && !connection.is_closing() && connection.session().is_some()
        };
        let connections = self.connections.borrow();
        let movable = connections.iter().map(|(_, connection)| connection);
        let mut movable: Vec<Movable> = movable
            .filter(|connection| is_movable(connection))
            .map(|connection| Movable {
                shard: self.id,
                key: connection.key(),
                quiet: now.saturating_sub(connection.signs().heard),
            })
            .collect();
        movable.sort_unstable_by_key(|session| Reverse(session.quiet));
        movable.truncate(most);
        movable
    }

    /// Tells a connection to come back after a while, to another node. Whatever it has or gets before that frame lies before
    /// the places that the frame names; what comes later it gets there.
    pub fn send_away(&self, connection: &Rc<Connection>, why: Disconnect, wait: Duration) {
        if connection.is_closing() {
            return;
        }
        let places = connection.session().and_then(|session| {
            let inbox = LogId::Inbox(session.identity().user.clone());
            resume::told(&session.cursors.borrow().places(&inbox))
        });
        let reconnect = Control::Reconnect {
            reason: why.label(),
            after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            resume: places.as_deref(),
        };
        self.say_anyway(connection, &reconnect);
        self.close(connection, why);
    }
}
