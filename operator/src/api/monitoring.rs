//! `MonitoringSpec`: what Prometheus' operator and Grafana are told of the gateway.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What Prometheus' operator and Grafana are told of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = super::rules::monitoring)]
pub struct MonitoringSpec {
    /// Whether there is a `PodMonitor`, by which Prometheus scrapes each pod. Made where the cluster has this kind.
    pub enabled: bool,
    /// Whether there is a `PrometheusRule` with alerts beside the `PodMonitor`.
    pub alerts: bool,
    /// Whether there is a `ConfigMap` with a dashboard, labelled `grafana_dashboard: "1"` as Grafana's sidecar looks for it.
    pub dashboard: bool,
    /// How often pods are scraped, such as `30s`. Absent: as often as Prometheus does by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), regex(pattern = r"^[1-9][0-9]*(ms|s|m)$"))]
    pub interval: Option<String>,
    /// Labels of the `PodMonitor` and the `PrometheusRule`, by which a Prometheus selects them.
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,
}

impl Default for MonitoringSpec {
    fn default() -> Self {
        Self {
            enabled: false,
            alerts: true,
            dashboard: false,
            interval: None,
            labels: BTreeMap::new(),
        }
    }
}
