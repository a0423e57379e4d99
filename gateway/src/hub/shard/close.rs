//! How connections end, and how all of them leave in a drain.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

use super::Shard;
use crate::hub::DrainPlan;
use crate::protocol::{Control, Disconnect};
use crate::session::liveness::CLOSE_PATIENCE;
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

    /// Sends every session away over the plan's window, quiet ones first. Returns when nobody is left, or at the
    /// deadline, when whoever is left has been cut.
    pub async fn drain(self: Rc<Self>, plan: DrainPlan) {
        self.draining.set(true);
        let began = Instant::now();
        let mut leaving = self.all();
        leaving.sort_by_key(|connection| connection.signs().heard);
        let count = leaving.len();
        for (index, connection) in leaving.into_iter().enumerate() {
            let random = rand::rng().random_range(0.0..1.0);
            tokio::time::sleep_until(began + plan.departure(index, count, random)).await;
            self.send_away(&connection);
        }
        let pending = || {
            self.handle()
                .is_some_and(|handle| handle.pending().load(Relaxed) > 0)
        };
        while (!self.is_empty() || pending()) && began.elapsed() < plan.deadline {
            // Also those whose handshake was under way when the drain began.
            for connection in self.all() {
                self.send_away(&connection);
            }
            tokio::time::sleep(DRAIN_POLL).await;
        }
        for connection in self.all() {
            connection.cut();
        }
    }

    /// Tells a connection to come back, to another node.
    pub fn send_away(&self, connection: &Rc<Connection>) {
        if connection.is_closing() {
            return;
        }
        let reconnect = Control::Reconnect {
            reason: "drain",
            after_ms: 0,
        };
        self.say_anyway(connection, &reconnect);
        self.close(connection, Disconnect::Drain);
    }
}
