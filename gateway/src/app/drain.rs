//! The way out, in the order that loses nothing: unready first, sessions before the APIs, the cluster last.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use wsc_config::{DrainConfig, GatewayConfig};

use super::Gateway;
use crate::admin::Phase;
use crate::cluster::NodeInfo;
use crate::hub::{Command, DrainPlan, ShardThread};
use crate::service::Event;

/// Kept back from the deadline for what follows the sessions: finishing API calls and leaving the cluster.
const FAREWELL: Duration = Duration::from_secs(3);

/// How often a node that drains looks how many others do.
const COUNTED_EVERY: Duration = Duration::from_secs(1);

/// What tasks and threads get to end, even when the deadline is over.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long what waits for hooks is waited for, before it gets one attempt more and is left to other nodes.
const HOOKS: Duration = Duration::from_secs(1);

impl Gateway {
    /// Leaves: within `drain.deadline` every session has been told, the registry is left, and all ports are closed.
    /// A second call returns when the first is done.
    pub async fn drain(&self) {
        let first = self.phase.send_if_modified(|phase| {
            let first = matches!(phase, Phase::Starting | Phase::Serving);
            if first {
                *phase = Phase::Draining;
            }
            first
        });
        if !first {
            let mut phase = self.phase();
            // An error means the gateway is gone altogether.
            let _gone = phase.wait_for(|phase| *phase == Phase::Stopped).await;
            return;
        }
        let began = Instant::now();
        let config = self.config();
        let drain = &config.drain;
        self.shared.cluster.say_leaving();
        self.health.not_serving().await;
        tracing::info!(connections = self.hub.stats().connections, "draining");
        // New connections are still welcome while the news of our unreadiness spreads: refusing them now would fail
        // clients that no one has told better yet.
        sleep(drain.unready_delay.into()).await;
        self.accepting.cancel();
        self.refusing.store(true, Relaxed);
        let deadline = began + Duration::from(drain.deadline);
        self.send_sessions_away(deadline - FAREWELL.min(Duration::from(drain.deadline) / 2))
            .await;
        self.serving.cancel();
        if timeout_at(deadline, self.shared.tickets.end())
            .await
            .is_err()
        {
            tracing::warn!("the last steps of tickets were not told in time");
        }
        self.tasks.close();
        if timeout_at(deadline, self.shared.cluster.leave())
            .await
            .is_err()
        {
            tracing::warn!("the cluster was not left in time; peers will notice by the lease");
        }
        self.stop(deadline).await;
        tracing::info!(took = ?began.elapsed(), "stopped");
    }

    /// Says so where the node may hold more sessions than it can send away by its own rate.
    pub(super) fn look_at_drain(config: &GatewayConfig) {
        let drain = &config.drain;
        let deadline = Duration::from(drain.deadline);
        let kept = Duration::from(drain.unready_delay) + FAREWELL.min(deadline / 2);
        let most = u64::from(config.wsc.performance.max_connections_per_node);
        if let Some(needed) = plan(drain, deadline.saturating_sub(kept)).hurry(most, 1) {
            let (rate, needed) = (drain.rate_per_second, needed.ceil());
            tracing::warn!(
                "drain.ratePerSecond is {rate}, but to be told within drain.deadline ({}) the {most} sessions of \
                 wsc.performance.maxConnectionsPerNode take {needed} a second: a drain of a full node is so much faster",
                drain.deadline
            );
        }
    }

    /// Ends at once and without a word to anyone, as a crash would: peers notice by the lease. For tests of what they do then.
    pub fn abort(&self) {
        self.accepting.cancel();
        self.serving.cancel();
        self.running.cancel();
        self.phase.send_replace(Phase::Stopped);
    }

    async fn send_sessions_away(&self, deadline: Instant) {
        let shards = self.hub.shards().len();
        let (nodes, is_shared) = (
            Arc::new(AtomicU32::new(1)),
            self.config().drain.rate_per_second > 0,
        );
        if is_shared {
            self.count_drains(&nodes).await;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let plan = plan(&self.config().drain, left);
        let (connections, sharing) = (self.hub.stats().connections, nodes.load(Relaxed));
        if let Some(needed) = plan.hurry(connections, sharing) {
            let needed = needed.ceil();
            tracing::warn!(
                connections,
                needed,
                nodes = sharing,
                "sessions are told faster than this node's share of drain.ratePerSecond: drain.deadline leaves no time for less"
            );
        }
        let mut waiting = Vec::new();
        for shard in (0..).take(shards) {
            let (answer, drained) = oneshot::channel();
            let drain = Command::Drain(plan.share(shards), nodes.clone(), answer);
            let post = self.hub.post(shard, drain);
            // A stuck shard must not hold up the others' farewell.
            let _late = timeout_at(deadline, post).await;
            waiting.push(drained);
        }
        let all_drained = async {
            for drained in waiting {
                // Shards keep the deadline themselves; a stuck one must not hold up the others' farewell.
                let _late = timeout_at(deadline + Duration::from_secs(1), drained).await;
            }
        };
        let counting = async {
            loop {
                sleep(COUNTED_EVERY).await;
                self.count_drains(&nodes).await;
            }
        };
        tokio::select! {
            () = all_drained => {}
            () = counting, if is_shared => {}
        }
    }

    /// Notes how many nodes share the rate: those that drain and have sessions left, and this one. Where the registry does not
    /// answer, what was known holds.
    async fn count_drains(&self, nodes: &AtomicU32) {
        let cluster = &self.shared.cluster;
        let Ok(Ok(live)) = timeout(COUNTED_EVERY, cluster.nodes()).await else {
            return;
        };
        let this = &self.options.node;
        let drains =
            |info: &&NodeInfo| info.leaving && info.connections > 0 && info.node.as_str() != this;
        let others = live.iter().filter(drains).count();
        nodes.store(u32::try_from(others + 1).unwrap_or(u32::MAX), Relaxed);
    }

    async fn stop(&self, deadline: Instant) {
        let deadline = deadline.max(Instant::now() + LAST_WORDS);
        self.service.emit_now(Event::STOPPED, &self.options.node);
        let left = deadline.saturating_duration_since(Instant::now());
        self.hooks.settle(HOOKS.min(left / 2)).await;
        self.running.cancel();
        if timeout_at(deadline, self.tasks.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        let shards = std::mem::take(&mut *self.shards.lock());
        let joined =
            tokio::task::spawn_blocking(move || shards.into_iter().for_each(ShardThread::join));
        if timeout_at(deadline, joined).await.is_err() {
            tracing::warn!("a shard did not end in time");
        }
        self.phase.send_replace(Phase::Stopped);
        // Last, so that probes are answered to the end, and whoever asked to hear of the end hears of it.
        let admin = self.admin.lock().take();
        if let Some(admin) = admin {
            let ended = tokio::task::spawn_blocking(move || admin.shutdown());
            if timeout(LAST_WORDS, ended).await.is_err() {
                tracing::debug!("a request of the admin port did not end in time");
            }
        }
    }
}

/// How sessions are sent away when so much time is left for it.
fn plan(drain: &DrainConfig, left: Duration) -> DrainPlan {
    DrainPlan {
        window: drain.window.into(),
        rate_per_second: f64::from(drain.rate_per_second),
        jitter: drain.jitter,
        deadline: left,
    }
}
