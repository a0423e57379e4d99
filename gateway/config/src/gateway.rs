//! `GatewayConfig`: the gateway's own file, which is `wsc` and what stands around it.
//!
//! The operator writes it into a `ConfigMap`; the binary reads it with `load`. Immutable once built and validated; a reload
//! makes a new one.

use std::net::SocketAddr;

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::check;
use crate::load::{ConfigError, Layers};
use crate::problems::Problems;
use crate::{
    AdminConfig, DrainConfig, GrpcConfig, HookConfig, HttpConfig, LogConfig, NodeDiscovery,
    RebalanceConfig, TelemetryConfig, TlsConfig, WscConfig, schema,
};

/// Everything a gateway is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
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
    /// Which listeners speak TLS.
    pub tls: TlsConfig,
    /// The log.
    pub log: LogConfig,
    /// What collectors are told.
    pub telemetry: TelemetryConfig,
    /// How a node goes.
    pub drain: DrainConfig,
    /// How connections spread over nodes that joined later.
    pub rebalance: RebalanceConfig,
    /// Whom of the application the gateway asks and tells; see docs/hooks.md.
    #[schemars(length(max = 16))]
    pub hooks: Vec<HookConfig>,
    /// The service.
    pub wsc: WscConfig,
}

impl GatewayConfig {
    /// Reads a configuration: flags win over the environment, that over the file, that over the defaults.
    ///
    /// `file` is YAML; `env` holds all variables, of which those that begin with `WSC__` are meant; each of `sets` is
    /// `key.path=value`. All problems are reported at once, each with where its value came from.
    pub fn load(
        file: Option<&str>,
        env: impl IntoIterator<Item = (String, String)>,
        sets: &[String],
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::default();
        if let Some(text) = file {
            layers.file(text)?;
        }
        layers.environment(env);
        layers.flags(sets);
        layers.finish()
    }

    /// Holds every key against its bounds and against the other keys; reports all problems at once.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut problems = Problems::default();
        match serde_json::to_value(self) {
            Ok(value) => check(schema::root(), &value, "", &mut problems),
            Err(error) => problems.invalid("configuration", error.to_string()),
        }
        self.rules(&mut problems);
        problems.into_result()
    }

    /// The whole configuration as the file that [`GatewayConfig::load`] reads; the same text for equal values.
    pub fn to_yaml(&self) -> Result<String, ConfigError> {
        serde_saphyr::to_string(self).map_err(|error| ConfigError::Write(Box::new(error)))
    }

    /// Notes what keys do not mean together.
    pub(crate) fn rules(&self, problems: &mut Problems) {
        self.listeners(problems);
        let discovery = self.wsc.distributed.node_discovery;
        let shared = discovery != NodeDiscovery::Memory;
        if self.wsc.distributed.enabled && shared && !self.wsc.redis.is_configured() {
            let discovery = discovery.as_str();
            let why = format!(
                "must name the Redis that wsc.distributed.nodeDiscovery `{discovery}` needs, is empty"
            );
            problems.invalid("wsc.redis.host", why);
        }
        HookConfig::rules(&self.hooks, problems);
        self.drain.rules("drain", problems);
        self.wsc.rules("wsc", problems);
    }

    /// Notes listeners that want the same port.
    fn listeners(&self, problems: &mut Problems) {
        let mut taken: Vec<(&str, SocketAddr)> = Vec::new();
        let listeners = [
            ("wsc.nodePort", self.wsc.address(), self.wsc.enabled),
            ("http.port", self.http.address(), true),
            ("grpc.port", self.grpc.address(), true),
            ("admin.port", self.admin.address(), true),
        ];
        for (path, address, _) in listeners.into_iter().filter(|(_, _, used)| *used) {
            if let Some((other, _)) = taken.iter().find(|(_, other)| clash(*other, address)) {
                problems.invalid(
                    path,
                    format!("must differ from {other}, is {}", address.port()),
                );
            }
            taken.push((path, address));
        }
    }
}

/// Whether two listeners cannot be bound at once.
fn clash(left: SocketAddr, right: SocketAddr) -> bool {
    let anywhere = left.ip().is_unspecified() || right.ip().is_unspecified();
    left.port() != 0 && left.port() == right.port() && (anywhere || left.ip() == right.ip())
}

/// What this gateway is called, in logs, metrics and traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
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
