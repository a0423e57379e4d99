//! `SourceCollector`: counts that other parts keep anyway, read at each scrape.
//!
//! The hub counts on each shard without locks and the cluster counts for itself; copying those numbers into a registry
//! would keep every count twice. A source must answer without waiting for anyone: a scrape is also how a stuck gateway
//! is noticed.

mod tickets;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::metrics as name;
use super::traces::TraceCounts;
use crate::cluster::ClusterStats;
use crate::group::GroupStats;
use crate::hub::StatsSnapshot;
use crate::rebalance::RebalanceStats;
use crate::service::{Hook, HookStats};
use crate::ticket::{ClerkStats, TicketStats};

/// What the process is doing, as gauges of 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// Whether `/readyz` says yes.
    pub ready: bool,
    /// Whether the node is leaving.
    pub draining: bool,
    /// Whether Redis answers; `None`: the gateway runs without.
    pub redis_up: Option<bool>,
    /// Whether etcd answers; `None`: nodes are not registered there.
    pub etcd_up: Option<bool>,
    /// Whether another process has this node's name.
    pub fenced: bool,
    /// Live nodes, this one included.
    pub nodes: u64,
}

/// Where the counts are. Answers at once, whatever state the gateway is in.
pub trait MetricsSource: Send + Sync + 'static {
    /// What the process is doing.
    fn state(&self) -> NodeState;
    /// Counts of connections and messages.
    fn hub(&self) -> StatsSnapshot;
    /// Counts between nodes; `None`: the gateway runs alone.
    fn cluster(&self) -> Option<&ClusterStats>;
    /// Groups with members here, and counts of what was done about groups; `None`: there are none.
    fn groups(&self) -> Option<(u64, &GroupStats)> {
        None
    }
    /// What was moved to spread the load; `None`: the gateway runs alone.
    fn rebalance(&self) -> Option<&RebalanceStats> {
        None
    }
    /// Counts of customer service, and of this node's work on its desk; `None`: there is none.
    fn tickets(&self) -> Option<(&TicketStats, &ClerkStats)> {
        None
    }
    /// How much waits, by queue.
    fn queues(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
    /// What became of spans; `None`: traces are off.
    fn traces(&self) -> Option<&TraceCounts> {
        None
    }
    /// The hooks out of process. Their names are the configuration's, at most sixteen.
    fn hooks(&self) -> Vec<Arc<Hook>> {
        Vec::new()
    }
}

/// Reads a [`MetricsSource`] at each scrape.
pub(super) struct SourceCollector(pub(super) Arc<dyn MetricsSource>);

impl fmt::Debug for SourceCollector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SourceCollector")
    }
}

impl Collector for SourceCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        writer.state(self.0.state())?;
        writer.hub(&self.0.hub())?;
        if let Some((local, stats)) = self.0.groups() {
            writer.groups(local, stats)?;
        }
        if let Some((stats, clerk)) = self.0.tickets() {
            writer.tickets(stats, clerk)?;
        }
        let queues = self.0.queues();
        let help = "What waits, by queue";
        writer.gauges(name::QUEUE, help, "queue", queues.into_iter())?;
        if let Some(traces) = self.0.traces() {
            writer.traces(traces)?;
        }
        writer.hooks(&self.0.hooks())?;
        if let Some(rebalance) = self.0.rebalance() {
            writer.rebalance(rebalance)?;
        }
        match self.0.cluster() {
            Some(cluster) => writer.cluster(cluster),
            None => Ok(()),
        }
    }
}

struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn state(&mut self, state: NodeState) -> fmt::Result {
        let NodeState {
            ready,
            draining,
            redis_up,
            etcd_up,
            fenced,
            nodes,
        } = state;
        self.gauge(
            name::READY,
            "Whether this node takes clients",
            u64::from(ready),
        )?;
        self.gauge(
            name::DRAINING,
            "Whether this node is leaving",
            u64::from(draining),
        )?;
        self.gauge(
            name::CLUSTER_NODES,
            "Live nodes as this one sees them",
            nodes,
        )?;
        let help = "Whether a newer process has this node's name";
        self.gauge(name::FENCED, help, u64::from(fenced))?;
        if let Some(up) = redis_up {
            self.gauge(name::REDIS_UP, "Whether Redis answers", u64::from(up))?;
        }
        match etcd_up {
            Some(up) => self.gauge(name::ETCD_UP, "Whether etcd answers", u64::from(up)),
            None => Ok(()),
        }
    }

    fn hub(&mut self, stats: &StatsSnapshot) -> fmt::Result {
        self.gauge(name::CONNECTIONS, "Live connections", stats.connections)?;
        self.gauge(
            name::USERS,
            "Users with a session on this node",
            stats.users,
        )?;
        let types = stats
            .by_user_type
            .iter()
            .map(|(kind, n)| (kind.as_str(), *n));
        self.gauges(
            name::SESSIONS_BY_USER_TYPE,
            "Live sessions",
            "user_type",
            types,
        )?;
        let transports = stats.by_transport.iter().copied();
        self.gauges(
            name::SESSIONS_BY_TRANSPORT,
            "Live sessions",
            "transport",
            transports,
        )?;
        self.traffic(stats)?;
        let dropped = [
            ("drop_oldest", stats.dropped_oldest),
            ("drop_newest", stats.dropped_newest),
        ];
        let dropped_help = "Messages dropped for clients that read too slowly";
        self.counters(name::DROPPED, dropped_help, "policy", dropped.into_iter())?;
        let repeated_help = "Messages sent again because nobody acknowledged them";
        self.counter(name::REPEATED, repeated_help, stats.repeated)?;
        let spilled_help = "Messages that slow clients read from their logs later";
        self.counter(name::SPILLED, spilled_help, stats.spilled)?;
        let errors = stats.errors.iter().copied();
        self.counters(name::ERRORS, "Errors told to clients", "code", errors)?;
        let disconnects = stats.disconnects.iter().copied();
        self.counters(
            name::DISCONNECTS,
            "Connections that ended",
            "reason",
            disconnects,
        )?;
        let refused = stats.refused.iter().copied();
        let help = "Requests and sockets of clients refused before they were sessions";
        self.counters(name::REFUSED, help, "reason", refused)
    }

    fn traffic(&mut self, stats: &StatsSnapshot) -> fmt::Result {
        self.counter(
            name::MESSAGES_RECEIVED,
            "Messages taken from clients",
            stats.messages_received,
        )?;
        self.counter(
            name::BYTES_RECEIVED,
            "Payload of messages taken from clients",
            stats.bytes_received,
        )?;
        self.counter(
            name::MESSAGES_SENT,
            "Messages written to clients",
            stats.messages_sent,
        )?;
        self.counter(
            name::BYTES_SENT,
            "Bytes written to clients, frame headers included",
            stats.bytes_sent,
        )?;
        self.counter(
            name::WRITES,
            "System calls that wrote to clients",
            stats.writes,
        )
    }

    fn cluster(&mut self, cluster: &ClusterStats) -> fmt::Result {
        self.link(cluster)?;
        self.streams(cluster)?;
        self.directory(cluster)?;
        let failures = cluster.failures_by_cause();
        let help = "Work for other nodes that failed";
        self.counters(name::CLUSTER_FAILURES, help, "cause", failures)?;
        let ignored = [
            ("malformed", cluster.malformed.load(Relaxed)),
            ("stale", cluster.stale.load(Relaxed)),
            ("queue_full", cluster.inbound_dropped.load(Relaxed)),
            ("nobody_here", cluster.nobody_here.load(Relaxed)),
        ];
        let help = "Envelopes from other nodes that came to nothing";
        self.counters(name::CLUSTER_IGNORED, help, "cause", ignored.into_iter())?;
        let returned = [
            ("resent", cluster.resent.load(Relaxed)),
            ("dropped", cluster.returns_dropped.load(Relaxed)),
        ];
        let help =
            "Messages that came back since their user had left the node, and what became of them";
        self.counters(
            name::CLUSTER_RETURNED,
            help,
            "outcome",
            returned.into_iter(),
        )
    }

    fn groups(&mut self, local: u64, stats: &GroupStats) -> fmt::Result {
        self.gauge(name::GROUPS_LOCAL, "Groups with members here", local)?;
        let changes = [
            ("created", &stats.created),
            ("disbanded", &stats.disbanded),
            ("joined", &stats.joined),
            ("left", &stats.left),
        ];
        let changes = changes.map(|(what, count)| (what, count.load(Relaxed)));
        let help = "Changes of groups that this node made";
        self.counters(name::GROUPS_CHANGES, help, "change", changes.into_iter())?;
        let help = "Commands and messages about groups that were not taken, by reason";
        self.counters(name::GROUPS_REFUSED, help, "reason", stats.refusals())?;
        let [done, failed] = &stats.reads;
        let reads = [("ok", done), ("failed", failed)];
        let reads = reads.map(|(outcome, count)| (outcome, count.load(Relaxed)));
        let help = "Times the groups of a user with a session here were read";
        self.counters(name::GROUPS_READS, help, "outcome", reads.into_iter())?;
        let help = "Joins and leaves that members were not told of, since there were too many";
        self.counter(name::GROUPS_UNTOLD, help, stats.untold.load(Relaxed))
    }

    fn rebalance(&mut self, stats: &RebalanceStats) -> fmt::Result {
        let help = "Connections beyond what rebalancing allows a node to have";
        self.gauge(name::REBALANCE_SURPLUS, help, stats.surplus.load(Relaxed))?;
        let help = "Sessions told to reconnect to spread the load";
        self.counter(name::REBALANCE_MOVES, help, stats.moves.load(Relaxed))?;
        let rounds = [
            ("done", stats.rounds.load(Relaxed)),
            ("cut_short", stats.cut_short.load(Relaxed)),
        ];
        let help = "Rounds in which sessions were told to reconnect to spread the load";
        self.counters(name::REBALANCE_ROUNDS, help, "outcome", rounds.into_iter())
    }

    fn traces(&mut self, traces: &TraceCounts) -> fmt::Result {
        let help = "Spans that the collector took";
        self.counter(name::SPANS_EXPORTED, help, traces.exported.load(Relaxed))?;
        let help = "Spans that were dropped";
        let dropped = traces.dropped().into_iter();
        self.counters(name::SPANS_DROPPED, help, "cause", dropped)
    }

    fn link(&mut self, cluster: &ClusterStats) -> fmt::Result {
        let counters = [
            (
                name::CLUSTER_RECONNECTS,
                "Times the link to Redis came back",
                &cluster.reconnects,
            ),
            (
                name::CLUSTER_FORWARDED,
                "Messages handed to other nodes",
                &cluster.forwarded,
            ),
            (
                name::CLUSTER_RECEIVED,
                "Messages taken from other nodes",
                &cluster.received,
            ),
            (
                name::CANARIES_LOST,
                "Canaries that did not come back",
                &cluster.canaries_lost,
            ),
        ];
        for (name, help, count) in counters {
            self.counter(name, help, count.load(Relaxed))?;
        }
        let round_trip = Duration::from_millis(cluster.canary_ms.load(Relaxed));
        let help = "Time the last canary took through the pub/sub link";
        let metric = ConstGauge::new(round_trip.as_secs_f64());
        metric.encode(self.describe(name::CANARY, help, MetricType::Gauge)?)?;
        let help = "Time since the last canary came around; since the start until the first does";
        let age = ConstGauge::new(cluster.canary_age().as_secs_f64());
        age.encode(self.describe(name::CANARY_AGE, help, MetricType::Gauge)?)
    }

    fn streams(&mut self, cluster: &ClusterStats) -> fmt::Result {
        let open = cluster.streams.load(Relaxed);
        self.gauge(name::CLUSTER_STREAMS, "Open streams to other nodes", open)?;
        let envelopes = [
            ("sent", cluster.streamed_out.load(Relaxed)),
            ("taken", cluster.streamed_in.load(Relaxed)),
            ("repeated", cluster.stream_repeats.load(Relaxed)),
            ("double", cluster.doubles.load(Relaxed)),
        ];
        let help = "Envelopes over streams between nodes";
        let envelopes = envelopes.into_iter();
        self.counters(name::STREAM_ENVELOPES, help, "outcome", envelopes)?;
        let lost = cluster.order_given_up.load(Relaxed);
        let help = "Times a stream waited in vain for what was said before by pub/sub";
        self.counter(name::STREAM_WAITS_LOST, help, lost)
    }

    fn directory(&mut self, cluster: &ClusterStats) -> fmt::Result {
        let queued = cluster.directory_queue.load(Relaxed);
        self.gauge(
            name::DIRECTORY_QUEUE,
            "Session changes waiting for the directory",
            queued,
        )?;
        let lookups = [
            ("hit", cluster.cache_hits.load(Relaxed)),
            ("miss", cluster.cache_misses.load(Relaxed)),
        ];
        let help = "Lookups in the directory, by whether the cache answered";
        self.counters(name::DIRECTORY_LOOKUPS, help, "cache", lookups.into_iter())?;
        let counters = [
            (
                name::DIRECTORY_RESYNCS,
                "Times the directory was written anew as a whole",
                &cluster.resyncs,
            ),
            (
                name::DIRECTORY_OVERFLOWS,
                "Session changes dropped since their queue was full",
                &cluster.overflows,
            ),
            (
                name::REAPED,
                "Dead incarnations whose leftovers this node removed",
                &cluster.reaped,
            ),
        ];
        for (name, help, count) in counters {
            self.counter(name, help, count.load(Relaxed))?;
        }
        Ok(())
    }

    fn hooks(&mut self, hooks: &[Arc<Hook>]) -> fmt::Result {
        if hooks.is_empty() {
            return Ok(());
        }
        let help = "Decisions asked of hooks, by what became of them";
        self.of_hooks(name::HOOK_DECISIONS, help, hooks, HookStats::decisions)?;
        let help = "Events for hooks, by what became of them";
        self.of_hooks(name::HOOK_EVENTS, help, hooks, HookStats::events)?;
        let queued = hooks
            .iter()
            .map(|hook| (hook.plan().name(), hook.stats().queued.load(Relaxed)));
        self.gauges(
            name::HOOK_QUEUE,
            "Events that wait for a hook",
            "hook",
            queued,
        )?;
        let down = hooks
            .iter()
            .map(|hook| (hook.plan().name(), u64::from(hook.is_down())));
        self.gauges(
            name::HOOK_DOWN,
            "Whether a hook is taken to be down",
            "hook",
            down,
        )
    }

    fn of_hooks<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        hooks: &[Arc<Hook>],
        outcomes: impl Fn(&HookStats) -> [(&'static str, u64); N],
    ) -> fmt::Result {
        let mut metric = self.describe(name, help, MetricType::Counter)?;
        for hook in hooks {
            for (outcome, count) in outcomes(hook.stats()) {
                let labels = [("hook", hook.plan().name()), ("outcome", outcome)];
                ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.describe(name, help, MetricType::Counter)?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstGauge::new(value).encode(self.describe(name, help, MetricType::Gauge)?)
    }

    fn counters<'s>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (&'s str, u64)>,
    ) -> fmt::Result {
        let mut metric = self.describe(name, help, MetricType::Counter)?;
        for (word, value) in values {
            let labels = [(label, word)];
            ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauges<'s>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (&'s str, u64)>,
    ) -> fmt::Result {
        let mut metric = self.describe(name, help, MetricType::Gauge)?;
        for (word, value) in values {
            let labels = [(label, word)];
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn describe<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }
}
