//! The `HorizontalPodAutoscaler` of the resource itself: it writes the resource's scale, and the operator follows.
//!
//! It goes up at once and down by one pod per drain, so that clients that were told to come back are not told again.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget,
    ResourceMetricSource,
};
use kube::Resource;

use crate::api::{AutoscalingSpec, Scaler, WebSocketGateway};
use crate::gateway::validate::Validated;
use crate::names::Component;

/// How long less must have been enough before a pod goes, in seconds.
const CALM: i32 = 300;
/// The longest period that Kubernetes takes, in seconds.
const PERIOD_MAX: u64 = 1800;

pub(super) fn build(input: &Validated) -> Option<HorizontalPodAutoscaler> {
    let AutoscalingSpec {
        enabled,
        min_replicas,
        max_replicas,
        cpu_utilization,
        scaler,
        keda_triggers: _,
    } = input.autoscaling;
    if !enabled || scaler != Scaler::HorizontalPodAutoscaler {
        return None;
    }
    Some(HorizontalPodAutoscaler {
        metadata: input.meta(input.names.gateway(), Component::Gateway),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some(WebSocketGateway::api_version(&()).into_owned()),
                kind: WebSocketGateway::kind(&()).into_owned(),
                name: input.names.gateway().to_owned(),
            },
            min_replicas: Some(min_replicas),
            max_replicas,
            metrics: Some(vec![cpu(cpu_utilization)]),
            behavior: Some(HorizontalPodAutoscalerBehavior {
                scale_down: Some(one_pod_per_drain(input)),
                scale_up: None,
            }),
        }),
        ..HorizontalPodAutoscaler::default()
    })
}

fn cpu(utilization: i32) -> MetricSpec {
    MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource {
            name: "cpu".to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(utilization),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    }
}

/// How it goes down; KEDA is told the same.
pub(super) fn one_pod_per_drain(input: &Validated) -> HPAScalingRules {
    let drain = input
        .config
        .drain
        .deadline
        .get()
        .as_secs()
        .clamp(1, PERIOD_MAX);
    HPAScalingRules {
        stabilization_window_seconds: Some(CALM),
        policies: Some(vec![HPAScalingPolicy {
            type_: "Pods".to_owned(),
            value: 1,
            // At most 1800, as clamped.
            period_seconds: i32::try_from(drain).unwrap_or(i32::MAX),
        }]),
        ..HPAScalingRules::default()
    }
}
