//! `GatewayStatus`: what the operator saw. Written by `gateway/status` alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a gateway is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayStatus {
    /// The generation of the resource that this status is about.
    pub observed_generation: i64,
    /// `Accepted`, `Ready`, `Progressing`, `RedisReady`, `Degraded` and `Paused`.
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
    /// How many gateway pods there are.
    pub replicas: i32,
    /// How many of them are ready.
    pub ready_replicas: i32,
    /// The gateway pods as a label selector, for the scale subresource.
    pub selector: String,
    /// Open connections in all pods.
    pub connections: i64,
    /// Pods that are being emptied. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainStatus>,
    /// Each gateway pod.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub pods: Vec<PodStatus>,
    /// Where clients connect: host and port of the WebSocket listener, or of the HTTP API without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Where clients connect from outside: the host names of the Ingress and of routes that a Gateway has taken, each with
    /// the path of WebSocket.
    #[schemars(length(max = 64))]
    pub addresses: Vec<String>,
    /// The configuration and keys that were rolled out last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    /// How many pods run that configuration.
    pub updated_pods: i32,
}

/// Pods that are being emptied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DrainStatus {
    /// How many pods are being emptied.
    pub pods: i32,
    /// How many sessions they still hold.
    pub remaining: i64,
}

/// One gateway pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// The pod's name.
    pub name: String,
    /// What the gateway in it says of itself (`starting`, `serving`, `draining`, `stopped`), or `unknown`.
    pub phase: String,
    /// Open connections.
    pub connections: i64,
    /// How many of them are beyond what `spec.rebalance` allows the pod. Absent: none.
    #[serde(skip_serializing_if = "is_zero")]
    pub surplus: i64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands in a reference"
)]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}
