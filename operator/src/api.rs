//! The resource `WebSocketGateway` (`wsc.dev/v1alpha1`): its spec, its status and its CRD.
//!
//! Types only: what a field means for an object is decided in `gateway/validate` and `gateway/build`. Every field has a
//! default that the API server fills in, and every bound is in the schema, so that what is admitted can be decoded.

mod autoscaling;
mod crd;
mod disruption;
mod ingress;
mod listeners;
mod managed_redis;
mod mode;
mod monitoring;
mod network_policy;
mod pod_template;
mod quantity;
mod route;
mod rules;
mod scheduling;
mod service;
mod status;
mod workload;

pub use autoscaling::{AutoscalingSpec, KedaAuthentication, KedaTrigger, Scaler};
pub use crd::{crd, crd_yaml};
pub use disruption::DisruptionSpec;
pub use ingress::IngressSpec;
pub use listeners::{
    ADMIN_PORT, GrpcListener, HttpListener, IssuerRef, ListenerTls, ListenersSpec, WsListener,
};
pub use managed_redis::{ManagedRedisMode, ManagedRedisSpec, PersistenceSpec};
pub use mode::Mode;
pub use monitoring::MonitoringSpec;
pub use network_policy::NetworkPolicySpec;
pub use pod_template::{OverlayMetadata, PodTemplateOverlay};
pub use quantity::{Quantity, ResourcesSpec};
pub use route::{ApiRouteSpec, ParentRef, RouteSpec};
pub use scheduling::SchedulingSpec;
pub use service::{ServiceSpec, ServiceType, TrafficPolicy};
pub use status::{DrainStatus, GatewayStatus, PodStatus};
pub use workload::{IdentitySpec, PullPolicy, PullSecret};

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wsc_config::{DrainConfig, HookConfig, LogLevel, RebalanceConfig, TelemetryConfig, WscConfig};

/// What a gateway should be.
// Each column has a type of its own; that two have the same is no duplicate.
#[allow(clippy::duplicated_attributes)]
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "wsc.dev",
    version = "v1alpha1",
    kind = "WebSocketGateway",
    plural = "websocketgateways",
    shortname = "wsg",
    namespaced,
    status = "GatewayStatus",
    derive = "PartialEq",
    doc = "A WebSocket communication service: gateway pods and the Redis that makes a cluster of them.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(
        name = "Connections",
        type_ = "integer",
        json_path = ".status.connections"
    ),
    printcolumn(
        name = "Redis",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"RedisReady\")].reason"
    ),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.address"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = rules::spec)]
pub struct WebSocketGatewaySpec {
    /// Whose pods the gateways run in. `Standalone`: their own. `Sidecar`: those of the namespace with the label
    /// `wsc.dev/gateway` and the resource's name, each of which gets a gateway beside its containers when it is made.
    pub mode: Mode,
    /// How many gateway pods there are. More than one needs `wsc.distributed.enabled`. Not with `mode: Sidecar`.
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// The gateway's image. Absent: the one that the operator was released with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[^\s]+$"))]
    pub image: Option<String>,
    /// When images are pulled. Absent: what Kubernetes does for the image's tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
    /// The Secrets with which images are pulled, of the gateway and of its Redis.
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<PullSecret>,
    /// What a gateway pod asks for and is held to. Absent: 100m CPU and 128Mi asked for, 512Mi allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesSpec>,
    /// Where gateway pods run. Not with `mode: Sidecar`.
    pub scheduling: SchedulingSpec,
    /// What is laid over the gateway pods as the operator makes them, as `kubectl patch` does by default: fields are replaced,
    /// elements of lists are found by their names. Not with `mode: Sidecar`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplateOverlay>,
    /// Whether the operator leaves everything as it is. The status is still kept.
    pub paused: bool,
    /// How much the gateway logs: `error`, `warn`, `info`, `debug` or `trace`.
    pub log_level: LogLevel,
    /// What the gateway tells collectors of itself.
    pub telemetry: TelemetryConfig,
    /// What the gateway calls itself in logs and metrics.
    pub gateway: IdentitySpec,
    /// The ports of the HTTP and gRPC APIs. WebSocket's are in `wsc`.
    pub listeners: ListenersSpec,
    /// The Redis that the operator runs when the gateway is distributed and `wsc.redis` names none.
    pub managed_redis: ManagedRedisSpec,
    /// How clients inside and outside the cluster reach the gateway.
    pub service: ServiceSpec,
    /// The way in from outside over an Ingress controller.
    pub ingress: IngressSpec,
    /// The way in from outside over Gateway API: an `HTTPRoute`, and a `GRPCRoute`. Made where the cluster has these kinds.
    pub route: RouteSpec,
    /// What Prometheus' operator and Grafana are told of the gateway.
    pub monitoring: MonitoringSpec,
    /// Who may reach which port of the pods, and where the pods may go. With `mode: Sidecar`: of the managed Redis alone.
    pub network_policy: NetworkPolicySpec,
    /// The autoscaler that sets this resource's `replicas`. Not with `mode: Sidecar`.
    pub autoscaling: AutoscalingSpec,
    /// How a gateway pod empties itself before it goes.
    pub drain: DrainConfig,
    /// How connections spread over gateway pods that came later.
    pub rebalance: RebalanceConfig,
    /// How many gateway pods may be gone at a time when Kubernetes' nodes are emptied. With `mode: Sidecar` a budget is the
    /// application's own matter.
    pub disruption: DisruptionSpec,
    /// Whom of the application the gateway asks and tells; see docs/hooks.md.
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub hooks: Vec<HookConfig>,
    /// The configuration of the service.
    pub wsc: WscConfig,
}

impl Default for WebSocketGatewaySpec {
    fn default() -> Self {
        Self {
            mode: Mode::Standalone,
            replicas: 1,
            image: None,
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            resources: None,
            scheduling: SchedulingSpec::default(),
            pod_template: None,
            paused: false,
            log_level: LogLevel::Info,
            telemetry: TelemetryConfig::default(),
            gateway: IdentitySpec::default(),
            listeners: ListenersSpec::default(),
            managed_redis: ManagedRedisSpec::default(),
            service: ServiceSpec::default(),
            ingress: IngressSpec::default(),
            route: RouteSpec::default(),
            monitoring: MonitoringSpec::default(),
            network_policy: NetworkPolicySpec::default(),
            autoscaling: AutoscalingSpec::default(),
            drain: DrainConfig::default(),
            rebalance: RebalanceConfig::default(),
            disruption: DisruptionSpec::default(),
            hooks: Vec::new(),
            wsc: WscConfig::default(),
        }
    }
}
