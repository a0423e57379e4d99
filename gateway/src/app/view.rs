//! What the admin port and the metrics are told. Never waits: it is how a stuck gateway is noticed.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::Gateway;
use crate::admin::{
    AdminSource, NodeStatus, Phase, Readiness, RebalanceStatus, RedisState, ReloadStatus,
};
use crate::cluster::{Cluster, ClusterStats, Link};
use crate::delivery::Delivery;
use crate::group::{GroupStats, Groups};
use crate::hub::{Hub, ShardHandle, StatsSnapshot};
use crate::rebalance::RebalanceStats;
use crate::security::FetchedKeys;
use crate::service::{Hook, Service};
use crate::telemetry::traces::TraceCounts;
use crate::telemetry::{Instruments, Metrics, MetricsSource, NodeState};
use crate::ticket::{ClerkStats, TicketStats, Tickets};

/// A shard whose timer has not turned for so long is stuck.
const STUCK: Duration = Duration::from_secs(10);

/// The gateway as probes and scrapes see it.
pub(super) struct View {
    hub: Arc<Hub>,
    cluster: Cluster,
    groups: Groups,
    tickets: Tickets,
    delivery: Delivery,
    service: Arc<Service>,
    rebalance: Arc<RebalanceStats>,
    phase: watch::Receiver<Phase>,
    drain_requested: Arc<Notify>,
    metrics: OnceLock<Metrics>,
    instruments: Instruments,
    reloaded: Arc<ArcSwap<ReloadStatus>>,
    fetched: Option<Arc<FetchedKeys>>,
    pulses: Mutex<Vec<(u64, Instant)>>,
}

impl View {
    pub(super) fn new(gateway: &Gateway) -> Self {
        let pulses = gateway
            .hub
            .shards()
            .iter()
            .map(|_| (0, Instant::now()))
            .collect();
        Self {
            hub: gateway.hub.clone(),
            cluster: gateway.shared.cluster.clone(),
            groups: gateway.shared.groups.clone(),
            tickets: gateway.shared.tickets.clone(),
            delivery: gateway.shared.delivery.clone(),
            service: gateway.service.clone(),
            rebalance: gateway.shared.rebalance.clone(),
            phase: gateway.phase(),
            drain_requested: gateway.drain_requested.clone(),
            metrics: OnceLock::new(),
            instruments: gateway.instruments.clone(),
            reloaded: gateway.reloaded.clone(),
            fetched: gateway.fetched.clone(),
            pulses: Mutex::new(pulses),
        }
    }

    /// The registry reads this view, so it comes second.
    pub(super) fn set_metrics(&self, metrics: Metrics) {
        // Called once.
        let _set = self.metrics.set(metrics);
    }

    fn etcd(&self) -> Option<RedisState> {
        let etcd = self.cluster.status().etcd?;
        Some(match etcd.down {
            None => RedisState::Up,
            Some(_) => RedisState::Down,
        })
    }

    fn judges_tokens(&self) -> bool {
        let fetched = self.fetched.as_ref();
        fetched.is_none_or(|keys| keys.current().is_some())
    }

    /// What is wrong, a line each.
    fn problems(&self) -> Vec<String> {
        let (cluster, phase) = (self.cluster.status(), *self.phase.borrow());
        let mut problems = Vec::new();
        match phase {
            Phase::Serving => {}
            Phase::Starting | Phase::Draining | Phase::Stopped => {
                problems.push(format!("phase: the node is {}", phase.as_str()));
            }
        }
        if let Some(epoch) = cluster.fenced {
            problems.push(format!(
                "fenced: a process with the newer epoch {epoch} has this node's name"
            ));
        }
        if let Link::Down { since, last_error } = &cluster.link {
            let seconds = since.elapsed().as_secs();
            problems.push(format!(
                "cluster: not part of it for {seconds} s: {last_error}"
            ));
        }
        if let Some((since, said)) = cluster.etcd.and_then(|etcd| etcd.down) {
            let seconds = since.elapsed().as_secs();
            problems.push(format!("etcd: down for {seconds} s: {said}"));
        }
        let fetched = self.fetched.as_ref();
        problems.extend(fetched.and_then(|keys| keys.trouble()));
        problems
    }

    fn redis(&self) -> RedisState {
        let cluster = self.cluster.status();
        // With nodes registered in etcd a node can be out of the cluster through no fault of Redis.
        let elsewhere = cluster.etcd.is_some_and(|etcd| etcd.down.is_some());
        match cluster.link {
            Link::Alone => RedisState::None,
            Link::Up => RedisState::Up,
            Link::Down { .. } if elsewhere && cluster.connected => RedisState::Up,
            Link::Down { .. } => RedisState::Down,
        }
    }
}

impl AdminSource for View {
    fn live(&self) -> bool {
        let now = Instant::now();
        let mut pulses = self.pulses.lock();
        let mut live = true;
        for (shard, (pulse, seen)) in self.hub.shards().iter().zip(pulses.iter_mut()) {
            let turned = shard.pulse().load(Relaxed);
            if turned != *pulse {
                (*pulse, *seen) = (turned, now);
            }
            live &= now.duration_since(*seen) < STUCK;
        }
        live || *self.phase.borrow() == Phase::Stopped
    }

    fn readiness(&self) -> Readiness {
        let (phase, redis) = (*self.phase.borrow(), self.redis());
        let cluster = self.cluster.status();
        let fenced = cluster.fenced.is_some();
        let linked = !matches!(cluster.link, Link::Down { .. });
        // Who could judge no token has no use for clients: the pods from before a rollout still know the last keys.
        let judges = self.judges_tokens();
        let ready = phase == Phase::Serving && linked && !fenced && judges;
        Readiness {
            ready,
            phase,
            redis,
            etcd: self.etcd(),
            fenced,
            problems: self.problems(),
        }
    }

    fn status(&self) -> NodeStatus {
        let (stats, cluster, phase) = (
            self.hub.stats(),
            self.cluster.status(),
            *self.phase.borrow(),
        );
        NodeStatus {
            node: cluster.node.as_str().to_owned(),
            epoch: cluster.epoch.0,
            phase,
            connections: stats.connections,
            users: stats.users,
            remaining: if phase == Phase::Draining {
                stats.connections
            } else {
                0
            },
            rebalance: RebalanceStatus {
                surplus: self.rebalance.surplus.load(Relaxed),
                remaining: self.rebalance.remaining.load(Relaxed),
                moved: self.rebalance.moves.load(Relaxed),
            },
            redis: self.redis(),
            etcd: self.etcd(),
            fenced: cluster.fenced.is_some(),
            problems: self.problems(),
            peers: cluster
                .peers
                .iter()
                .map(|peer| peer.node.as_str().to_owned())
                .collect(),
            reload: self.reloaded.load().as_ref().clone(),
        }
    }

    fn shows_metrics(&self) -> bool {
        self.instruments.collects()
    }

    fn metrics(&self) -> Result<String, fmt::Error> {
        self.metrics.get().map_or(Err(fmt::Error), Metrics::render)
    }

    fn request_drain(&self) {
        self.drain_requested.notify_one();
    }

    fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }
}

impl MetricsSource for View {
    fn state(&self) -> NodeState {
        let redis = self.redis();
        NodeState {
            ready: self.readiness().ready,
            draining: *self.phase.borrow() == Phase::Draining,
            redis_up: (redis != RedisState::None).then_some(redis == RedisState::Up),
            etcd_up: self.etcd().map(|etcd| etcd == RedisState::Up),
            fenced: self.cluster.status().fenced.is_some(),
            nodes: self.cluster.status().peers.len() as u64 + 1,
        }
    }

    fn hub(&self) -> StatsSnapshot {
        self.hub.stats()
    }

    fn hooks(&self) -> Vec<Arc<Hook>> {
        self.service.hooks()
    }

    fn cluster(&self) -> Option<&ClusterStats> {
        (self.redis() != RedisState::None).then(|| self.cluster.stats())
    }

    fn groups(&self) -> Option<(u64, &GroupStats)> {
        let enabled = self.groups.settings().rules.enabled;
        let local = self.hub.groups().index().len() as u64;
        enabled.then_some((local, self.groups.stats()))
    }

    fn tickets(&self) -> Option<(&TicketStats, &ClerkStats)> {
        let counts = (self.tickets.stats(), self.tickets.bell().stats());
        self.tickets.policy().enabled.then_some(counts)
    }

    fn queues(&self) -> Vec<(&'static str, u64)> {
        let shards = self.hub.shards().iter().map(ShardHandle::waiting).sum();
        let mut queues = vec![("shards", shards), ("log", self.delivery.waiting())];
        if self.redis() != RedisState::None {
            queues.extend(self.cluster.queues());
        }
        queues
    }

    fn rebalance(&self) -> Option<&RebalanceStats> {
        (self.redis() != RedisState::None).then_some(&*self.rebalance)
    }

    fn traces(&self) -> Option<&TraceCounts> {
        self.instruments.tracer().counts()
    }
}
