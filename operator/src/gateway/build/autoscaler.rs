//! The `HorizontalPodAutoscaler` of the resource itself: it writes the resource's scale, and the operator follows.
//!
//! It goes up at once and down by one pod per drain, so that clients that were told to come back are not told again. With
//! nothing to go by there is none: Kubernetes would put a metric of its own there.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, ExternalMetricSource, HPAScalingPolicy, HPAScalingRules,
    HorizontalPodAutoscaler, HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec,
    MetricIdentifier, MetricSpec, MetricTarget, ResourceMetricSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Resource;

use crate::api::{AutoscalingSpec, Scaler, WebSocketGateway};
use crate::gateway::validate::{ExternalMetrics, Validated};
use crate::metrics_api::CONNECTIONS;
use crate::names::{Component, GATEWAY_LABEL};

/// The longest time in which less must have been enough that Kubernetes takes, in seconds.
const CALM_MAX: u64 = 3600;
/// The longest period that Kubernetes takes, in seconds.
const PERIOD_MAX: u64 = 1800;

pub(super) fn build(input: &Validated) -> Option<HorizontalPodAutoscaler> {
    let AutoscalingSpec {
        enabled,
        min_replicas,
        max_replicas,
        cpu_utilization: _,
        connections_per_pod: _,
        scale_in_delay: _,
        scaler,
        keda_triggers: _,
    } = input.autoscaling;
    let metrics = metrics(input);
    if !enabled || scaler != Scaler::HorizontalPodAutoscaler || metrics.is_empty() {
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
            metrics: Some(metrics),
            behavior: Some(HorizontalPodAutoscalerBehavior {
                scale_down: Some(one_pod_per_drain(input)),
                scale_up: None,
            }),
        }),
        ..HorizontalPodAutoscaler::default()
    })
}

/// Why nothing scales on connections although it should.
pub(super) fn unmeasured(input: &Validated) -> Option<&'static str> {
    let AutoscalingSpec {
        enabled, scaler, ..
    } = input.autoscaling;
    if !enabled || input.autoscaling.connections_per_pod.is_none() {
        return None;
    }
    match scaler {
        Scaler::HorizontalPodAutoscaler => (input.counted.external_metrics
            == ExternalMetrics::Absent)
            .then_some(
                "spec.autoscaling.connectionsPerPod: nothing scales on connections, since this operator does not serve external.metrics.k8s.io: set metricsApi.enabled of its chart; where KEDA is, set spec.autoscaling.scaler: ScaledObject instead; or take the key out",
            ),
        Scaler::ScaledObject => input.counted.address.is_none().then_some(
            "spec.autoscaling.connectionsPerPod: nothing scales on connections, since the operator has no Service at which KEDA could ask: set metricsService.enabled of its chart, or take the key out",
        ),
    }
}

/// What it goes by.
fn metrics(input: &Validated) -> Vec<MetricSpec> {
    let served = input.counted.external_metrics == ExternalMetrics::Served;
    let per_pod = input.autoscaling.connections_per_pod;
    let connections = per_pod
        .filter(|_| served)
        .map(|per_pod| connections(input, per_pod));
    let cpu = input.autoscaling.cpu().map(cpu);
    cpu.into_iter().chain(connections).collect()
}

fn connections(input: &Validated, per_pod: i32) -> MetricSpec {
    let gateway = [(GATEWAY_LABEL.to_owned(), input.names.gateway().to_owned())];
    MetricSpec {
        type_: "External".to_owned(),
        external: Some(ExternalMetricSource {
            metric: MetricIdentifier {
                name: CONNECTIONS.to_owned(),
                selector: Some(LabelSelector {
                    match_labels: Some(gateway.into()),
                    match_expressions: None,
                }),
            },
            target: MetricTarget {
                type_: "AverageValue".to_owned(),
                average_value: Some(Quantity(per_pod.to_string())),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    }
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
    let calm = input.autoscaling.scale_in_delay.get().as_secs();
    HPAScalingRules {
        // At most 3600, as cut.
        stabilization_window_seconds: i32::try_from(calm.min(CALM_MAX)).ok(),
        policies: Some(vec![HPAScalingPolicy {
            type_: "Pods".to_owned(),
            value: 1,
            // At most 1800, as clamped.
            period_seconds: i32::try_from(drain).unwrap_or(i32::MAX),
        }]),
        ..HPAScalingRules::default()
    }
}
