//! `GatewayConfig`: the gateway's own file, which is `wsc` and what stands around it.
//!
//! The operator writes it into a ConfigMap; the binary reads it with `load`. Immutable once built and validated; a reload
//! makes a new one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AdminConfig, DrainConfig, GrpcConfig, HttpConfig, LogConfig, WscConfig, schema};

/// Everything a gateway is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = schema::kubernetes)]
pub struct GatewayConfig {
    /// What this gateway is called.
    pub gateway: GatewayMeta,
    /// The HTTP API.
    pub http: HttpConfig,
    /// The gRPC API.
    pub grpc: GrpcConfig,
    /// Health, metrics and drain.
    pub admin: AdminConfig,
    /// The log.
    pub log: LogConfig,
    /// How a node goes.
    pub drain: DrainConfig,
    /// The service.
    pub wsc: WscConfig,
}

/// What this gateway is called, in logs, metrics and traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = schema::kubernetes)]
pub struct GatewayMeta {
    /// The name of the service.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::LABEL))]
    pub name: String,
    /// The version of the service as its owner counts it. Empty: left out.
    #[schemars(length(max = 63), regex(pattern = schema::LABEL))]
    pub version: String,
    /// Where it runs, such as `production`. Empty: left out.
    #[schemars(length(max = 63), regex(pattern = schema::LABEL))]
    pub environment: String,
}

impl Default for GatewayMeta {
    fn default() -> Self {
        Self {
            name: "wsc-gateway".to_owned(),
            version: String::new(),
            environment: String::new(),
        }
    }
}
