//! `Metrics`: the registry, and the name of every metric of the gateway.
//!
//! Two kinds: instruments that are written while the gateway works ([`Instruments`]), and counts that other parts keep
//! anyway and that are read at each scrape (`collector`). Units are in the names; counters get `_total` when they are
//! written. Labels come from closed sets, never from users.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use wsc_config::PerformanceConfig;

use super::api_call::ApiCall;
use super::collector::{MetricsSource, SourceCollector};
use super::sampled::Sampled;
use super::slow::SlowLog;
use super::stores::StoreTimes;
use super::traces::Tracer;
use super::words::{
    Fetch, FetchOutcome, Handshake, Limit, Limited, Listener, Reload, ReloadOutcome, TokenRefusal,
};

pub(super) const BUILD: &str = "wsc_build";
pub(super) const HANDSHAKE: &str = "wsc_handshake_duration_seconds";
pub(super) const API: &str = "wsc_api_request_duration_seconds";
pub(super) const FANOUT: &str = "wsc_broadcast_fanout_duration_seconds";
pub(super) const DELIVERY: &str = "wsc_delivery_duration_seconds";
pub(super) const ACK: &str = "wsc_ack_round_trip_seconds";
pub(super) const SLOW: &str = "wsc_slow_operations";
pub(super) const LIMITED: &str = "wsc_limits_met";
pub(super) const RELOADS: &str = "wsc_config_reloads";
pub(super) const RELOAD_OK: &str = "wsc_config_last_reload_successful";
pub(super) const KEY_FETCHES: &str = "wsc_token_key_fetches";
pub(super) const TOKENS_REFUSED: &str = "wsc_tokens_refused";
pub(super) const TLS_FAILED: &str = "wsc_tls_handshakes_failed";
pub(super) const REDIS_TIMES: &str = "wsc_redis_command_duration_seconds";
pub(super) const ETCD_TIMES: &str = "wsc_etcd_call_duration_seconds";
pub(super) const MEMORY: &str = "wsc_process_resident_memory_bytes";
pub(super) const DESCRIPTORS: &str = "wsc_process_open_fds";

pub(super) const READY: &str = "wsc_ready";
pub(super) const DRAINING: &str = "wsc_draining";
pub(super) const REDIS_UP: &str = "wsc_redis_up";
pub(super) const ETCD_UP: &str = "wsc_etcd_up";
pub(super) const FENCED: &str = "wsc_fenced";
pub(super) const QUEUE: &str = "wsc_queue_length";
pub(super) const SPANS_EXPORTED: &str = "wsc_trace_spans_exported";
pub(super) const SPANS_DROPPED: &str = "wsc_trace_spans_dropped";
pub(super) const CLUSTER_NODES: &str = "wsc_cluster_nodes";

pub(super) const CONNECTIONS: &str = "wsc_connections";
pub(super) const USERS: &str = "wsc_users";
pub(super) const SESSIONS_BY_USER_TYPE: &str = "wsc_sessions_by_user_type";
pub(super) const SESSIONS_BY_TRANSPORT: &str = "wsc_sessions_by_transport";
pub(super) const MESSAGES_RECEIVED: &str = "wsc_messages_received";
pub(super) const MESSAGES_SENT: &str = "wsc_messages_sent";
pub(super) const BYTES_RECEIVED: &str = "wsc_received_bytes";
pub(super) const BYTES_SENT: &str = "wsc_sent_bytes";
pub(super) const WRITES: &str = "wsc_socket_writes";
pub(super) const DROPPED: &str = "wsc_messages_dropped";
pub(super) const REPEATED: &str = "wsc_messages_repeated";
pub(super) const SPILLED: &str = "wsc_messages_spilled";
pub(super) const ERRORS: &str = "wsc_errors";
pub(super) const DISCONNECTS: &str = "wsc_disconnects";
pub(super) const REFUSED: &str = "wsc_refused";

pub(super) const GROUPS_LOCAL: &str = "wsc_groups_local";
pub(super) const GROUPS_CHANGES: &str = "wsc_groups_changes";
pub(super) const GROUPS_REFUSED: &str = "wsc_groups_refused";
pub(super) const GROUPS_READS: &str = "wsc_groups_reads";
pub(super) const GROUPS_UNTOLD: &str = "wsc_groups_events_dropped";

pub(super) const REBALANCE_SURPLUS: &str = "wsc_rebalance_surplus_connections";
pub(super) const REBALANCE_MOVES: &str = "wsc_rebalance_moves";
pub(super) const REBALANCE_ROUNDS: &str = "wsc_rebalance_rounds";

pub(super) const TICKETS_OPEN: &str = "wsc_tickets_open";
pub(super) const TICKETS_WAITING: &str = "wsc_tickets_waiting";
pub(super) const TICKETS_AGENTS: &str = "wsc_tickets_agents_online";
pub(super) const TICKETS_STEPS: &str = "wsc_tickets_steps";
pub(super) const TICKETS_CLOSED: &str = "wsc_tickets_closed";
pub(super) const TICKETS_PASSED_ON: &str = "wsc_tickets_passed_on";
pub(super) const TICKETS_WAITED: &str = "wsc_tickets_wait_duration_seconds";
pub(super) const TICKETS_FIRED: &str = "wsc_tickets_timers_fired";
pub(super) const TICKETS_COMMITS: &str = "wsc_tickets_commits";
pub(super) const TICKETS_DROPPED: &str = "wsc_tickets_news_dropped";

pub(super) const CLUSTER_RECONNECTS: &str = "wsc_cluster_reconnects";
pub(super) const CLUSTER_FORWARDED: &str = "wsc_cluster_messages_forwarded";
pub(super) const CLUSTER_RECEIVED: &str = "wsc_cluster_messages_received";
pub(super) const CLUSTER_STREAMS: &str = "wsc_cluster_streams";
pub(super) const STREAM_ENVELOPES: &str = "wsc_cluster_stream_envelopes";
pub(super) const STREAM_WAITS_LOST: &str = "wsc_cluster_stream_waits_lost";
pub(super) const CLUSTER_FAILURES: &str = "wsc_cluster_failures";
pub(super) const CLUSTER_IGNORED: &str = "wsc_cluster_envelopes_ignored";
pub(super) const CLUSTER_RETURNED: &str = "wsc_cluster_messages_returned";
pub(super) const CANARIES_LOST: &str = "wsc_cluster_canaries_lost";
pub(super) const REAPED: &str = "wsc_cluster_incarnations_reaped";
pub(super) const DIRECTORY_QUEUE: &str = "wsc_directory_queue_length";
pub(super) const DIRECTORY_LOOKUPS: &str = "wsc_directory_lookups";
pub(super) const DIRECTORY_RESYNCS: &str = "wsc_directory_resyncs";
pub(super) const DIRECTORY_OVERFLOWS: &str = "wsc_directory_overflows";
pub(super) const HOOK_DECISIONS: &str = "wsc_hook_decisions";
pub(super) const HOOK_EVENTS: &str = "wsc_hook_events";
pub(super) const HOOK_QUEUE: &str = "wsc_hook_queue_length";
pub(super) const HOOK_DOWN: &str = "wsc_hook_down";
pub(super) const CANARY: &str = "wsc_cluster_canary_round_trip_seconds";
pub(super) const CANARY_AGE: &str = "wsc_cluster_canary_age_seconds";

/// What the build and the configuration say of this process; the labels of `wsc_build_info`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct BuildInfo {
    /// The version of this program.
    pub version: String,
    /// `gateway.name` of the configuration.
    pub gateway: String,
    /// `gateway.version` of the configuration.
    pub gateway_version: String,
    /// `gateway.environment` of the configuration.
    pub environment: String,
}

/// Instruments that are written while the gateway works. Cheap to clone; clones share their values.
#[derive(Clone, Debug)]
pub struct Instruments {
    handshake: Histogram,
    api: Family<ApiCall, Histogram, fn() -> Histogram>,
    fanout: Histogram,
    delivery: Histogram,
    ack: Histogram,
    reloads: Family<Reload, Counter>,
    reload_ok: Gauge,
    fetches: Family<Fetch, Counter>,
    tokens_refused: Family<TokenRefusal, Counter>,
    tls_failed: Family<Handshake, Counter>,
    limited: Family<Limited, Counter>,
    collects: Arc<AtomicBool>,
    stores: StoreTimes,
    slow: Arc<SlowLog>,
    sampled: Arc<Sampled>,
    tracer: Tracer,
}

impl Default for Instruments {
    fn default() -> Self {
        let collects = Arc::new(AtomicBool::new(true));
        Self {
            stores: StoreTimes::while_collecting(collects.clone()),
            handshake: seconds(),
            api: Family::new_with_constructor(seconds),
            fanout: seconds(),
            delivery: seconds(),
            ack: seconds(),
            reloads: Family::default(),
            reload_ok: Gauge::default(),
            fetches: Family::default(),
            tokens_refused: Family::default(),
            tls_failed: Family::default(),
            limited: Family::default(),
            collects,
            slow: Arc::default(),
            sampled: Arc::default(),
            tracer: Tracer::default(),
        }
    }
}

impl Instruments {
    /// One handshake, from the accepted socket to the finished upgrade.
    pub fn handshake(&self, took: Duration) {
        self.observe(&self.handshake, took);
        self.slow.look("handshake", None, took);
    }

    /// One broadcast, until every session of a shard had it in its outbox.
    pub fn fanout(&self, took: Duration) {
        self.observe(&self.fanout, took);
        self.slow.look("broadcast", None, took);
    }

    /// One message, from when this node had it until the sockets of a shard's sessions had it.
    pub fn delivered(&self, took: Duration) {
        self.observe(&self.delivery, took);
        self.slow.look("delivery", None, took);
    }

    /// One acknowledgement, from the first sending of the message to a session until that session's answer.
    pub fn acknowledged(&self, took: Duration) {
        self.observe(&self.ack, took);
    }

    /// How long Redis and etcd take.
    pub const fn stores(&self) -> &StoreTimes {
        &self.stores
    }

    /// What traces.
    pub const fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// With this in place of a tracer that is off.
    #[must_use]
    pub fn with_tracer(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    /// One message of a session that could not be dealt with at once.
    pub fn message(&self, session: Option<&dyn fmt::Display>, took: Duration) {
        self.slow.look("message", session, took);
    }

    /// One wait for a client's socket to take more.
    pub fn write(&self, session: Option<&dyn fmt::Display>, took: Duration) {
        self.slow.look("write", session, took);
    }

    /// One change of the configuration.
    pub fn reloaded(&self, outcome: ReloadOutcome) {
        self.reloads.get_or_create(&Reload { outcome }).inc();
        self.reload_ok
            .set(i64::from(outcome == ReloadOutcome::Applied));
    }

    /// One fetch of the keys of tokens.
    pub fn keys_fetched(&self, outcome: FetchOutcome) {
        self.fetches.get_or_create(&Fetch { outcome }).inc();
    }

    /// One token, or what should have been one, that was refused; `reason` is one of their errors' labels.
    pub fn token_refused(&self, reason: &'static str) {
        let refusal = TokenRefusal { reason };
        self.tokens_refused.get_or_create(&refusal).inc();
    }

    /// What counts this listener's handshakes of TLS that came to nothing.
    pub fn tls_failures(&self, listener: Listener) -> Counter {
        let handshake = Handshake { listener };
        self.tls_failed.get_or_create(&handshake).clone()
    }

    /// A limit was met: something was refused or closed for it.
    pub fn limited(&self, limit: Limit) {
        self.limited.get_or_create(&Limited { limit }).inc();
    }

    /// Goes by this configuration from now on.
    pub fn apply(&self, config: &PerformanceConfig) {
        self.collects.store(config.enable_metrics, Relaxed);
        self.slow.apply(config);
        self.sampled.apply(config.metrics_interval.into());
    }

    /// Whether anything is collected and shown.
    pub fn collects(&self) -> bool {
        self.collects.load(Relaxed)
    }

    fn observe(&self, histogram: &Histogram, took: Duration) {
        if self.collects() {
            histogram.observe(took.as_secs_f64());
        }
    }

    /// One call of the API.
    pub fn api(&self, call: &ApiCall, took: Duration) {
        if self.collects() {
            self.api.get_or_create(call).observe(took.as_secs_f64());
        }
        self.slow.look(call.method.as_str(), None, took);
    }
}

/// From 100 µs to 13 s, each bucket three times the one before.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 3.0, 12))
}

/// Everything that `/metrics` shows.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    sampled: Arc<Sampled>,
}

impl Metrics {
    /// Shows these instruments and, at each scrape, what the source says.
    pub fn new(
        build: BuildInfo,
        instruments: &Instruments,
        source: Arc<dyn MetricsSource>,
    ) -> Self {
        let mut registry = Registry::default();
        registry.register(BUILD, "What runs here", Info::new(build));
        let handshake = "Time from the accepted socket to the finished upgrade";
        registry.register(HANDSHAKE, handshake, instruments.handshake.clone());
        let api = "Time from a complete request to its answer, by API, call and outcome";
        registry.register(API, api, instruments.api.clone());
        let fanout = "Time to put a broadcast into the outboxes of a shard's sessions";
        registry.register(FANOUT, fanout, instruments.fanout.clone());
        let delivery = "Time from a message's acceptance or arrival on this node to the sockets of a shard's sessions";
        registry.register(DELIVERY, delivery, instruments.delivery.clone());
        let ack = "Time from the first sending of a message to a session to its acknowledgement";
        registry.register(ACK, ack, instruments.ack.clone());
        let slow = "Operations that took longer than wsc.performance.slowLogThreshold";
        registry.register(SLOW, slow, instruments.slow.counter.clone());
        let reloads = "Changes of the configuration while running";
        registry.register(RELOADS, reloads, instruments.reloads.clone());
        instruments.reload_ok.set(1);
        let reload_ok = "Whether the gateway goes by what its files say now";
        registry.register(RELOAD_OK, reload_ok, instruments.reload_ok.clone());
        let fetches = "Fetches of the keys of tokens (wsc.security.jwt.jwks.url)";
        registry.register(KEY_FETCHES, fetches, instruments.fetches.clone());
        let refused = "Tokens of clients that were refused, by reason";
        registry.register(TOKENS_REFUSED, refused, instruments.tokens_refused.clone());
        let tls = "Handshakes of TLS that came to nothing, by listener";
        registry.register(TLS_FAILED, tls, instruments.tls_failed.clone());
        let limited = "Times something was refused or closed for a limit";
        registry.register(LIMITED, limited, instruments.limited.clone());
        let redis = "Time from a command, pipeline or script to Redis' answer, by what asks";
        registry.register(REDIS_TIMES, redis, instruments.stores.redis.clone());
        let etcd = "Time from a call to etcd's answer";
        registry.register(ETCD_TIMES, etcd, instruments.stores.etcd.clone());
        let sampled = instruments.sampled.clone();
        let memory = "Memory of the process, read once in wsc.performance.metricsInterval";
        registry.register(MEMORY, memory, sampled.memory.clone());
        let descriptors = "Open files of the process, read once in wsc.performance.metricsInterval";
        registry.register(DESCRIPTORS, descriptors, sampled.descriptors.clone());
        registry.register_collector(Box::new(SourceCollector(source)));
        Self { registry, sampled }
    }

    /// The media type of [`Metrics::render`].
    pub const CONTENT_TYPE: &'static str =
        "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// All metrics as `OpenMetrics` text.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(16 * 1024);
        self.sampled.refresh(Instant::now());
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    /// Every name stands here as a constant, and on the page for whoever runs gateways; nothing else does there.
    #[test]
    fn every_metric_is_on_the_page_of_operations_and_none_that_is_not() {
        let (code, page) = (
            include_str!("metrics.rs"),
            include_str!("../../../docs/operations.md"),
        );
        let names = |text: &'static str, mark: char| -> Vec<&'static str> {
            let quoted = text.split(mark).skip(1).step_by(2);
            quoted.filter(|word| word.starts_with("wsc_")).collect()
        };
        let constants: Vec<&str> = code
            .lines()
            .filter(|line| line.starts_with("pub(super) const"))
            .flat_map(|line| names(line, '"'))
            .collect();
        assert!(constants.len() > 40, "{constants:?}");
        let told: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("| `wsc_"))
            .flat_map(|line| names(line, '`'))
            .collect();
        let base = |name: &str| {
            let name = name.strip_suffix("_total").unwrap_or(name);
            name.strip_suffix("_info").unwrap_or(name).to_owned()
        };
        for name in &constants {
            assert!(
                told.iter().any(|told| base(told) == *name),
                "{name} is not in docs/operations.md"
            );
        }
        for told in told {
            assert!(
                constants.contains(&base(told).as_str()),
                "{told} is not a metric"
            );
        }
    }
}
