//! `RevocationDesk`: takes tokens back, on every node at once, and keeps the list of them in step with the other nodes.
//!
//! With Redis a line counts when it is stored there; then this node's sessions are ended, and the others are told to read
//! what is new. Every node also reads it every [`PERIOD`], which is how one learns of what it was not told: after a message
//! that was lost, after a time without Redis, at its start. Without Redis the list goes with the process. Judging tokens by
//! the list is `security`'s, ending sessions the shards'.

mod scripts;
mod store;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::{Cluster, ClusterError};
use crate::hub::Hub;
use crate::security::{Revocation, Revocations};
use store::Store;

/// How often a node reads what it was not told.
const PERIOD: Duration = Duration::from_secs(2);

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct RevocationDesk {
    list: Arc<Revocations>,
    hub: Arc<Hub>,
    cluster: Cluster,
    store: Option<Arc<Store>>,
}

impl RevocationDesk {
    /// A desk with an empty list, and the task that keeps it in step.
    pub fn start(
        (hub, cluster): (Arc<Hub>, Cluster),
        tasks: &TaskTracker,
        running: &CancellationToken,
    ) -> Self {
        let store = cluster.redis().map(|link| Arc::new(Store::new(&link)));
        let desk = Self {
            list: Arc::default(),
            hub,
            cluster,
            store,
        };
        tasks.spawn(desk.clone().run(running.child_token()));
        desk
    }

    /// The list, for those who judge tokens by it.
    pub fn list(&self) -> Arc<Revocations> {
        Arc::clone(&self.list)
    }

    /// Takes back what the line says. On an error nothing was done; to repeat it is safe.
    pub async fn revoke(&self, line: Revocation) -> Result<(), ClusterError> {
        if let Some(store) = &self.store {
            store.add(&line).await?;
        }
        self.apply([line]).await;
        if self.store.is_some()
            && let Err(error) = self.cluster.tell_revocation().await
        {
            tracing::warn!(%error, "other nodes were not told of a revocation; they read of it soon");
        }
        Ok(())
    }

    /// Keeps the list in step until cancelled.
    async fn run(self, cancel: CancellationToken) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.cluster.revocation_told() => {}
                _ = ticks.tick() => self.list.forget(crate::hub::unix_millis() / 1000, Instant::now()),
            }
            if let Some(store) = &self.store
                && let Err(error) = self.catch_up(store).await
            {
                tracing::debug!(%error, "the list of revoked tokens is not in step");
            }
        }
    }

    /// Reads what is new, and gives Redis back what it has lost. With Redis away the list stays what it was.
    async fn catch_up(&self, store: &Store) -> Result<(), ClusterError> {
        while let Some(lines) = store.news().await? {
            self.apply(lines).await;
        }
        store.give_back(&self.list).await
    }

    /// Goes by these lines from now on, for those who come and for those who are here.
    async fn apply(&self, lines: impl IntoIterator<Item = Revocation>) {
        if self.list.add(lines) {
            self.hub.end_revoked().await;
        }
    }
}
