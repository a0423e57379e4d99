//! `Writer`: the one task that writes this node's part of the directory, from a bounded queue of session changes.
//!
//! Changes are written in batches, and users whose first session came or last went are told to the peers. What cannot be
//! written (the link is down, the queue was full) is not kept: the directory is then replaced as a whole from what the
//! hub holds, which is right whatever was missed. Only the writer writes, so a replacement and changes never cross.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::canary::describe;
use super::shared::Shared;
use super::status::bump;
use super::{Broker, ClusterError, Destination, Directory, LocalNode, SessionChange, envelope};
use crate::protocol::UserId;

/// Changes that may wait. A rollout of 10,000 sessions makes 20,000; past the bound a replacement is cheaper anyway.
const QUEUE: usize = 32_768;

/// Changes per round trip: a script of this size holds Redis for about a millisecond.
const BATCH: usize = 256;

/// Users per `Moved`.
const MOVED: usize = 1_000;

/// The pause before a failed replacement is tried again while the link is up.
const RETRY: Duration = Duration::from_secs(1);

/// What the keeper asks of the writer.
pub(super) enum Order {
    /// Replace everything by what the hub holds.
    Resync(oneshot::Sender<Result<(), ClusterError>>),
    /// Remove everything and write nothing more.
    Leave(oneshot::Sender<Result<(), ClusterError>>),
}

/// Where shard threads put changes. Never blocks.
pub(super) struct Changes {
    queue: mpsc::Sender<SessionChange>,
    overflow: Arc<Notify>,
    shared: Arc<Shared>,
}

impl Changes {
    pub(super) fn push(&self, change: SessionChange) {
        match self.queue.try_send(change) {
            Ok(()) => bump(&self.shared.stats.directory_queue),
            Err(mpsc::error::TrySendError::Full(_)) => {
                bump(&self.shared.stats.overflows);
                self.overflow.notify_one();
            }
            // The node has left or the process ends: nobody reads the directory's entries of this node any more.
            Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
    }
}

/// See the module.
pub(super) struct Writer {
    shared: Arc<Shared>,
    local: Arc<dyn LocalNode>,
    directory: Arc<dyn Directory>,
    broker: Arc<dyn Broker>,
    changes: mpsc::Receiver<SessionChange>,
    overflow: Arc<Notify>,
    orders: mpsc::Receiver<Order>,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// Nothing is written until the keeper orders a replacement.
    Waiting,
    /// The directory holds what the hub holds, but for the queue.
    Synced,
    /// Something was missed; replaced at that time.
    Missed(Instant),
}

pub(super) struct WriterParts {
    pub(super) local: Arc<dyn LocalNode>,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) orders: mpsc::Receiver<Order>,
}

pub(super) fn writer(shared: Arc<Shared>, parts: WriterParts) -> (Changes, Writer) {
    let (queue, changes) = mpsc::channel(QUEUE);
    let overflow = Arc::new(Notify::new());
    let pusher = Changes {
        queue,
        overflow: overflow.clone(),
        shared: shared.clone(),
    };
    let WriterParts {
        local,
        directory,
        broker,
        orders,
    } = parts;
    let state = State::Waiting;
    (
        pusher,
        Writer {
            shared,
            local,
            directory,
            broker,
            changes,
            overflow,
            orders,
            state,
        },
    )
}

impl Writer {
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                order = self.orders.recv() => match order {
                    Some(Order::Resync(done)) => drop(done.send(self.resync().await)),
                    Some(Order::Leave(done)) => {
                        drop(done.send(self.leave().await));
                        return;
                    }
                    None => return,
                },
                () = self.overflow.notified() => self.state = self.missed(),
                () = retry(self.state) => {
                    if let Err(error) = self.resync().await {
                        tracing::debug!(error = describe(&error), "the directory could not be replaced");
                    }
                }
                count = self.changes.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    self.shared.stats.directory_queue.fetch_sub(count as u64, Relaxed);
                    self.write(&batch).await;
                    batch.clear();
                }
            }
        }
    }

    /// Only what was in step can fall out of it: while waiting, the keeper's order comes anyway.
    fn missed(&self) -> State {
        match self.state {
            State::Synced => State::Missed(Instant::now()),
            State::Waiting | State::Missed(_) => self.state,
        }
    }

    async fn write(&mut self, batch: &[SessionChange]) {
        if !matches!(self.state, State::Synced) || self.shared.view().fenced.is_some() {
            return;
        }
        let identity = &self.shared.identity;
        let written = self
            .directory
            .apply(&identity.node, identity.epoch(), batch)
            .await;
        let told = match written {
            Ok(moved) => self.tell(&moved).await,
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            tracing::debug!(
                error = describe(&error),
                "session changes could not be written, the directory will be replaced"
            );
            self.state = State::Missed(Instant::now() + RETRY);
        }
    }

    async fn tell(&self, moved: &[UserId]) -> Result<(), ClusterError> {
        if moved.is_empty() || self.broker.alone() {
            return Ok(());
        }
        let tell = |users: &[UserId]| {
            (
                Destination::All,
                envelope::moved(&self.shared.identity, users),
            )
        };
        self.broker
            .publish(moved.chunks(MOVED).map(tell).collect())
            .await
            .map(drop)
    }

    /// Changes queued before the hub is asked are in its answer; those after it are applied on top, where repeating one
    /// that is in it already changes nothing.
    async fn resync(&mut self) -> Result<(), ClusterError> {
        self.drain();
        let replaced = match self.local.sessions().await {
            Some(sessions) => self.replace(sessions).await,
            // Half a list would make the other half offline.
            None => Err(ClusterError::Incomplete),
        };
        self.state = match &replaced {
            Ok(()) => State::Synced,
            Err(ClusterError::Disconnected | ClusterError::Fenced { .. }) => State::Waiting,
            Err(_) => State::Missed(Instant::now() + RETRY),
        };
        replaced
    }

    async fn replace(&self, sessions: Vec<super::SessionRecord>) -> Result<(), ClusterError> {
        let identity = &self.shared.identity;
        self.directory
            .replace(&identity.node, identity.epoch(), sessions)
            .await?;
        bump(&self.shared.stats.resyncs);
        // Who cached anything about this node's users must forget it.
        self.broker
            .publish(vec![(Destination::All, envelope::membership(identity))])
            .await
            .map(drop)
    }

    async fn leave(&mut self) -> Result<(), ClusterError> {
        self.changes.close();
        self.drain();
        let identity = &self.shared.identity;
        self.directory
            .replace(&identity.node, identity.epoch(), Vec::new())
            .await
    }

    fn drain(&mut self) {
        while self.changes.try_recv().is_ok() {
            self.shared.stats.directory_queue.fetch_sub(1, Relaxed);
        }
    }
}

async fn retry(state: State) {
    match state {
        State::Missed(when) => sleep_until(when).await,
        State::Waiting | State::Synced => std::future::pending().await,
    }
}
