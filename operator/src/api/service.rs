//! `ServiceSpec`: the Service that clients use.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// From where the Service can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ServiceType {
    #[allow(missing_docs)]
    #[default]
    ClusterIP,
    #[allow(missing_docs)]
    NodePort,
    #[allow(missing_docs)]
    LoadBalancer,
}

impl ServiceType {
    /// The word that Kubernetes has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// Whether traffic from outside may take a second hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum TrafficPolicy {
    #[allow(missing_docs)]
    Cluster,
    #[allow(missing_docs)]
    Local,
}

impl TrafficPolicy {
    /// The word that Kubernetes has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Local => "Local",
        }
    }
}

/// How clients inside and outside the cluster reach the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = super::rules::service)]
pub struct ServiceSpec {
    /// From where the Service can be reached.
    #[serde(rename = "type")]
    pub type_: ServiceType,
    /// Annotations, such as a cloud's load balancer reads.
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// Whether traffic from outside may take a second hop; `Local` keeps the client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<TrafficPolicy>,
    /// The addresses that a load balancer lets in, as ranges. Empty: all.
    #[schemars(length(max = 64), inner(length(max = 43)))]
    pub load_balancer_source_ranges: Vec<String>,
}
