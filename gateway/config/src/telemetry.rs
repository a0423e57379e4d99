//! `TelemetryConfig`: where traces go, and how many.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::closed::closed;
use crate::schema;
use crate::{Seconds, SecretKeyRef};

closed! {
    /// How a collector is spoken to.
    pub enum OtlpProtocol {
        /// OTLP over gRPC.
        Grpc = "grpc",
    }
}

/// What the gateway tells collectors of itself, beside metrics and the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::kubernetes)]
pub struct TelemetryConfig {
    /// Traces, sent to a collector of OpenTelemetry.
    pub otlp: OtlpConfig,
}

/// Traces, sent to a collector of OpenTelemetry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::kubernetes)]
pub struct OtlpConfig {
    /// The collector, `http://host:port` or `https://host:port`. Empty: no traces, and no cost.
    #[schemars(
        length(max = 300),
        regex(pattern = r"^(https?://[A-Za-z0-9_.:\[\]-]+/?)?$")
    )]
    pub endpoint: String,
    /// How the collector is spoken to: `grpc`.
    pub protocol: OtlpProtocol,
    /// The part of messages that is traced when whoever sends one has not decided: 0 none, 1 each.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sample_ratio: f64,
    /// The Secret with headers for the collector, one `name: value` a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers_secret_ref: Option<SecretKeyRef>,
    /// How long the collector may take for a batch before that is dropped and counted.
    #[schemars(transform = schema::between("100ms", "1m"))]
    pub timeout: Seconds,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            protocol: OtlpProtocol::Grpc,
            sample_ratio: 0.01,
            headers_secret_ref: None,
            timeout: Seconds::from_secs(10),
        }
    }
}
