//! `Waits`: connections on which `WAIT` holds up nobody else.
//!
//! Redis answers nothing on a connection that waits for a replica, so what is to be replicated has connections of its own
//! and each serves one operation at a time. They are made when they are needed, at most as many as the pool has; who finds
//! all of them taken waits its turn for a part of its deadline and is then refused, with nothing stored. One that did not
//! answer in time, or whose operation was given up, is in an unknown state and is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::dial::Line;

/// See the module.
#[derive(Debug)]
pub(super) struct Waits {
    idle: Mutex<Vec<Idle>>,
    room: Arc<Semaphore>,
}

/// A connection that nobody uses, and whether it is still open.
#[derive(Debug)]
pub(super) struct Idle(Line, Arc<AtomicBool>);

/// A connection in use. Dropping it closes the connection and makes room for another.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) line: Line,
    open: Arc<AtomicBool>,
    room: OwnedSemaphorePermit,
}

impl Waiting {
    /// One that has just been made; `open` turns false when it is closed.
    pub(super) fn new(line: Line, open: Arc<AtomicBool>, room: OwnedSemaphorePermit) -> Self {
        Self { line, open, room }
    }

    /// One that was used before.
    pub(super) fn again(Idle(line, open): Idle, room: OwnedSemaphorePermit) -> Self {
        Self { line, open, room }
    }
}

impl Waits {
    /// At most so many at once.
    pub(super) fn new(most: usize) -> Self {
        Self {
            idle: Mutex::default(),
            room: Arc::new(Semaphore::new(most)),
        }
    }

    /// Waits for the turn; with a connection, if one is there already.
    pub(super) async fn room(&self) -> Option<(Option<Idle>, OwnedSemaphorePermit)> {
        // It is never closed.
        let room = self.room.clone().acquire_owned().await.ok()?;
        let mut idle = self.idle.lock();
        // A server may close what it has not heard of for long.
        idle.retain(|Idle(_, open)| open.load(Relaxed));
        Some((idle.pop(), room))
    }

    /// The operation has got its answer: the connection is as good as before.
    pub(super) fn give_back(&self, Waiting { line, open, room }: Waiting) {
        self.idle.lock().push(Idle(line, open));
        drop(room);
    }
}
