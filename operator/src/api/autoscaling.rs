//! `AutoscalingSpec`: the `HorizontalPodAutoscaler` that sets the resource's own number of replicas.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The autoscaler that sets this resource's `replicas`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = super::rules::autoscaling)]
pub struct AutoscalingSpec {
    /// Whether there is one. It then owns `replicas`: leave that out of what you apply.
    pub enabled: bool,
    /// The fewest pods.
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// The most pods. More than one needs `wsc.distributed.enabled`.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// The CPU that pods should use on average, in percent of what they ask for. Needs metrics-server or its like.
    #[schemars(range(min = 1, max = 1000))]
    pub cpu_utilization: i32,
}

impl Default for AutoscalingSpec {
    fn default() -> Self {
        Self {
            enabled: false,
            min_replicas: 2,
            max_replicas: 10,
            cpu_utilization: 70,
        }
    }
}
