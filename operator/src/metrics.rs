//! Every metric of the operator, with its unit in its name; labels come from closed sets.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What was done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// It was made.
    Created,
    /// It was changed.
    Updated,
    /// It was deleted.
    Deleted,
}

impl Verb {
    /// The word in events and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }
}

impl prometheus_client::encoding::EncodeLabelValue for Verb {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Write {
    kind: &'static str,
    verb: Verb,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfResource {
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

/// The operator's metrics.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Outcome, Counter>,
    reconcile_seconds: Histogram,
    writes: Family<Write, Counter>,
    status_writes: Counter,
    watch_failures: Family<OfKind, Counter>,
    missing_rights: Family<OfResource, Gauge>,
    /// Those that are in it.
    missing: Mutex<BTreeSet<String>>,
    scrape_failures: Counter,
    spans_dropped: Counter,
    api_requests: Family<Outcome, Counter>,
    api_turned_away: Counter,
    reviews: Family<Outcome, Counter>,
    injector_turned_away: Counter,
    leader: Gauge<i64, AtomicI64>,
    last_reconcile: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("wsc_operator");
        let metrics = Self {
            reconciles: Family::default(),
            reconcile_seconds: Histogram::new(exponential_buckets(0.001, 4.0, 8)),
            writes: Family::default(),
            status_writes: Counter::default(),
            watch_failures: Family::default(),
            missing_rights: Family::default(),
            missing: Mutex::default(),
            scrape_failures: Counter::default(),
            spans_dropped: Counter::default(),
            api_requests: Family::default(),
            api_turned_away: Counter::default(),
            reviews: Family::default(),
            injector_turned_away: Counter::default(),
            leader: Gauge::default(),
            last_reconcile: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "reconciles",
            "Reconciles by outcome: settled, waiting, or the error's kind",
            metrics.reconciles.clone(),
        );
        registry.register(
            "reconcile_duration_seconds",
            "Time a reconcile took",
            metrics.reconcile_seconds.clone(),
        );
        registry.register(
            "writes",
            "Objects written, by kind and verb",
            metrics.writes.clone(),
        );
        registry.register(
            "status_writes",
            "Statuses written",
            metrics.status_writes.clone(),
        );
        registry.register(
            "watch_failures",
            "Watches that broke and were tried again, by kind",
            metrics.watch_failures.clone(),
        );
        registry.register(
            "missing_rights",
            "1 for each resource that the operator may not list and watch, whether or not it ever could",
            metrics.missing_rights.clone(),
        );
        registry.register(
            "trace_spans_dropped",
            "Spans that no collector took",
            metrics.spans_dropped.clone(),
        );
        registry.register(
            "scrape_failures",
            "Gateway pods that did not say how many connections they have",
            metrics.scrape_failures.clone(),
        );
        registry.register(
            "metrics_api_requests",
            "Requests to the metrics API by outcome: served, or why not",
            metrics.api_requests.clone(),
        );
        registry.register(
            "metrics_api_connections_turned_away",
            "Connections to the metrics API that were closed because there were too many",
            metrics.api_turned_away.clone(),
        );
        registry.register(
            "pod_reviews",
            "Pods that asked for a gateway, by outcome: injected, refused, failed where that was not known; and turned_away, reviews that were too many, too long or too slow to be read",
            metrics.reviews.clone(),
        );
        registry.register(
            "injector_connections_turned_away",
            "Connections to the webhook that were closed because there were too many",
            metrics.injector_turned_away.clone(),
        );
        registry.register(
            "leader",
            "1 while this replica holds the lease or needs none",
            metrics.leader.clone(),
        );
        registry.register(
            "last_reconcile_timestamp_seconds",
            "Unix time at which a reconcile ended last",
            metrics.last_reconcile.clone(),
        );
        Self {
            registry,
            ..metrics
        }
    }
}

impl Metrics {
    /// So many spans were dropped.
    pub fn spans_dropped(&self, count: u64) {
        self.spans_dropped.inc_by(count);
    }

    /// A reconcile ended.
    pub fn reconciled(&self, outcome: &'static str, took: Duration) {
        self.reconciles.get_or_create(&Outcome { outcome }).inc();
        self.reconcile_seconds.observe(took.as_secs_f64());
        let now = k8s_openapi::jiff::Timestamp::now();
        self.last_reconcile.set(now.as_duration().as_secs_f64());
    }

    /// An object was written.
    pub fn wrote(&self, kind: &'static str, verb: Verb) {
        self.writes.get_or_create(&Write { kind, verb }).inc();
    }

    /// A status was written.
    pub fn wrote_status(&self) {
        self.status_writes.inc();
    }

    /// A watch broke.
    pub fn watch_failed(&self, kind: &'static str) {
        self.watch_failures.get_or_create(&OfKind { kind }).inc();
    }

    /// These are what the operator may not list and watch, and nothing else is. What stays missing stays in view meanwhile:
    /// an alert that saw it go would begin to wait anew.
    pub fn lacks(&self, resources: impl IntoIterator<Item = String>) {
        let resources: BTreeSet<String> = resources.into_iter().collect();
        let mut missing = self.missing.lock();
        for resource in missing.difference(&resources).cloned() {
            self.missing_rights.remove(&OfResource { resource });
        }
        for resource in resources.iter().cloned() {
            let of = OfResource { resource };
            self.missing_rights.get_or_create(&of).set(1);
        }
        *missing = resources;
    }

    /// A pod did not answer.
    pub fn scrape_failed(&self) {
        self.scrape_failures.inc();
    }

    /// A request to the metrics API was answered.
    pub fn metrics_api_answered(&self, outcome: &'static str) {
        self.api_requests.get_or_create(&Outcome { outcome }).inc();
    }

    /// A connection to the metrics API was closed because there were too many.
    pub fn metrics_api_turned_away(&self) {
        self.api_turned_away.inc();
    }

    /// A pod asked for a gateway.
    pub fn reviewed(&self, outcome: Reviewed) {
        let outcome = match outcome {
            Reviewed::Injected => "injected",
            Reviewed::Refused => "refused",
            Reviewed::Failed => "failed",
            Reviewed::TurnedAway => "turned_away",
        };
        self.reviews.get_or_create(&Outcome { outcome }).inc();
    }

    /// A connection to the webhook was closed because there were too many.
    pub fn injector_turned_away(&self) {
        self.injector_turned_away.inc();
    }

    /// Whether this replica leads.
    pub fn leads(&self, leads: Leads) {
        self.leader.set(match leads {
            Leads::Yes => 1,
            Leads::No => 0,
        });
    }

    /// The exposition.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// What became of a pod that asked for a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reviewed {
    /// It got it, or had it.
    Injected,
    /// It cannot have it.
    Refused,
    /// Whether it can is not known.
    Failed,
    /// It was not read: too many at a time, too long, or too slow.
    TurnedAway,
}

/// Whether a replica leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leads {
    /// It does.
    Yes,
    /// It does not.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_the_operators_prefix_and_closed_labels() {
        let metrics = Metrics::default();
        metrics.reconciled("settled", Duration::from_millis(3));
        metrics.wrote("Deployment", Verb::Created);
        let text = metrics.text().unwrap();
        assert!(text.contains("wsc_operator_reconciles_total{outcome=\"settled\"} 1"));
        assert!(text.contains("wsc_operator_writes_total{kind=\"Deployment\",verb=\"created\"} 1"));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.starts_with("wsc_operator_"), "{line}");
        }
    }

    #[test]
    fn a_right_that_stays_missing_is_seen_by_each_of_two_who_look_at_once() {
        let metrics = Metrics::default();
        let lacked = || ["pods".to_owned(), "services".to_owned()];
        let series = "wsc_operator_missing_rights{resource=\"pods\"} 1";
        metrics.lacks(lacked());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        metrics.lacks(lacked());
                        let text = metrics.text().unwrap();
                        assert!(text.contains(series), "{text}");
                    }
                });
            }
        });
        metrics.lacks([]);
        assert!(!metrics.text().unwrap().contains("resource="));
    }
}
