//! `/metrics` as a scraper reads it: every line parses, every name is announced, no label comes from a user.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use wsc_gateway::cluster::ClusterStats;
use wsc_gateway::hub::{ShardStats, StatsSnapshot};
use wsc_gateway::protocol::UserId;
use wsc_gateway::telemetry::traces::TraceCounts;
use wsc_gateway::telemetry::{
    ApiCall, ApiKind, ApiMethod, ApiOutcome, BuildInfo, Instruments, Metrics, MetricsSource,
    NodeState,
};
use wsc_gateway::ticket::{
    ClerkStats, ClosedBecause, DeskCounts, PassedBecause, Step, TicketStats,
};

struct Source {
    cluster: Option<ClusterStats>,
    traces: TraceCounts,
    tickets: Option<(TicketStats, ClerkStats)>,
}

impl MetricsSource for Source {
    fn state(&self) -> NodeState {
        NodeState {
            ready: true,
            draining: false,
            redis_up: self.cluster.as_ref().map(|_| true),
            etcd_up: self.cluster.as_ref().map(|_| false),
            fenced: false,
            nodes: 3,
        }
    }

    fn hub(&self) -> StatsSnapshot {
        let mut stats = StatsSnapshot {
            connections: 12,
            users: 10,
            messages_received: 7,
            ..StatsSnapshot::default()
        };
        stats.add(&ShardStats::default());
        stats.dropped_newest = 4;
        stats.by_user_type = vec![("customer".to_owned(), 9), ("agent".to_owned(), 1)];
        stats.by_transport = vec![("ws", 10)];
        stats.refused = vec![("origin", 2)];
        stats
    }

    fn cluster(&self) -> Option<&ClusterStats> {
        self.cluster.as_ref()
    }

    fn queues(&self) -> Vec<(&'static str, u64)> {
        vec![("shards", 8), ("log", 9)]
    }

    fn tickets(&self) -> Option<(&TicketStats, &ClerkStats)> {
        self.tickets.as_ref().map(|(stats, clerk)| (stats, clerk))
    }

    fn traces(&self) -> Option<&TraceCounts> {
        self.cluster.as_ref().map(|_| &self.traces)
    }
}

fn render(cluster: Option<ClusterStats>) -> String {
    let instruments = Instruments::default();
    instruments.handshake(Duration::from_millis(3));
    let call = ApiCall {
        api: ApiKind::Grpc,
        method: ApiMethod::Send,
        outcome: ApiOutcome::Busy,
    };
    instruments.api(&call, Duration::from_millis(20));
    let build = BuildInfo {
        version: "0.1.0".to_owned(),
        gateway: "chat".to_owned(),
        gateway_version: "7.2".to_owned(),
        environment: "a \"quoted\"\\ word".to_owned(),
    };
    instruments.delivered(Duration::from_millis(2));
    instruments.acknowledged(Duration::from_millis(2));
    let traces = TraceCounts::default();
    traces.queue_full.store(11, Relaxed);
    let source = Source {
        tickets: cluster.is_some().then(tickets),
        cluster,
        traces,
    };
    Metrics::new(build, &instruments, Arc::new(source))
        .render()
        .unwrap()
}

/// Tickets of a node that has seen some.
fn tickets() -> (TicketStats, ClerkStats) {
    let (stats, clerk) = (TicketStats::default(), ClerkStats::default());
    let agent = UserId::new("ann").unwrap();
    for waited in [2000, 70_000] {
        stats.count(&Step::Offered {
            agent: agent.clone(),
            until: 0,
            waited,
        });
    }
    stats.count(&Step::PassedOn {
        agent,
        because: PassedBecause::NoReaction,
    });
    stats.count(&Step::Closed {
        by: None,
        because: ClosedBecause::QueueTimeout,
    });
    stats.note(DeskCounts {
        open: 5,
        waiting: 3,
        agents: 2,
    });
    stats.fired.store(7, Relaxed);
    clerk.conflicts.store(8, Relaxed);
    clerk.untold.store(9, Relaxed);
    (stats, clerk)
}

fn clustered() -> String {
    let stats = ClusterStats::default();
    stats.reconnects.store(1, Relaxed);
    stats.forwarded.store(2, Relaxed);
    stats.received.store(3, Relaxed);
    stats.failures[0].store(4, Relaxed);
    stats.canary_ms.store(5, Relaxed);
    stats.inbound_dropped.store(6, Relaxed);
    stats.cache_misses.store(7, Relaxed);
    render(Some(stats))
}

/// A sample's name, labels and value.
type Expected<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);

/// One sample: its name, its labels, its value.
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

fn parse(line: &str) -> Sample {
    let (head, value) = line
        .rsplit_once(' ')
        .unwrap_or_else(|| panic!("no value: {line}"));
    let (name, labels) = match head.split_once('{') {
        Some((name, labels)) => (
            name,
            labels
                .strip_suffix('}')
                .unwrap_or_else(|| panic!("open labels: {line}")),
        ),
        None => (head, ""),
    };
    let mut pairs = BTreeMap::new();
    let mut rest = labels;
    while !rest.is_empty() {
        let (label, tail) = rest
            .split_once("=\"")
            .unwrap_or_else(|| panic!("bad label: {line}"));
        let mut end = 0;
        while tail.as_bytes()[end] != b'"' {
            end += if tail.as_bytes()[end] == b'\\' { 2 } else { 1 };
        }
        pairs.insert(label.to_owned(), tail[..end].to_owned());
        rest = tail[end + 1..].trim_start_matches(',');
    }
    Sample {
        name: name.to_owned(),
        labels: pairs,
        value: value.parse().unwrap(),
    }
}

fn samples(text: &str) -> Vec<Sample> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(parse)
        .collect()
}

fn value(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let wanted: BTreeMap<_, _> = labels
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let found = samples(text)
        .into_iter()
        .find(|sample| sample.name == name && sample.labels == wanted);
    found.map(|sample| sample.value)
}

#[test]
fn every_sample_belongs_to_an_announced_metric_and_the_text_has_an_end() {
    let text = clustered();
    assert!(text.ends_with("# EOF\n"));
    let mut kinds = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert!(
            kinds.insert(name, kind).is_none(),
            "{name} is announced twice"
        );
        assert!(
            text.contains(&format!("# HELP {name} ")),
            "{name} says nothing of itself"
        );
    }
    for sample in samples(&text) {
        let suffixes = ["_total", "_bucket", "_sum", "_count", "_info", ""];
        let owner = suffixes
            .iter()
            .find_map(|suffix| kinds.get_key_value(sample.name.strip_suffix(suffix)?));
        let (name, kind) = owner.unwrap_or_else(|| panic!("{} is not announced", sample.name));
        assert!(name.starts_with("wsc_"), "{name}");
        assert_eq!(
            *kind == "counter",
            sample.name.ends_with("_total"),
            "{}",
            sample.name
        );
    }
}

#[test]
fn the_counts_of_the_source_are_shown() {
    let text = clustered();
    let table: &[Expected] = &[
        ("wsc_connections", &[], 12.0),
        ("wsc_messages_received_total", &[], 7.0),
        (
            "wsc_messages_dropped_total",
            &[("policy", "drop_newest")],
            4.0,
        ),
        ("wsc_refused_total", &[("reason", "origin")], 2.0),
        ("wsc_errors_total", &[("code", "offline")], 0.0),
        ("wsc_disconnects_total", &[("reason", "slow_consumer")], 0.0),
        (
            "wsc_sessions_by_user_type",
            &[("user_type", "customer")],
            9.0,
        ),
        ("wsc_sessions_by_transport", &[("transport", "ws")], 10.0),
        ("wsc_ready", &[], 1.0),
        ("wsc_draining", &[], 0.0),
        ("wsc_redis_up", &[], 1.0),
        ("wsc_cluster_nodes", &[], 3.0),
        ("wsc_cluster_reconnects_total", &[], 1.0),
        ("wsc_cluster_messages_forwarded_total", &[], 2.0),
        ("wsc_cluster_messages_received_total", &[], 3.0),
        (
            "wsc_cluster_failures_total",
            &[("cause", "disconnected")],
            4.0,
        ),
        (
            "wsc_cluster_envelopes_ignored_total",
            &[("cause", "queue_full")],
            6.0,
        ),
        ("wsc_directory_lookups_total", &[("cache", "miss")], 7.0),
        ("wsc_cluster_canary_round_trip_seconds", &[], 0.005),
        ("wsc_handshake_duration_seconds_count", &[], 1.0),
        ("wsc_delivery_duration_seconds_count", &[], 1.0),
        ("wsc_ack_round_trip_seconds_count", &[], 1.0),
        ("wsc_etcd_up", &[], 0.0),
        ("wsc_fenced", &[], 0.0),
        ("wsc_queue_length", &[("queue", "shards")], 8.0),
        ("wsc_queue_length", &[("queue", "log")], 9.0),
        (
            "wsc_trace_spans_dropped_total",
            &[("cause", "queue_full")],
            11.0,
        ),
        ("wsc_trace_spans_exported_total", &[], 0.0),
        ("wsc_tickets_open", &[], 5.0),
        ("wsc_tickets_waiting", &[], 3.0),
        ("wsc_tickets_agents_online", &[], 2.0),
        ("wsc_tickets_steps_total", &[("step", "assigned")], 2.0),
        ("wsc_tickets_steps_total", &[("step", "opened")], 0.0),
        (
            "wsc_tickets_closed_total",
            &[("reason", "queue_timeout")],
            1.0,
        ),
        (
            "wsc_tickets_passed_on_total",
            &[("reason", "no_reaction")],
            1.0,
        ),
        ("wsc_tickets_wait_duration_seconds_count", &[], 2.0),
        ("wsc_tickets_wait_duration_seconds_sum", &[], 72.0),
        (
            "wsc_tickets_wait_duration_seconds_bucket",
            &[("le", "5.0")],
            1.0,
        ),
        (
            "wsc_tickets_wait_duration_seconds_bucket",
            &[("le", "+Inf")],
            2.0,
        ),
        ("wsc_tickets_timers_fired_total", &[], 7.0),
        (
            "wsc_tickets_commits_total",
            &[("outcome", "forestalled")],
            8.0,
        ),
        ("wsc_tickets_news_dropped_total", &[("what", "event")], 9.0),
    ];
    for (name, labels, expected) in table {
        assert_eq!(
            value(&text, name, labels),
            Some(*expected),
            "{name}{labels:?}\n{text}"
        );
    }
    let call = [("api", "grpc"), ("method", "send"), ("outcome", "busy")];
    assert_eq!(
        value(&text, "wsc_api_request_duration_seconds_count", &call),
        Some(1.0)
    );
}

#[test]
fn a_gateway_without_redis_says_nothing_of_it() {
    let text = render(None);
    assert_eq!(value(&text, "wsc_redis_up", &[]), None);
    assert!(!text.contains("wsc_cluster_reconnects"));
    assert!(!text.contains("wsc_tickets"), "{text}");
    assert!(!text.contains("wsc_etcd_up") && !text.contains("wsc_trace_spans"));
    assert_eq!(value(&text, "wsc_cluster_nodes", &[]), Some(3.0));
}

#[test]
fn labels_are_a_closed_set() {
    let known = [
        "api",
        "method",
        "outcome",
        "le",
        "policy",
        "code",
        "reason",
        "cause",
        "cache",
        "status",
        "user_type",
        "queue",
        "step",
        "what",
        "transport",
        "version",
        "gateway",
        "gateway_version",
        "environment",
    ];
    let seen: BTreeSet<String> = samples(&clustered())
        .into_iter()
        .flat_map(|s| s.labels.into_keys())
        .collect();
    for label in seen {
        assert!(known.contains(&label.as_str()), "{label}");
    }
}
