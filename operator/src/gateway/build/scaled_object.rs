//! The `ScaledObject` of KEDA, instead of a `HorizontalPodAutoscaler`: it scales the resource itself in the same way.

use kube::Resource;
use serde_json::json;

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
        cpu_utilization,
        keda_triggers,
    } = &input.autoscaling;
    if !enabled || *scaler != Scaler::ScaledObject {
        return Ok(None);
    }
    let cpu = json!({
        "type": "cpu",
        "metricType": "Utilization",
        "metadata": { "value": cpu_utilization.to_string() },
    });
    let mut triggers = vec![cpu];
    for trigger in keda_triggers {
        triggers.push(serde_json::to_value(trigger)?);
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
