//! `Pool`: the connections for commands of one dialling, and which of them are to be dialled anew.
//!
//! Commands take turns. A connection over which nothing has come while an operation ran out of time, or that was closed,
//! is in doubt until something comes over it; the link then makes another in its place, and who still waits on the old one
//! keeps it until their time is out. With the first one, which keeps messages in order, the whole link lives and dies
//! instead: what may still come late over an old one must not come after what a new one brought.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::dial::Line;

/// Which connection of the pool.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lane {
    /// Each in turn, but for the last of more than two: its answers do not come behind long ones.
    Any,
    /// Always the same, where what is sent stays in order.
    First,
    /// Always the same, for what is small and asked by many at a time: the connection sends in one write what waits for it, and
    /// Redis reads and answers it at once.
    Last,
}

/// What is known of a connection; its place is that in the pool.
#[derive(Debug)]
pub(super) struct Health {
    place: usize,
    answers: AtomicU64,
    is_doubted: AtomicBool,
    wanted: Arc<Notify>,
}

/// A connection in its place.
#[derive(Debug)]
struct Pooled {
    line: Line,
    health: Arc<Health>,
}

/// One operation's hold of a connection.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) line: Line,
    health: Arc<Health>,
    /// How much had come over it before.
    answers: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pool {
    lines: Vec<ArcSwap<Pooled>>,
    /// How often one was picked.
    turns: AtomicUsize,
    wanted: Arc<Notify>,
}

impl Health {
    pub(super) fn new(place: usize, wanted: &Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            place,
            answers: AtomicU64::new(0),
            is_doubted: AtomicBool::new(false),
            wanted: wanted.clone(),
        })
    }

    /// Whether messages go by it, in their order.
    pub(super) fn is_first(&self) -> bool {
        self.place == 0
    }

    /// It may be of no more use.
    pub(super) fn doubt(&self) {
        if !self.is_first() && !self.is_doubted.swap(true, Relaxed) {
            self.wanted.notify_one();
        }
    }
}

impl Turn {
    pub(super) fn is_first(&self) -> bool {
        self.health.is_first()
    }

    /// Something came over it.
    pub(super) fn answered(&self) {
        self.health.answers.fetch_add(1, Relaxed);
        self.health.is_doubted.store(false, Relaxed);
    }

    /// Time is out. If it went by for others as well, that is no sign of slow work but of a connection that hangs.
    pub(super) fn unanswered(&self) {
        if self.health.answers.load(Relaxed) == self.answers {
            self.health.doubt();
        }
    }

    pub(super) fn broken(&self) {
        self.health.doubt();
    }
}

impl Pool {
    /// Of these connections in their places; whoever doubts one of them calls for its repair by `wanted`.
    pub(super) fn new(
        lines: impl IntoIterator<Item = (Line, Arc<Health>)>,
        wanted: Arc<Notify>,
    ) -> Self {
        let pooled = |(line, health)| ArcSwap::from_pointee(Pooled { line, health });
        Self {
            lines: lines.into_iter().map(pooled).collect(),
            turns: AtomicUsize::new(0),
            wanted,
        }
    }

    /// A connection; nothing if there is none, which no dialling comes to.
    pub(super) fn turn(&self, lane: Lane) -> Option<Turn> {
        let place = match lane {
            Lane::First => 0,
            Lane::Last => self.lines.len().saturating_sub(1),
            Lane::Any => self.turns.fetch_add(1, Relaxed) % in_turn(self.lines.len()),
        };
        let pooled = self.lines.get(place)?.load();
        Some(Turn {
            line: pooled.line.clone(),
            health: pooled.health.clone(),
            answers: pooled.health.answers.load(Relaxed),
        })
    }

    /// How many connections it has.
    pub(super) fn size(&self) -> usize {
        self.lines.len()
    }

    /// Waits until a connection is in doubt; what is known of the one to take its place.
    pub(super) async fn wanted(&self) -> Arc<Health> {
        loop {
            let mut all = self.lines.iter().map(arc_swap::ArcSwapAny::load);
            if let Some(pooled) = all.find(|pooled| pooled.health.is_doubted.load(Relaxed)) {
                return Health::new(pooled.health.place, &self.wanted);
            }
            self.wanted.notified().await;
        }
    }

    /// Puts a connection in the place of one that is still in doubt.
    pub(super) fn replace(&self, line: Line, health: Arc<Health>) {
        let Some(place) = self.lines.get(health.place) else {
            return;
        };
        if place.load().health.is_doubted.load(Relaxed) {
            place.store(Arc::new(Pooled { line, health }));
        }
    }
}

/// How many of so many connections take turns, from the first on.
fn in_turn(size: usize) -> usize {
    if size > 2 { size - 1 } else { size.max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_ask_at_a_time_has_a_connection_of_its_own_if_there_are_more_than_two() {
        let sizes = [0, 1, 2, 3, 10];
        assert_eq!(sizes.map(in_turn), [1, 1, 2, 2, 9]);
    }
}
