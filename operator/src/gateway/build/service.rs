//! The Service that clients use: WebSocket, HTTP and gRPC, each with its protocol named, so that a mesh or an ingress
//! treats long connections as what they are.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::Mode;
use crate::gateway::validate::{Validated, pods};
use crate::names::Component;

pub(super) fn build(input: &Validated) -> Service {
    let crate::api::ServiceSpec {
        type_,
        annotations,
        external_traffic_policy,
        load_balancer_source_ranges,
    } = &input.service;
    let mut metadata = input.meta(input.names.gateway(), Component::Gateway);
    metadata.annotations = (!annotations.is_empty()).then(|| annotations.clone());
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(type_.as_str().to_owned()),
            selector: Some(pods(input.mode, &input.names)),
            ports: Some(ports(input)),
            // Said, so that it is noticed when somebody says otherwise: clients come back to any gateway, and to ready ones.
            session_affinity: Some("None".to_owned()),
            publish_not_ready_addresses: Some(false),
            external_traffic_policy: external_traffic_policy
                .map(|policy| policy.as_str().to_owned()),
            load_balancer_source_ranges: (!load_balancer_source_ranges.is_empty())
                .then(|| load_balancer_source_ranges.clone()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The ports of clients.
pub(super) fn ports(input: &Validated) -> Vec<ServicePort> {
    let config = &input.config;
    let mut ports = Vec::with_capacity(3);
    if config.wsc.enabled {
        let protocol = if config.tls.ws {
            "kubernetes.io/wss"
        } else {
            "kubernetes.io/ws"
        };
        ports.push(("ws", config.wsc.node_port, protocol));
    }
    let http = if config.tls.http { "https" } else { "http" };
    let grpc = if config.tls.grpc {
        "https"
    } else {
        "kubernetes.io/h2c"
    };
    ports.push(("http", config.http.port, http));
    ports.push(("grpc", config.grpc.port, grpc));
    let to_port =
        |(name, number, protocol): (&str, u16, &str)| of_gateway(input, name, number, protocol);
    ports.into_iter().map(to_port).collect()
}

/// One port of gateway pods. In pods of the application a port of this name may be the application's: there it is the
/// number that is meant.
pub(super) fn of_gateway(
    input: &Validated,
    name: &str,
    number: u16,
    protocol: &str,
) -> ServicePort {
    let target_port = match input.mode {
        Mode::Standalone => IntOrString::String(name.to_owned()),
        Mode::Sidecar => IntOrString::Int(i32::from(number)),
    };
    ServicePort {
        target_port: Some(target_port),
        ..port(name, number, protocol)
    }
}

/// One port, forwarded to the container's port of the same name.
pub(super) fn port(name: &str, number: u16, protocol: &str) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        target_port: Some(IntOrString::String(name.to_owned())),
        app_protocol: Some(protocol.to_owned()),
        protocol: Some("TCP".to_owned()),
        node_port: None,
    }
}
