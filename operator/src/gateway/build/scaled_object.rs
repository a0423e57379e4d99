//! The `ScaledObject` of KEDA, instead of a `HorizontalPodAutoscaler`: it scales the resource itself in the same way.

use kube::Resource;
use serde_json::{Value, json};

use super::autoscaler;
use crate::api::{AutoscalingSpec, Scaler, WebSocketGateway};
use crate::gateway::validate::Validated;
use crate::names::Component;
use crate::owned::{Kind, Object};

pub(super) fn build(input: &Validated) -> Result<Option<Object>, serde_json::Error> {
    let AutoscalingSpec {
        enabled,
        scaler,
        min_replicas,
        max_replicas,
        cpu_utilization: _,
        connections_per_pod: _,
        scale_in_delay: _,
        keda_triggers,
    } = &input.autoscaling;
    if !enabled || *scaler != Scaler::ScaledObject {
        return Ok(None);
    }
    let cpu = input.autoscaling.cpu().map(|utilization| {
        json!({
            "type": "cpu",
            "metricType": "Utilization",
            "metadata": { "value": utilization.to_string() },
        })
    });
    let mut triggers: Vec<Value> = cpu.into_iter().chain(connections(input)).collect();
    for trigger in keda_triggers {
        triggers.push(serde_json::to_value(trigger)?);
    }
    if triggers.is_empty() {
        return Ok(None);
    }
    let spec = json!({
        "scaleTargetRef": {
            "apiVersion": WebSocketGateway::api_version(&()),
            "kind": WebSocketGateway::kind(&()),
            "name": input.names.gateway(),
        },
        "minReplicaCount": min_replicas,
        "maxReplicaCount": max_replicas,
        "advanced": { "horizontalPodAutoscalerConfig": { "behavior": {
            "scaleDown": autoscaler::one_pod_per_drain(input),
        } } },
        "triggers": triggers,
    });
    let meta = input.meta(input.names.gateway(), Component::Gateway);
    Object::extension(Kind::ScaledObject, &meta, &spec).map(Some)
}

/// Has KEDA ask the operator's admin port, which adds up the pods.
fn connections(input: &Validated) -> Option<Value> {
    let per_pod = input.autoscaling.connections_per_pod?;
    let address = input.counted.address.as_ref()?;
    let (namespace, gateway) = (&input.namespace, input.names.gateway());
    Some(json!({
        "type": "metrics-api",
        "metricType": "AverageValue",
        "metadata": {
            "url": format!("{address}/connections/{namespace}/{gateway}"),
            "format": "json",
            "valueLocation": "connections",
            "targetValue": per_pod.to_string(),
        },
    }))
}
