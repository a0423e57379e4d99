//! Presence at work: one node of the cluster declares users offline, changes reach those who watch, on any node, and whoever
//! wants the events `user.online` and `user.offline`.
//!
//! What counts as online is decided in [`crate::cluster::PresenceBook`]. Here are the loops over it, each of which goes on by
//! itself after an outage: nothing is lost by it, only late.

mod feed;
mod watchers;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::{Cluster, ClusterError};
use crate::hub::{Hub, SessionKey, ShardId};
use crate::protocol::{RawJson, Told, UserId};
use crate::service::Service;

pub use crate::cluster::Presence;
pub use feed::Feed;
use watchers::Watchers;

/// The pause between two looks at who is leaving, at most; and after a failure.
const LOOK: Duration = Duration::from_millis(500);

/// The pause between two looks at what changed, while somebody watches. What a client sees is late by this much.
const NEWS: Duration = Duration::from_millis(200);

/// Changes that are read at once.
const PAGE: usize = 512;

/// A session that watches.
pub type Watcher = (ShardId, SessionKey);

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct PresenceDesk(Arc<Inner>);

struct Inner {
    hub: Arc<Hub>,
    cluster: Cluster,
    watchers: Watchers,
}

impl std::fmt::Debug for PresenceDesk {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("PresenceDesk").finish_non_exhaustive()
    }
}

/// Why a session does not watch.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// It watches as many users as it may.
    #[error("a session may watch {0} users (wsc.presence.maxWatched)")]
    TooMany(usize),
    /// How they stand cannot be said now.
    #[error("who is online cannot be told now: {0}")]
    Cluster(#[from] ClusterError),
}

impl PresenceDesk {
    /// Starts the loops.
    pub fn start(
        (hub, cluster): (Arc<Hub>, Cluster),
        service: Arc<Service>,
        tasks: &TaskTracker,
        cancel: &CancellationToken,
    ) -> Self {
        let desk = Self(Arc::new(Inner {
            hub,
            cluster: cluster.clone(),
            watchers: Watchers::default(),
        }));
        let until = |cancel: &CancellationToken| cancel.clone();
        let (settling, settled) = (cluster.clone(), until(cancel));
        tasks.spawn(async move { settled.run_until_cancelled(settle_forever(settling)).await });
        let (watching, watched) = (desk.clone(), until(cancel));
        tasks.spawn(async move { watched.run_until_cancelled(watching.tell_forever()).await });
        let (feed, fed) = (Feed::new(cluster, "handlers"), until(cancel));
        tasks.spawn(async move { fed.run_until_cancelled(pass_on(feed, service)).await });
        desk
    }

    /// From now on this session is told when one of these users comes or goes; how they stand now, in order. On an error
    /// nothing has changed.
    pub async fn watch(
        &self,
        watcher: Watcher,
        users: &[UserId],
        most: usize,
    ) -> Result<Vec<Presence>, WatchError> {
        let Inner {
            cluster, watchers, ..
        } = &*self.0;
        let added = watchers
            .add(watcher, users, most)
            .ok_or(WatchError::TooMany(most))?;
        // Changes are read from before the answer, so that none falls between the two.
        let standing = async {
            if watchers.position().is_none() {
                watchers.begin(cluster.presence().last().await?);
            }
            cluster.presence().states(users).await
        };
        standing.await.map_err(|error| {
            watchers.remove(watcher, &added);
            error.into()
        })
    }

    /// This session is not told of these users any more.
    pub fn unwatch(&self, watcher: Watcher, users: &[UserId]) {
        self.0.watchers.remove(watcher, users);
    }

    /// The session has ended.
    pub fn forget(&self, watcher: Watcher) {
        self.0.watchers.forget(watcher);
    }

    /// How many sessions watch.
    pub fn watching(&self) -> usize {
        self.0.watchers.len()
    }

    async fn tell_forever(self) {
        loop {
            match self.tell().await {
                Ok(PAGE..) => {}
                Ok(_) => sleep(NEWS).await,
                Err(error) => {
                    tracing::debug!(%error, "changes of presence cannot be read");
                    sleep(LOOK).await;
                }
            }
        }
    }

    /// Tells those who watch what changed; how much there was.
    async fn tell(&self) -> Result<usize, ClusterError> {
        let Inner {
            hub,
            cluster,
            watchers,
        } = &*self.0;
        let Some(position) = watchers.position() else {
            return Ok(0);
        };
        let changes = cluster.presence().changes(position, PAGE).await?;
        for (place, change) in &changes {
            for (shard, session) in watchers.of(&change.user) {
                if let Some(data) = frame(change) {
                    let kind = "presence";
                    hub.inform(shard, session, Told::Event { kind, data });
                }
            }
            watchers.advance(*place);
        }
        Ok(changes.len())
    }
}

/// The data of a `presence` frame.
fn frame(change: &Presence) -> Option<Box<RawJson>> {
    serde_json::value::to_raw_value(&described(change)).ok()
}

/// What a client is told of a user.
pub fn described(presence: &Presence) -> serde_json::Value {
    serde_json::json!({
        "user": presence.user,
        "online": presence.online,
        "generation": presence.generation,
        "at": presence.at(),
    })
}

async fn settle_forever(cluster: Cluster) {
    loop {
        let pause = match settle(&cluster).await {
            Ok(pause) => pause.unwrap_or(LOOK).min(LOOK),
            Err(error) => {
                tracing::debug!(%error, "who is leaving cannot be settled now");
                LOOK
            }
        };
        sleep(pause).await;
    }
}

/// Only one node does it: others would only find it done.
async fn settle(cluster: &Cluster) -> Result<Option<Duration>, ClusterError> {
    if cluster.owner_of("presence").await? != *cluster.identity().0 {
        return Ok(None);
    }
    cluster.presence().settle().await
}

/// Passes changes on to the handlers of this process. One node does it for the cluster.
async fn pass_on(mut feed: Feed, service: Arc<Service>) {
    loop {
        let events = feed.next(PAGE).await;
        for event in &events {
            service.handle_patiently(event).await;
        }
        feed.done().await;
    }
}
