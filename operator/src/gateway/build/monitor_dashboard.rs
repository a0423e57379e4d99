//! The dashboard for Grafana, as a `ConfigMap` that its sidecar finds by label.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::monitor::series;
use crate::gateway::validate::Validated;
use crate::names::Component;

/// What Grafana's sidecar looks for unless told otherwise.
const SIDECAR_LABEL: &str = "grafana_dashboard";

/// How wide and high a panel is; Grafana's grid has 24 columns.
const SIZE: (usize, usize) = (12, 8);

/// A panel: title, unit, and lines as expression and legend; `@` stands for what picks the gateway's series.
type Panel = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const PANELS: &[Panel] = &[
    (
        "Connections",
        "short",
        &[("sum by (pod) (wsc_connections{@})", "{{pod}}")],
    ),
    (
        "Pods",
        "short",
        &[
            ("sum(wsc_ready{@})", "ready"),
            ("sum(wsc_draining{@})", "draining"),
        ],
    ),
    (
        "Messages",
        "mps",
        &[
            (
                "sum(rate(wsc_messages_received_total{@}[$__rate_interval]))",
                "received",
            ),
            (
                "sum(rate(wsc_messages_sent_total{@}[$__rate_interval]))",
                "sent",
            ),
        ],
    ),
    (
        "Delivery within a gateway",
        "s",
        &[
            (
                "histogram_quantile(0.5, sum by (le) (rate(wsc_delivery_duration_seconds_bucket{@}[$__rate_interval])))",
                "median",
            ),
            (
                "histogram_quantile(0.99, sum by (le) (rate(wsc_delivery_duration_seconds_bucket{@}[$__rate_interval])))",
                "p99",
            ),
        ],
    ),
    (
        "Dropped and refused",
        "ops",
        &[
            (
                "sum by (policy) (rate(wsc_messages_dropped_total{@}[$__rate_interval]))",
                "dropped: {{policy}}",
            ),
            (
                "sum by (reason) (rate(wsc_refused_total{@}[$__rate_interval]))",
                "refused: {{reason}}",
            ),
            (
                "sum by (code) (rate(wsc_errors_total{@}[$__rate_interval]))",
                "error: {{code}}",
            ),
        ],
    ),
    (
        "Disconnects",
        "ops",
        &[(
            "sum by (reason) (rate(wsc_disconnects_total{@}[$__rate_interval]))",
            "{{reason}}",
        )],
    ),
    (
        "Around Redis and back",
        "s",
        &[("wsc_cluster_canary_round_trip_seconds{@}", "{{pod}}")],
    ),
    (
        "Memory",
        "bytes",
        &[("wsc_process_resident_memory_bytes{@}", "{{pod}}")],
    ),
];

pub(super) fn build(input: &Validated) -> ConfigMap {
    let mut metadata = input.meta(&input.names.dashboard(), Component::Gateway);
    metadata
        .labels
        .get_or_insert_default()
        .insert(SIDECAR_LABEL.to_owned(), "1".to_owned());
    let file = format!("wsc-{}-{}.json", input.namespace, input.names.gateway());
    ConfigMap {
        metadata,
        data: Some([(file, format!("{:#}", dashboard(input)))].into()),
        ..ConfigMap::default()
    }
}

fn dashboard(input: &Validated) -> Value {
    let (namespace, name) = (&input.namespace, input.names.gateway());
    let series = series(input);
    let panels: Vec<Value> = PANELS
        .iter()
        .enumerate()
        .map(|(at, found)| panel(at, found, &series))
        .collect();
    json!({
        // The same dashboard after each change, and another for each gateway.
        "uid": crate::digest::of_parts([namespace.as_bytes(), name.as_bytes()]),
        "title": format!("WebSocket gateway {namespace}/{name}"),
        "tags": ["wsc"],
        "schemaVersion": 39,
        "editable": false,
        "refresh": "30s",
        "time": { "from": "now-3h", "to": "now" },
        "templating": { "list": [{ "name": "datasource", "type": "datasource", "query": "prometheus" }] },
        "panels": panels,
    })
}

fn panel(at: usize, (title, unit, lines): &Panel, series: &str) -> Value {
    let (width, height) = SIZE;
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let targets: Vec<Value> = ('A'..)
        .zip(*lines)
        .map(|(name, (expression, legend))| {
            json!({
                "refId": name,
                "datasource": source,
                "expr": expression.replace('@', series),
                "legendFormat": legend,
            })
        })
        .collect();
    json!({
        "id": at + 1,
        "type": "timeseries",
        "title": title,
        "datasource": source,
        "gridPos": { "x": (at % 2) * width, "y": (at / 2) * height, "w": width, "h": height },
        "fieldConfig": { "defaults": { "unit": unit, "min": 0 }, "overrides": [] },
        "targets": targets,
    })
}
