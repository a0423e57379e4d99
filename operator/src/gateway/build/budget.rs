//! The `PodDisruptionBudgets`. That of the gateway, from two replicas on: with one, it would only keep Kubernetes' nodes from
//! being emptied. It is built for any number, since what is remembered has to do for any, and left out for fewer.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::DisruptionSpec;
use crate::gateway::validate::{Layout, ManagedRedis, Validated};
use crate::names::Component;
use crate::owned::{Kind, Object};

pub(super) fn build(input: &Validated) -> Option<PodDisruptionBudget> {
    let DisruptionSpec {
        enabled,
        max_unavailable,
        min_available,
    } = &input.disruption;
    if !enabled {
        return None;
    }
    let max_unavailable = match (max_unavailable, min_available) {
        (None, None) => Some(IntOrString::Int(1)),
        (given, _) => given.clone(),
    };
    Some(PodDisruptionBudget {
        metadata: input.meta(input.names.gateway(), Component::Gateway),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable,
            min_available: min_available.clone(),
            selector: Some(input.selector()),
            // Without Redis all pods are unready, and yet serve who is there: they must not be evicted all at once. One that
            // never becomes ready goes all the same while the others are.
            unhealthy_pod_eviction_policy: Some("IfHealthyBudget".to_owned()),
        }),
        ..PodDisruptionBudget::default()
    })
}

/// Leaves out that of a gateway of fewer than two pods.
pub(in crate::gateway) fn is_for_several(objects: &mut Vec<Object>, gateway: &str, replicas: i32) {
    let is_its =
        |object: &Object| object.kind == Kind::PodDisruptionBudget && object.name == gateway;
    objects.retain(|object| replicas > 1 || !is_its(object));
}

/// One pod of a replicated Redis at a time, whatever the resource says of gateways: two may be most of them.
pub(super) fn redis(input: &Validated, redis: &ManagedRedis) -> Option<PodDisruptionBudget> {
    match redis.layout {
        Layout::Standalone => None,
        Layout::Replicated(_) => Some(PodDisruptionBudget {
            metadata: input.meta(&input.names.redis(), Component::Redis),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                selector: Some(LabelSelector {
                    match_labels: Some(input.names.selector(Component::Redis)),
                    match_expressions: None,
                }),
                ..PodDisruptionBudgetSpec::default()
            }),
            ..PodDisruptionBudget::default()
        }),
    }
}
