//! `Keeper`: keeps this node registered and its view of the others right.
//!
//! It claims the name, renews the lease, has the directory written after every (re)connection and every new epoch, looks
//! at the registry on events and at intervals, and names the dead to the reaper. It alone changes the epoch and the
//! view. A node whose name a newer process holds stops here: it writes nothing and says so in its status, until that
//! name is free again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::canary::describe;
use super::reaper::duty;
use super::shared::Shared;
use super::status::bump;
use super::writer::Order;
use super::{
    Broker, Claim, ClusterError, Destination, Directory, LocalNode, NodeInfo, NodeRegistry,
    envelope,
};
use crate::protocol::{Epoch, NodeId};

/// The pause after a failure while the link is up.
const RETRY: Duration = Duration::from_millis(500);

/// Failures in a row that are no chance.
const STRIKES: u32 = 2;

/// Events that come in a burst cause one look, one renewal.
const GAP: Duration = Duration::from_millis(50);

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
    pub(super) pauses: Pauses,
    /// Failures in a row while the link is there.
    pub(super) strikes: u32,
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
    sync: Instant,
}

impl Keeper {
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut wire = self.shared.wire.watch();
        let now = Instant::now();
        let mut due = Due {
            renewal: now,
            look: now + self.pauses.look,
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
                () = sleep_until(due.renewal) => due.renewal = Instant::now() + self.renew().await,
                () = self.shared.doubt.notified() => due.renewal = due.renewal.min(Instant::now() + GAP),
                () = self.shared.look.notified() => due.look = due.look.min(Instant::now() + GAP),
                () = sleep_until(due.look) => {
                    self.look().await;
                    due.look = Instant::now() + jittered(self.pauses.look);
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
        let kept = match self.hold().await {
            Ok(Held::Kept) if self.is_current() => Ok(()),
            Ok(Held::Kept | Held::Anew) => self.establish(generation).await,
            Err(error) => Err(error),
        };
        match kept {
            Ok(()) => {
                self.strikes = 0;
                jittered(self.pauses.renewal)
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
        self.strikes += 1;
        if self.strikes >= STRIKES {
            self.shared.falter(describe(error));
        }
    }

    async fn hold(&self) -> Result<Held, ClusterError> {
        let identity = &self.shared.identity;
        let info = self.info();
        let claim = if info.epoch == Epoch(0) {
            Claim::Take
        } else {
            Claim::IfVacant
        };
        if claim == Claim::IfVacant && self.registry.renew(&info).await? {
            self.shared.fence(None);
            return Ok(Held::Kept);
        }
        let epoch = self.registry.claim(&info, claim).await?;
        self.shared
            .falter("registered, the directory is not written yet".to_owned());
        identity.register(epoch);
        self.shared.fence(None);
        tracing::info!(node = %identity.node, %epoch, "registered");
        Ok(Held::Anew)
    }

    fn info(&self) -> NodeInfo {
        let identity = &self.shared.identity;
        NodeInfo {
            node: identity.node.clone(),
            epoch: identity.epoch(),
            address: identity.address.clone(),
            connections: self.local.connections(),
        }
    }

    /// Registered over this connection; now the directory, then the peers, then the link counts as up.
    async fn establish(&self, generation: u64) -> Result<(), ClusterError> {
        self.shared.cache.clear();
        let (done, written) = oneshot::channel();
        let asked = self.writer.send(Order::Resync(done)).await;
        asked.map_err(|_| ClusterError::Disconnected)?;
        written.await.map_err(|_| ClusterError::Disconnected)??;
        self.look().await;
        // Again: what was looked up meanwhile may stem from before the peers wrote theirs.
        self.shared.cache.clear();
        self.shared.establish(generation);
        Ok(())
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
        let identity = &self.shared.identity;
        let live = self.registry.nodes().await?;
        let peers = live
            .iter()
            .filter(|info| info.node != identity.node)
            .cloned()
            .collect();
        if self.shared.see(peers) {
            self.shared.cache.clear();
            tracing::info!(nodes = live.len(), "nodes came or went");
        }
        let dead = duty(&identity.node, &live, self.directory.holders().await?);
        if !dead.is_empty() {
            // Full: the reaper is at work, and what is left then is found by the next look.
            let _ = self.reaper.try_send(dead);
        }
        Ok(())
    }

    /// Directory first, lease second: as long as the lease lives nobody else touches the entries.
    async fn say_farewell(&self) -> Result<(), ClusterError> {
        let identity = &self.shared.identity;
        if identity.epoch() == Epoch(0) {
            return Ok(());
        }
        let (done, written) = oneshot::channel();
        let asked = self.writer.send(Order::Leave(done)).await;
        asked.map_err(|_| ClusterError::Disconnected)?;
        let emptied = written.await.map_err(|_| ClusterError::Disconnected)?;
        self.registry
            .leave(&identity.node, identity.epoch())
            .await?;
        emptied?;
        self.broker
            .publish(vec![(Destination::All, envelope::membership(identity))])
            .await
            .map(drop)
    }
}

enum Held {
    Kept,
    Anew,
}

/// Between nine and eleven tenths, so that nodes started together do not stay together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.9..1.1))
}
