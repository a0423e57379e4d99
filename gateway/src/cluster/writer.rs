//! `Writer`: the one task that writes this node's part of the directory, from a bounded queue of session changes.
//!
//! Changes are written in batches, and users whose first session came or last went are told to the peers. What cannot be
//! written (the link is down, the queue was full) is not kept: the directory is then replaced as a whole from what the
//! hub holds, which is right whatever was missed. Only the writer writes, so a replacement and changes never cross; a
//! replacement under way gives way to a newer order, a farewell and the end.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::backoff::backoff;
use super::canary::describe;
use super::shared::Shared;
use super::status::bump;
use super::{
    Broker, ClusterError, Destination, Directory, LocalNode, PresenceBook, SessionChange, envelope,
};
use crate::protocol::UserId;

/// Changes that may wait. A rollout of 10,000 sessions makes 20,000; past the bound a replacement is cheaper anyway.
const QUEUE: usize = 32_768;

/// Changes per round trip: a script of this size holds Redis for about a millisecond.
const BATCH: usize = 256;

/// How long changes are gathered once there is one. In a storm a wake-up of this task for each would cost the shard as much
/// as a third of a handshake, and Redis a script each.
const GATHERING: Duration = Duration::from_millis(2);

/// Users per `Moved`.
const MOVED: usize = 1_000;

/// The pause before what was missed is made good by a replacement, doubled by each that fails.
const RETRY: Duration = Duration::from_secs(1);

/// Users whose end was missed who are remembered until the replacement: past that, who is gone is found by what Redis
/// still has of them, which is all of them unless it lost its data meanwhile.
const ENDED: usize = 65_536;

/// The longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Failed replacements in a row of which the log hears.
const WORTH_SAYING: u32 = 2;

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
        // Before it is there to be taken, so that the count never falls below nothing.
        bump(&self.shared.stats.directory_queue);
        let Err(refused) = self.queue.try_send(change) else {
            return;
        };
        self.shared.stats.directory_queue.fetch_sub(1, Relaxed);
        match refused {
            mpsc::error::TrySendError::Full(_) => {
                bump(&self.shared.stats.overflows);
                self.overflow.notify_one();
            }
            // The node has left or the process ends: nobody reads the directory's entries of this node any more.
            mpsc::error::TrySendError::Closed(_) => {}
        }
    }
}

/// See the module.
pub(super) struct Writer {
    shared: Arc<Shared>,
    local: Arc<dyn LocalNode>,
    directory: Arc<dyn Directory>,
    broker: Arc<dyn Broker>,
    presence: Arc<dyn PresenceBook>,
    changes: mpsc::Receiver<SessionChange>,
    /// Users of whom a session ended without the directory being told.
    ended: HashSet<UserId>,
    overflow: Arc<Notify>,
    orders: mpsc::Receiver<Order>,
    state: State,
    running: Option<Running>,
    /// Replacements that nobody ordered and that failed, in a row.
    failures: u32,
}

/// A replacement under way.
struct Running {
    replaced: BoxFuture<'static, Result<(), ClusterError>>,
    /// Who ordered it, if it was ordered.
    done: Option<oneshot::Sender<Result<(), ClusterError>>>,
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
    pub(super) presence: Arc<dyn PresenceBook>,
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
        presence,
        orders,
    } = parts;
    (
        pusher,
        Writer {
            shared,
            local,
            directory,
            broker,
            presence,
            changes,
            ended: HashSet::new(),
            overflow,
            orders,
            state: State::Waiting,
            running: None,
            failures: 0,
        },
    )
}

impl Writer {
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let is_idle = self.running.is_none();
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                order = self.orders.recv() => match order {
                    Some(Order::Resync(done)) => self.begin(Some(done)),
                    Some(Order::Leave(done)) => {
                        tokio::select! {
                            () = cancel.cancelled() => {}
                            left = self.leave() => drop(done.send(left)),
                        }
                        return;
                    }
                    None => return,
                },
                replaced = finished(&mut self.running) => self.end(replaced),
                () = self.overflow.notified(), if is_idle => self.state = self.missed(),
                () = retry(self.state), if is_idle => self.begin(None),
                count = self.changes.recv_many(&mut batch, BATCH), if is_idle => {
                    if count == 0 {
                        return;
                    }
                    let count = count + self.gather(&mut batch).await;
                    self.shared.stats.directory_queue.fetch_sub(count as u64, Relaxed);
                    self.write(&batch).await;
                    batch.clear();
                }
            }
        }
    }

    /// What else comes within the time for it, up to a whole batch; how much that was.
    async fn gather(&mut self, batch: &mut Vec<SessionChange>) -> usize {
        let first = batch.len();
        if first < BATCH {
            sleep(GATHERING).await;
        }
        while batch.len() < BATCH
            && let Ok(change) = self.changes.try_recv()
        {
            batch.push(change);
        }
        batch.len() - first
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
            self.remember(batch);
            return;
        }
        let identity = &self.shared.identity;
        let written = self
            .directory
            .apply(&identity.node, identity.epoch(), batch)
            .await;
        let told = match written {
            Ok(moved) => tell(&self.shared, &*self.broker, &moved).await,
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            tracing::debug!(
                error = describe(&error),
                "session changes could not be written, the directory will be replaced"
            );
            self.remember(batch);
            self.state = State::Missed(Instant::now() + backoff(RETRY, RETRY_MAX, self.failures));
        }
    }

    /// Changes queued before the hub is asked are in its answer; those after it are applied on top, where repeating one
    /// that is in it already changes nothing.
    fn begin(&mut self, done: Option<oneshot::Sender<Result<(), ClusterError>>>) {
        if done.is_none() && self.shared.view().fenced.is_some() {
            // The keeper orders one when the name is this node's again.
            self.state = State::Waiting;
            return;
        }
        self.drain();
        let replacement = Replacement {
            shared: self.shared.clone(),
            local: self.local.clone(),
            directory: self.directory.clone(),
            broker: self.broker.clone(),
            presence: self.presence.clone(),
            ended: self.ended.iter().cloned().collect(),
        };
        self.running = Some(Running {
            replaced: Box::pin(replacement.run()),
            done,
        });
    }

    fn end(&mut self, replaced: Result<(), ClusterError>) {
        let done = self.running.take().and_then(|running| running.done);
        self.state = match &replaced {
            Ok(()) => {
                self.failures = 0;
                self.ended.clear();
                State::Synced
            }
            Err(ClusterError::Disconnected | ClusterError::Fenced { .. }) => State::Waiting,
            // Whoever ordered it orders it again.
            Err(_) if done.is_some() => State::Waiting,
            Err(error) => {
                self.failures += 1;
                self.complain(error);
                State::Missed(Instant::now() + backoff(RETRY, RETRY_MAX, self.failures))
            }
        };
        if let Some(done) = done {
            drop(done.send(replaced));
        }
    }

    fn complain(&self, error: &ClusterError) {
        let error = describe(error);
        if self.failures == WORTH_SAYING {
            tracing::warn!(
                error,
                "the directory could not be replaced: other nodes do not find every user of this one"
            );
        } else {
            tracing::debug!(error, "the directory could not be replaced");
        }
    }

    async fn leave(&mut self) -> Result<(), ClusterError> {
        self.running = None;
        self.changes.close();
        self.drain();
        let identity = &self.shared.identity;
        self.directory
            .replace(&identity.node, identity.epoch(), Vec::new())
            .await
    }

    fn drain(&mut self) {
        while let Ok(change) = self.changes.try_recv() {
            self.shared.stats.directory_queue.fetch_sub(1, Relaxed);
            self.remember(&[change]);
        }
    }

    fn remember(&mut self, missed: &[SessionChange]) {
        for change in missed {
            if let SessionChange::Down { user, .. } = change
                && self.ended.len() < ENDED
            {
                self.ended.insert(user.clone());
            }
        }
    }
}

/// Tells the peers who came or went.
async fn tell(shared: &Shared, broker: &dyn Broker, moved: &[UserId]) -> Result<(), ClusterError> {
    if moved.is_empty() || broker.alone() {
        return Ok(());
    }
    let tell = |users: &[UserId]| (Destination::All, envelope::moved(&shared.identity, users));
    broker
        .publish(moved.chunks(MOVED).map(tell).collect())
        .await
        .map(drop)
}

/// All that replacing takes, so that the writer can do something else meanwhile.
struct Replacement {
    shared: Arc<Shared>,
    local: Arc<dyn LocalNode>,
    directory: Arc<dyn Directory>,
    broker: Arc<dyn Broker>,
    presence: Arc<dyn PresenceBook>,
    ended: Vec<UserId>,
}

impl Replacement {
    async fn run(self) -> Result<(), ClusterError> {
        // Half a list would make the other half offline.
        let sessions = self.local.sessions().await;
        let sessions = sessions.ok_or(ClusterError::Incomplete)?;
        let identity = &self.shared.identity;
        self.directory
            .replace(&identity.node, identity.epoch(), sessions)
            .await?;
        self.presence.depart(&self.ended).await?;
        bump(&self.shared.stats.resyncs);
        // Who cached anything about this node's users must forget it.
        self.broker
            .publish(vec![(Destination::All, envelope::membership(identity))])
            .await
            .map(drop)
    }
}

async fn finished(running: &mut Option<Running>) -> Result<(), ClusterError> {
    match running {
        Some(running) => (&mut running.replaced).await,
        None => std::future::pending().await,
    }
}

async fn retry(state: State) {
    match state {
        State::Missed(when) => sleep_until(when).await,
        State::Waiting | State::Synced => std::future::pending().await,
    }
}
