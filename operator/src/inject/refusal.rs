//! `Refusal`: why a pod cannot have the gateway that it asks for, in words for whoever made the pod.

use crate::names::GATEWAY_LABEL;

/// Why a pod cannot have the gateway that it asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No gateway can be called so.
    #[error("label {GATEWAY_LABEL}: no WebSocketGateway can be called {0:?}")]
    BadName(String),
    /// There is no such gateway.
    #[error(
        "label {GATEWAY_LABEL}: WebSocketGateway {name} does not exist in namespace {namespace}"
    )]
    Missing {
        /// The pod's namespace.
        namespace: String,
        /// The gateway.
        name: String,
    },
    /// It has pods of its own.
    #[error(
        "label {GATEWAY_LABEL}: WebSocketGateway {name} has pods of its own: set its spec.mode to Sidecar, or take the label away"
    )]
    Standalone {
        /// The gateway.
        name: String,
    },
    /// Nothing has been made of it yet.
    #[error(
        "label {GATEWAY_LABEL}: WebSocketGateway {name} is not ready to be injected yet: {why}"
    )]
    NotRealised {
        /// The gateway.
        name: String,
        /// What it says of itself.
        why: String,
    },
    /// What would be injected is somebody else's.
    #[error(
        "label {GATEWAY_LABEL}: PodTemplate {0} does not belong to the WebSocketGateway of its name"
    )]
    Foreign(String),
    /// What would be injected is not what the operator makes.
    #[error("the PodTemplate of the gateway is not what the operator makes")]
    Unreadable,
    /// Something in the pod is called as a part of the gateway is.
    #[error("the pod has a {0} of its own: the gateway's is called so")]
    NameTaken(String),
    /// The application listens where the gateway does.
    #[error(
        "container {container} listens on port {port}, as the gateway does: change spec.wsc.nodePort or spec.listeners of the WebSocketGateway, or the application's port (9100 is always the gateway's)"
    )]
    PortTaken {
        /// The application's.
        container: String,
        /// The port.
        port: i32,
    },
}
