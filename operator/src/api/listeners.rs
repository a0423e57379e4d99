//! `ListenersSpec`: the ports of the HTTP and gRPC APIs.
//!
//! WebSocket's port and path are `wsc.nodePort` and `wsc.path`; the admin port is fixed, since only the kubelet, the
//! operator and a monitoring system speak to it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The port of health, metrics and drain.
pub const ADMIN_PORT: u16 = 9100;

/// The ports of the HTTP and gRPC APIs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenersSpec {
    /// The HTTP API.
    pub http: HttpListener,
    /// The gRPC API.
    pub grpc: GrpcListener,
}

/// The HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = super::rules::formats)]
pub struct HttpListener {
    /// The port, of the pods and of the Service.
    #[schemars(range(min = 1024, max = 65_535))]
    pub port: u16,
}

/// The gRPC API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = super::rules::formats)]
pub struct GrpcListener {
    /// The port, of the pods and of the Service.
    #[schemars(range(min = 1024, max = 65_535))]
    pub port: u16,
    /// Whether clients can ask which services and methods there are.
    pub reflection: bool,
}

impl Default for HttpListener {
    fn default() -> Self {
        Self { port: 8080 }
    }
}

impl Default for GrpcListener {
    fn default() -> Self {
        Self {
            port: 9090,
            reflection: false,
        }
    }
}
