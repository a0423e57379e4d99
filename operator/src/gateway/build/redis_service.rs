//! The managed Redis' address. It outlives the pod, so that gateways reconnect without asking DNS again. The pods of a
//! replicated one have names instead, also before they are ready: Sentinels decide which of them gateways go to.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::service::port;
use super::{REDIS_PORT, SENTINEL_PORT};
use crate::gateway::validate::{Layout, ManagedRedis, Validated};
use crate::names::Component;

pub(super) fn build(input: &Validated, redis: &ManagedRedis) -> Service {
    let selector = Some(input.names.selector(Component::Redis));
    let redis_port = port("redis", REDIS_PORT, "redis");
    let (name, spec) = match redis.layout {
        Layout::Standalone => (
            input.names.redis(),
            ServiceSpec {
                type_: Some("ClusterIP".to_owned()),
                selector,
                ports: Some(vec![redis_port]),
                publish_not_ready_addresses: Some(false),
                session_affinity: Some("None".to_owned()),
                ..ServiceSpec::default()
            },
        ),
        Layout::Replicated(_) => (
            input.names.redis_members(),
            ServiceSpec {
                cluster_ip: Some("None".to_owned()),
                publish_not_ready_addresses: Some(true),
                session_affinity: Some("None".to_owned()),
                selector,
                ports: Some(vec![
                    redis_port,
                    port("sentinel", SENTINEL_PORT, "sentinel"),
                ]),
                ..ServiceSpec::default()
            },
        ),
    };
    Service {
        metadata: input.meta(&name, Component::Redis),
        spec: Some(spec),
        ..Service::default()
    }
}
