//! `Keeper`: keeps this node registered and its view of the others right.
//!
//! It claims the name, renews the lease, has the directory written after every (re)connection and every new epoch, looks
//! at the registry on events and at intervals, and names the dead to the reaper. Renewals and the farewell do not wait for
//! a directory that is being written, however long that takes. It alone changes the epoch and the view. A node whose name a newer process holds stops here: it writes nothing and says so in its status, until that
//! name is free again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::backoff::backoff;
use super::canary::describe;
use super::offices::Offices;
use super::peers::Doorway;
use super::reaper;
use super::shared::Shared;
use super::status::bump;
use super::writer::Order;
use super::{
    Broker, Claim, ClusterError, Destination, Directory, Holder, LocalNode, NodeInfo, NodeRegistry,
    envelope,
};
use crate::protocol::{Epoch, NodeId};

/// The pause after a failure while the link is up.
const RETRY: Duration = Duration::from_millis(500);

/// The longest pause between two attempts to have the directory written.
const REWRITE_MAX: Duration = Duration::from_secs(10);

/// How long a farewell waits for the directory. Without it the lease is given back all the same: the entries are void then,
/// and a survivor removes them.
const EMPTYING: Duration = Duration::from_secs(2);

/// Failures in a row that are no chance.
const STRIKES: u32 = 2;

/// Events that come in a burst cause one look, one renewal.
const GAP: Duration = Duration::from_millis(50);

/// However many suspicions come, as they do while a node is listed that does not hear, there is one look in this time.
const LOOKS_APART: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    pub(super) local: Arc<dyn LocalNode>,
    pub(super) registry: Arc<dyn NodeRegistry>,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) writer: mpsc::Sender<Order>,
    pub(super) reaper: mpsc::Sender<Vec<(NodeId, Epoch)>>,
    pub(super) leave: mpsc::Receiver<oneshot::Sender<Result<(), ClusterError>>>,
    pub(super) offices: Offices,
    pub(super) pauses: Pauses,
    pub(super) progress: Progress,
}

/// How far this node has come in being part of the cluster.
#[derive(Default)]
pub(super) struct Progress {
    /// Failures to hold the lease in a row while the link is there.
    strikes: u32,
    writing: Option<Writing>,
    /// Replacements of the directory that failed in a row.
    failures: u32,
    /// When the next may be ordered.
    not_before: Option<Instant>,
}

/// A replacement of the directory that was ordered.
struct Writing {
    generation: u64,
    epoch: Epoch,
    written: oneshot::Receiver<Result<(), ClusterError>>,
}

/// How often what is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    pub(super) renewal: Duration,
    pub(super) look: Duration,
    pub(super) sync: Duration,
}

struct Due {
    renewal: Instant,
    look: Instant,
    /// When a suspicion may cause the next.
    look_again: Instant,
    sync: Instant,
}

impl Keeper {
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut wire = self.shared.wire.watch();
        let now = Instant::now();
        let mut due = Due {
            renewal: now,
            look: now + self.pauses.look,
            look_again: now,
            sync: now + self.pauses.sync,
        };
        let mut known = 0;
        wire.mark_changed();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                done = self.leave.recv() => {
                    if let Some(done) = done {
                        drop(done.send(self.say_farewell().await));
                    }
                    return;
                }
                Ok(()) = wire.changed() => {
                    let generation = wire.borrow_and_update().generation;
                    if generation.is_some_and(|new| new > known) {
                        if known > 0 {
                            bump(&self.shared.stats.reconnects);
                        }
                        known = generation.unwrap_or(known);
                        due.renewal = Instant::now();
                    }
                }
                outcome = written(&mut self.progress.writing) => {
                    let pause = self.conclude(outcome).await;
                    due.renewal = due.renewal.min(Instant::now() + pause);
                }
                () = sleep_until(due.renewal) => due.renewal = Instant::now() + self.renew().await,
                () = self.shared.doubt.notified() => due.renewal = due.renewal.min(Instant::now() + GAP),
                () = self.shared.look.notified() => due.look = due.look.min(Instant::now() + GAP),
                () = self.shared.suspicion.notified() => {
                    due.look = due.look.min(due.look_again.max(Instant::now() + GAP));
                }
                () = sleep_until(due.look) => {
                    self.look().await;
                    due.look = Instant::now() + jittered(self.pauses.look);
                    due.look_again = Instant::now() + LOOKS_APART;
                }
                () = sleep_until(due.sync) => {
                    // Events keep the cache right; this bounds how long a lost one can hurt.
                    self.shared.cache.clear();
                    due.sync = Instant::now() + jittered(self.pauses.sync);
                }
            }
        }
    }

    fn is_current(&self) -> bool {
        self.shared.check().is_ok()
    }

    /// Renews or, where there is nothing to renew, registers. Returns the pause until the next time.
    async fn renew(&mut self) -> Duration {
        let Some(generation) = self.shared.wire.generation() else {
            return self.pauses.renewal;
        };
        match self.hold().await {
            Ok(()) => {
                self.progress.strikes = 0;
                let pause = jittered(self.pauses.renewal);
                if self.is_current() {
                    pause
                } else {
                    pause.min(self.have_written(generation))
                }
            }
            Err(ClusterError::Fenced { node, epoch }) => {
                self.fence(&node, epoch);
                jittered(self.pauses.renewal)
            }
            Err(error) => {
                self.strike(&error);
                RETRY.min(self.pauses.renewal)
            }
        }
    }

    fn fence(&self, node: &NodeId, epoch: Epoch) {
        if self.shared.view().fenced.is_none() {
            tracing::error!(%node, %epoch, "a newer process holds this node's name: this one is over");
        }
        self.shared.fence(Some(epoch));
        self.shared.falter(
            ClusterError::Fenced {
                node: node.clone(),
                epoch,
            }
            .to_string(),
        );
    }

    /// One failure may be chance; after the second this node says that it is not part of the cluster.
    fn strike(&mut self, error: &ClusterError) {
        tracing::debug!(error = describe(error), "the lease could not be kept");
        if matches!(error, ClusterError::Disconnected) {
            return;
        }
        self.progress.strikes += 1;
        // Where others keep the registry, what was last granted holds until it runs out: the peers go by it as well.
        if self.progress.strikes >= STRIKES && !self.registry.still_holds() {
            self.shared.falter(describe(error));
        }
    }

    async fn hold(&self) -> Result<(), ClusterError> {
        let identity = &self.shared.identity;
        let info = self.info();
        let claim = if info.epoch == Epoch(0) {
            Claim::Take
        } else {
            Claim::IfVacant
        };
        if claim == Claim::IfVacant && self.registry.renew(&info).await? {
            self.shared.fence(None);
            return Ok(());
        }
        let unwritten = NodeInfo {
            synced: false,
            ..info
        };
        let epoch = self.registry.claim(&unwritten, claim).await?;
        self.shared
            .falter("registered, the directory is not written yet".to_owned());
        identity.register(epoch);
        self.shared.fence(None);
        tracing::info!(node = %identity.node, %epoch, "registered");
        Ok(())
    }

    fn info(&self) -> NodeInfo {
        let identity = &self.shared.identity;
        NodeInfo {
            node: identity.node.clone(),
            epoch: identity.epoch(),
            address: identity.address.clone(),
            connections: self.local.connections(),
            synced: self.is_current(),
            beat: self.shared.next_beat(),
            leaving: self.shared.is_leaving(),
            door: identity.door.as_ref().map(Doorway::now),
        }
    }

    /// Registered over this connection; now the directory, then the peers, then the link counts as up. Returns the pause
    /// until it should be asked again.
    fn have_written(&mut self, generation: u64) -> Duration {
        let epoch = self.shared.identity.epoch();
        let is_under_way =
            |writing: &Writing| writing.generation == generation && writing.epoch == epoch;
        if self.progress.writing.as_ref().is_some_and(is_under_way) {
            return self.pauses.renewal;
        }
        if let Some(not_before) = self.progress.not_before
            && let Some(left) = not_before.checked_duration_since(Instant::now())
            && !left.is_zero()
        {
            return left;
        }
        self.shared.cache.clear();
        let (done, written) = oneshot::channel();
        if self.writer.try_send(Order::Resync(done)).is_err() {
            // It is at a change and has not even taken the last order yet.
            return RETRY;
        }
        self.progress.writing = Some(Writing {
            generation,
            epoch,
            written,
        });
        self.pauses.renewal
    }

    /// The writer has answered. Returns the pause until the lease should be looked after at the latest.
    async fn conclude(&mut self, written: Result<(), ClusterError>) -> Duration {
        let Some(writing) = self.progress.writing.take() else {
            return self.pauses.renewal;
        };
        let known = match written {
            Ok(()) => self.try_look().await,
            Err(error) => Err(error),
        };
        if let Err(error) = known {
            tracing::debug!(
                error = describe(&error),
                "the directory could not be written anew"
            );
            self.shared.falter(describe(&error));
            // A link that broke has its own pauses.
            if !matches!(error, ClusterError::Disconnected) {
                self.progress.failures += 1;
            }
            let pause = backoff(RETRY, REWRITE_MAX, self.progress.failures);
            self.progress.not_before = Some(Instant::now() + pause);
            return pause;
        }
        // Again: what was looked up meanwhile may stem from before the peers wrote theirs.
        self.shared.cache.clear();
        self.shared.establish(writing.generation);
        self.say_synced().await;
        self.progress.failures = 0;
        self.progress.not_before = None;
        self.pauses.renewal
    }

    /// From now on who is found nowhere is not here. The lease says so, and the peers read it now; if that fails, with the
    /// next renewal and their next look.
    async fn say_synced(&self) {
        let told = async {
            self.hold().await?;
            let word = envelope::membership(&self.shared.identity);
            self.broker.publish(vec![(Destination::All, word)]).await
        };
        if let Err(error) = told.await {
            tracing::debug!(
                error = describe(&error),
                "the peers could not be told that the directory is written"
            );
        }
    }

    async fn look(&self) {
        if self.shared.wire.generation().is_none() {
            return;
        }
        if let Err(error) = self.try_look().await {
            tracing::debug!(error = describe(&error), "the registry could not be read");
        }
    }

    async fn try_look(&self) -> Result<(), ClusterError> {
        let live = self.registry.nodes().await?;
        if self.shared.see(live.clone()) {
            self.shared.cache.clear();
            tracing::info!(nodes = live.len(), "nodes came or went");
        }
        let dead = reaper::dead(&live, self.directory.holders().await?);
        let mine = self.mine(dead).await?;
        if !mine.is_empty() {
            // Full: the reaper is at work, and what is left then is found by the next look.
            let _ = self.reaper.try_send(mine);
        }
        Ok(())
    }

    /// Those of the dead that the routing picks this node to reap.
    async fn mine(&self, dead: Vec<Holder>) -> Result<Vec<Holder>, ClusterError> {
        let me = &self.shared.identity.node;
        let mut mine = Vec::new();
        for holder in dead {
            if self.offices.owner_of(&reaper::work(&holder)).await? == *me {
                mine.push(holder);
            }
        }
        Ok(mine)
    }

    /// Directory first, lease second: as long as the lease lives nobody else touches the entries.
    async fn say_farewell(&self) -> Result<(), ClusterError> {
        let identity = &self.shared.identity;
        if identity.epoch() == Epoch(0) {
            return Ok(());
        }
        let emptied = timeout(EMPTYING, self.have_emptied())
            .await
            .unwrap_or_else(|_| {
                Err(ClusterError::Deadline {
                    operation: "leave",
                    millis: u64::try_from(EMPTYING.as_millis()).unwrap_or(u64::MAX),
                })
            });
        self.registry
            .leave(&identity.node, identity.epoch())
            .await?;
        let told = self
            .broker
            .publish(vec![(Destination::All, envelope::membership(identity))])
            .await
            .map(drop);
        emptied.and(told)
    }

    async fn have_emptied(&self) -> Result<(), ClusterError> {
        let (done, written) = oneshot::channel();
        let asked = self.writer.send(Order::Leave(done)).await;
        asked.map_err(|_| ClusterError::Disconnected)?;
        written.await.map_err(|_| ClusterError::Disconnected)?
    }
}

async fn written(writing: &mut Option<Writing>) -> Result<(), ClusterError> {
    match writing {
        Some(writing) => (&mut writing.written)
            .await
            .unwrap_or(Err(ClusterError::Disconnected)),
        None => std::future::pending().await,
    }
}

/// Between nine and eleven tenths, so that nodes started together do not stay together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.9..1.1))
}
