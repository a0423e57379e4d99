//! The managed Redis' address. It outlives the pod, so that gateways reconnect without asking DNS again.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::REDIS_PORT;
use super::service::port;
use crate::gateway::validate::Validated;
use crate::names::Component;

pub(super) fn build(input: &Validated) -> Service {
    Service {
        metadata: input.meta(&input.names.redis(), Component::Redis),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(input.names.selector(Component::Redis)),
            ports: Some(vec![port("redis", REDIS_PORT, "redis")]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
