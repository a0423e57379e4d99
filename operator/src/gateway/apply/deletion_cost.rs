//! Before a scale-in: each pod is told how many connections it holds, so that the emptiest go first.
//!
//! Kubernetes takes away the pods with the lowest `controller.kubernetes.io/pod-deletion-cost`. It is written only here,
//! a moment before the Deployment shrinks: kept current all the time it would be a write per pod and minute for nothing.
//! What cannot be written does not hold up the scale-in, which drains whichever pod goes.

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use tracing::debug;

use crate::census::PodCount;
use crate::context::Context;
use crate::error::Error;
use crate::gateway::build::Desired;
use crate::kube_call::within;
use crate::names::{DELETION_COST, MANAGER};
use crate::stores::Role;

/// Pods told at a time.
const AT_A_TIME: usize = 16;

/// Whether the wanted Deployment has fewer pods than the one that is there.
pub(super) fn shrinks(live: &DynamicObject, wanted: &Value) -> bool {
    let replicas = |body: &Value| body.pointer("/spec/replicas").and_then(Value::as_i64);
    replicas(&live.data) > replicas(wanted)
}

/// Tells every pod of the gateway what it would cost to lose it.
pub(super) async fn tell_pods(desired: &Desired, context: &Context) {
    let (namespace, gateway) = (&desired.namespace, &desired.gateway);
    // Nobody has been asked yet: the order is left to Kubernetes.
    let Some(counts) = context.census.latest(namespace, gateway) else {
        return;
    };
    let pods = context.stores.pods().group(namespace, gateway);
    let serving = pods
        .iter()
        .filter(|pod| pod.role == Role::Gateway && !pod.terminating && !pod.finished);
    let costs: Vec<(String, i32)> = serving
        .map(|pod| (pod.name.clone(), cost(counts.get(&pod.name))))
        .collect();
    let api: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let writes = costs.into_iter().map(|(pod, cost)| {
        let api = api.clone();
        async move {
            if let Err(error) = write(&api, &pod, cost).await {
                debug!(pod, %error, "a pod was not told what it costs to lose it");
            }
        }
    });
    stream::iter(writes)
        .buffer_unordered(AT_A_TIME)
        .collect::<()>()
        .await;
}

/// The annotation holds 32 bits. A pod of which nothing is known may be full: it goes last. One that is not ready goes first
/// all the same, before costs are looked at.
fn cost(count: Option<&PodCount>) -> i32 {
    let connections = count.map(PodCount::connections);
    connections
        .and_then(|connections| i32::try_from(connections).ok())
        .unwrap_or(i32::MAX)
}

async fn write(api: &Api<Pod>, pod: &str, cost: i32) -> Result<(), Error> {
    let patch = json!({ "metadata": { "annotations": { DELETION_COST: cost.to_string() } } });
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let action = format!("telling Pod/{pod} what it costs to lose it");
    within(action, api.patch(pod, &params, &Patch::Merge(&patch)))
        .await
        .map(drop)
}
