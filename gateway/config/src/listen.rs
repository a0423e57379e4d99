//! The listeners beside WebSocket: HTTP API, gRPC API and admin. One type each, because each has its own default port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// The HTTP API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::kubernetes)]
pub struct HttpConfig {
    /// The address to listen on.
    #[schemars(transform = schema::ip)]
    pub host: IpAddr,
    /// The port to listen on. 0, in a file only: any free one.
    #[schemars(range(min = 1, max = 65_535), extend("x-wsc-zero" = true))]
    pub port: u16,
}

/// The gRPC API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::kubernetes)]
pub struct GrpcConfig {
    /// The address to listen on.
    #[schemars(transform = schema::ip)]
    pub host: IpAddr,
    /// The port to listen on. 0, in a file only: any free one.
    #[schemars(range(min = 1, max = 65_535), extend("x-wsc-zero" = true))]
    pub port: u16,
    /// Whether clients can ask which services and methods there are.
    pub reflection: bool,
}

/// Health, metrics and drain; not for clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::kubernetes)]
pub struct AdminConfig {
    /// The address to listen on.
    #[schemars(transform = schema::ip)]
    pub host: IpAddr,
    /// The port to listen on. 0, in a file only: any free one.
    #[schemars(range(min = 1, max = 65_535), extend("x-wsc-zero" = true))]
    pub port: u16,
}

const EVERYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl HttpConfig {
    /// What to bind.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }
}

impl GrpcConfig {
    /// What to bind.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }
}

impl AdminConfig {
    /// What to bind.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            host: EVERYWHERE,
            port: 8080,
        }
    }
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            host: EVERYWHERE,
            port: 9090,
            reflection: false,
        }
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            host: EVERYWHERE,
            port: 9100,
        }
    }
}
