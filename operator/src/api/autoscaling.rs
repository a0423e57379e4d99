//! `AutoscalingSpec`: what sets the resource's own number of replicas, a `HorizontalPodAutoscaler` or KEDA.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wsc_config::{Seconds, between};

/// What scales.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Scaler {
    /// Kubernetes' own.
    #[default]
    HorizontalPodAutoscaler,
    /// KEDA's, which has many more sources of numbers.
    ScaledObject,
}

/// A source of numbers of KEDA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KedaTrigger {
    /// Which, such as `prometheus` or `cron`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 63))]
    pub type_: String,
    /// What it is told, as KEDA describes it.
    #[schemars(extend("maxProperties" = 32))]
    pub metadata: BTreeMap<String, String>,
    /// The `TriggerAuthentication` that it goes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication_ref: Option<KedaAuthentication>,
}

/// A `TriggerAuthentication` of KEDA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KedaAuthentication {
    /// Its name, in the namespace of the resource.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The autoscaler that sets this resource's `replicas`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = super::rules::autoscaling)]
pub struct AutoscalingSpec {
    /// Whether there is one. It then owns `replicas`: leave that out of what you apply.
    pub enabled: bool,
    /// Which one there is. A `ScaledObject` is made where the cluster has KEDA.
    pub scaler: Scaler,
    /// The fewest pods.
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// The most pods. More than one needs `wsc.distributed.enabled`.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// The CPU that pods should use on average, in percent of what they ask for. Needs metrics-server or its like. Absent:
    /// 70, or none where `connectionsPerPod` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub cpu_utilization: Option<i32>,
    /// How many connections a pod should hold on average. The operator itself counts them; see "Scale" in
    /// docs/operations.md for what that needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections_per_pod: Option<i32>,
    /// For how long fewer pods must have been enough before one goes.
    #[schemars(transform = between("0s", "1h"))]
    pub scale_in_delay: Seconds,
    /// What a `ScaledObject` goes by beside.
    #[schemars(length(max = 16))]
    pub keda_triggers: Vec<KedaTrigger>,
}

/// What CPU pods should use on average where nothing is said, in percent of what they ask for.
const CPU: i32 = 70;

impl AutoscalingSpec {
    /// The CPU that counts, if any does.
    pub fn cpu(&self) -> Option<i32> {
        let usual = self.connections_per_pod.is_none().then_some(CPU);
        self.cpu_utilization.or(usual)
    }
}

impl Default for AutoscalingSpec {
    fn default() -> Self {
        Self {
            enabled: false,
            scaler: Scaler::HorizontalPodAutoscaler,
            min_replicas: 2,
            max_replicas: 10,
            cpu_utilization: None,
            connections_per_pod: None,
            scale_in_delay: Seconds::from_secs(300),
            keda_triggers: Vec::new(),
        }
    }
}
