//! `TlsConfig`: which listeners speak TLS. Certificates are files of the secrets directory, never part of the file.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Which listeners speak TLS (1.2 and 1.3), each with `NAME-tls.crt` and `NAME-tls.key` of the secrets directory
/// (`ws-tls.crt`, `http-tls.crt`, `grpc-tls.crt`), or `tls.crt` and `tls.key` where these are not there. A changed pair
/// holds for new connections. The admin port never speaks TLS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::kubernetes)]
pub struct TlsConfig {
    /// Whether the WebSocket listener speaks TLS (`wss`), with `ws-tls.crt` and `ws-tls.key` of the secrets directory, or
    /// `tls.crt` and `tls.key`.
    pub ws: bool,
    /// Whether the HTTP API speaks TLS (`https`), with `http-tls.crt` and `http-tls.key`, or `tls.crt` and `tls.key`.
    pub http: bool,
    /// Whether the gRPC API speaks TLS, with `grpc-tls.crt` and `grpc-tls.key`, or `tls.crt` and `tls.key`.
    pub grpc: bool,
}
