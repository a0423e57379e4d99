//! `RouteSpec`: the way in from outside over Gateway API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The way in from outside over Gateway API. Clients reach WebSocket and SSE by it, and backends the APIs if that is asked
/// for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = super::rules::route)]
pub struct RouteSpec {
    /// Whether there is an `HTTPRoute` for clients.
    pub enabled: bool,
    /// The Gateways that the routes belong to.
    #[schemars(length(max = 16))]
    pub parent_refs: Vec<ParentRef>,
    /// The host names. Empty: every host of the Gateways.
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub hostnames: Vec<String>,
    /// The `HTTPRoute` of the HTTP API.
    pub http: ApiRouteSpec,
    /// The `GRPCRoute` of the gRPC API. It needs host names of its own.
    pub grpc: ApiRouteSpec,
}

/// The route of an API. Whoever has the API key can use it from wherever the Gateway is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiRouteSpec {
    /// Whether there is one; only together with `route.enabled`.
    pub enabled: bool,
    /// The Gateways that it belongs to. Empty: those of `route`.
    #[schemars(length(max = 16))]
    pub parent_refs: Vec<ParentRef>,
    /// The host names. Empty: those of `route`.
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub hostnames: Vec<String>,
}

/// A Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = super::rules::formats)]
pub struct ParentRef {
    /// The Gateway's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace. Absent: the resource's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// The one listener of it that is meant, by name. Absent: each that takes the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
    /// The listeners of it that are meant, by port. Absent: each that takes the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<u16>,
}
