//! `ListenersSpec`: TLS of all listeners, and the ports of the HTTP and gRPC APIs.
//!
//! WebSocket's port and path are `wsc.nodePort` and `wsc.path`; the admin port is fixed and speaks no TLS, since only the
//! kubelet, the operator and a monitoring system speak to it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The port of health, metrics and drain.
pub const ADMIN_PORT: u16 = 9100;

/// TLS of all listeners, and the ports of the HTTP and gRPC APIs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = super::rules::listeners)]
pub struct ListenersSpec {
    /// WebSocket.
    pub ws: WsListener,
    /// The HTTP API.
    pub http: HttpListener,
    /// The gRPC API.
    pub grpc: GrpcListener,
}

/// WebSocket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WsListener {
    /// Has the listener speak TLS (`wss`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
}

/// The HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = super::rules::formats)]
pub struct HttpListener {
    /// The port, of the pods and of the Service.
    #[schemars(range(min = 1024, max = 65_535))]
    pub port: u16,
    /// Has the listener speak TLS (`https`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
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
    /// Has the listener speak TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
}

/// What a listener shows. A changed Secret reaches running pods and closes no connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerTls {
    /// The Secret, of type `kubernetes.io/tls`, with the certificate chain as `tls.crt` and its key as `tls.key`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub secret_name: String,
    /// Has cert-manager issue the certificate into that Secret and renew it, by a `Certificate` of the Secret's name. Made
    /// where the cluster has this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
    /// The names that it is issued for. Empty: those of the Service within the cluster. Only with `issuerRef`.
    #[serde(default)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub dns_names: Vec<String>,
}

/// An issuer of cert-manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuerRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// `Issuer` in the namespace of the resource, `ClusterIssuer`, or a kind of another project.
    #[serde(default = "issuer")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The API group of that kind.
    #[serde(default = "cert_manager")]
    #[schemars(length(min = 1, max = 253))]
    pub group: String,
}

fn issuer() -> String {
    "Issuer".to_owned()
}

fn cert_manager() -> String {
    "cert-manager.io".to_owned()
}

impl ListenersSpec {
    /// What each listener that speaks TLS shows, and the key of the resource that names its Secret.
    pub fn tls(&self) -> impl Iterator<Item = (&'static str, &'static str, &ListenerTls)> {
        let Self { ws, http, grpc } = self;
        let all = [
            ("ws", "spec.listeners.ws.tls.secretName", &ws.tls),
            ("http", "spec.listeners.http.tls.secretName", &http.tls),
            ("grpc", "spec.listeners.grpc.tls.secretName", &grpc.tls),
        ];
        all.into_iter().filter_map(|(listener, path, tls)| {
            let tls = tls.as_ref()?;
            Some((listener, path, tls))
        })
    }
}

impl Default for HttpListener {
    fn default() -> Self {
        Self {
            port: 8080,
            tls: None,
        }
    }
}

impl Default for GrpcListener {
    fn default() -> Self {
        Self {
            port: 9090,
            reflection: false,
            tls: None,
        }
    }
}
