//! The headless Service with every pod in it, ready or not: for monitoring, and for whoever must reach one pod by name.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::service::{of_gateway, ports};
use crate::gateway::validate::{Validated, pods};
use crate::names::Component;

pub(super) fn build(input: &Validated) -> Service {
    let mut all = ports(input);
    all.push(of_gateway(input, "admin", input.config.admin.port, "http"));
    Service {
        metadata: input.meta(&input.names.nodes(), Component::Gateway),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            cluster_ip: Some("None".to_owned()),
            // A pod that drains must still be found by its peers.
            publish_not_ready_addresses: Some(true),
            session_affinity: Some("None".to_owned()),
            selector: Some(pods(input.mode, &input.names)),
            ports: Some(all),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
