//! `NetworkPolicySpec`: who may reach which port of the pods, and where the pods may go.

use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyPeer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may reach which port of the pods, and where the pods may go. Enforced by the cluster's network, where it does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicySpec {
    /// Whether there are policies. With them, the managed Redis takes connections from this gateway's pods alone, and the
    /// admin port from the operator's namespace and `metrics`.
    pub enabled: bool,
    /// Who may open WebSocket connections, beside the namespaces of the Gateways in `route`. Empty: everyone.
    #[schemars(length(max = 32))]
    pub clients: Vec<NetworkPolicyPeer>,
    /// Who may call the HTTP and gRPC APIs, beside the namespaces of the Gateways that `route.http` and `route.grpc` belong to.
    /// Empty: the pods of the resource's namespace.
    #[schemars(length(max = 32))]
    pub apis: Vec<NetworkPolicyPeer>,
    /// Who may read metrics, beside the operator.
    #[schemars(length(max = 32))]
    pub metrics: Vec<NetworkPolicyPeer>,
    /// Where gateways may go beside name servers, each other and the managed Redis. Absent: anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub egress: Option<Vec<NetworkPolicyEgressRule>>,
}
