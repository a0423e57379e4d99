//! `DisruptionSpec`: the `PodDisruptionBudget`, which is made from two replicas on.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many gateway pods may be gone at a time when Kubernetes' nodes are emptied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = super::rules::disruption)]
pub struct DisruptionSpec {
    /// Whether there is a budget. It takes effect from two replicas on.
    pub enabled: bool,
    /// The most pods that may be gone: a number or a percentage. Absent, as `minAvailable` is: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::quantity::count_or_percentage")]
    pub max_unavailable: Option<IntOrString>,
    /// The fewest pods that must stay: a number or a percentage. Excludes `maxUnavailable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::quantity::count_or_percentage")]
    pub min_available: Option<IntOrString>,
}

impl Default for DisruptionSpec {
    fn default() -> Self {
        Self {
            enabled: true,
            max_unavailable: None,
            min_available: None,
        }
    }
}
