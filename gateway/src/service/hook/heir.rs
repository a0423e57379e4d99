//! `Heir`: delivers what a dead node had written down for a hook. One node of the cluster does it, by `messageRouting`.
//!
//! A node is taken to be dead when this one has not seen it for as long as news take to get around, so that one that has
//! just come is not. Whoever is wrong about that delivers something twice, by the same id.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::journal::{Entry, Journal, Stream, ends};
use super::teller::{Delivery, Teller};
use crate::cluster::{Cluster, ClusterError};

/// The pause between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Heir {
    teller: Teller,
    journal: Journal,
    cluster: Cluster,
    /// The work, by name.
    work: String,
    /// Streams of nodes that are not seen, and since when.
    missed: HashMap<Stream, Instant>,
}

impl Heir {
    pub(super) fn new(teller: Teller, journal: Journal, cluster: Cluster) -> Self {
        Self {
            work: format!("journals of hook {}", teller.core.plan.name()),
            teller,
            journal,
            cluster,
            missed: HashMap::new(),
        }
    }

    /// Looks until the hook is gone or the process ends.
    pub(super) async fn run(mut self) {
        let cancel = self.teller.cancel.clone();
        while cancel.run_until_cancelled(sleep(LOOK)).await.is_some() {
            if let Err(error) = self.look().await {
                tracing::debug!(work = self.work, %error, "what dead nodes left cannot be read");
            }
        }
    }

    async fn look(&mut self) -> Result<(), ClusterError> {
        if self.cluster.owner_of(&self.work).await? != *self.cluster.identity().0 {
            self.missed.clear();
            return Ok(());
        }
        for stream in self.left().await? {
            if self.teller.cancel.is_cancelled() {
                return Ok(());
            }
            self.deliver(&stream).await?;
        }
        Ok(())
    }

    /// The streams of nodes that have not been seen for long enough.
    async fn left(&mut self) -> Result<Vec<Stream>, ClusterError> {
        let streams = self.journal.streams().await?;
        let view = self.cluster.peers().borrow().clone();
        let (node, epoch) = self.cluster.identity();
        let lives = |stream: &Stream| {
            let is_own = stream.node == *node && stream.epoch == epoch;
            let mut live = view.live.iter().chain(&view.peers);
            is_own || live.any(|info| info.node == stream.node && info.epoch == stream.epoch)
        };
        self.missed
            .retain(|stream, _| streams.contains(stream) && !lives(stream));
        let now = Instant::now();
        let patience = self.cluster.news_take();
        let mut left = Vec::new();
        for stream in streams.into_iter().filter(|stream| !lives(stream)) {
            let since = *self.missed.entry(stream.clone()).or_insert(now);
            if now.duration_since(since) >= patience {
                left.push(stream);
            }
        }
        Ok(left)
    }

    async fn deliver(&mut self, stream: &Stream) -> Result<(), ClusterError> {
        let core = self.teller.core.clone();
        let most = core.plan.config().batch.max_events as usize;
        while let Some((events, number)) = self.journal.read(stream, most).await? {
            core.stats.inherited.fetch_add(events.len() as u64, Relaxed);
            let told = events.is_empty()
                || !matches!(self.teller.deliver(&events).await, Delivery::Ending);
            if !told {
                return Ok(());
            }
            let entry = Entry {
                stream: Arc::new(stream.clone()),
                number,
            };
            self.journal.cut(&ends(std::iter::once(&entry))).await?;
        }
        self.missed.remove(stream);
        tracing::info!(hook = core.plan.name(), %stream, "delivered what a dead node had left");
        self.journal.close(stream).await
    }
}
