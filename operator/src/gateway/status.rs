//! Step 5: says in the status what is so, and in events what changed. Computed purely, written only when it differs.

mod autoscalers;
mod compute;
mod conditions;
mod events;
mod redis;
mod routes;
mod sidecars;
mod single;

use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Resource};
use serde_json::{Value, json};
use tracing::warn;

use super::apply::{Applied, Verdict};
use crate::api::WebSocketGateway;
use crate::context::Context;
use crate::error::Error;
use crate::kube_call::{is_gone, within};

pub use compute::{Seen, compute};
pub(super) use single::{Single, say};

/// The field manager of the status; apart from that of objects, since the resource itself is the user's.
const STATUS_MANAGER: &str = "wsc-operator-status";

/// Writes the status if it differs, publishes what changed, and hands on why the reconcile must be tried again.
pub async fn report(
    gateway: &WebSocketGateway,
    applied: Applied,
    context: &Context,
) -> Result<Outcome, Error> {
    let namespace = gateway.metadata.namespace.as_deref().unwrap_or_default();
    let name = gateway.metadata.name.as_deref().unwrap_or_default();
    let pods = context.stores.pods().group(namespace, name);
    let now = Timestamp::now();
    let lacking = context.stores.lacking();
    let status = compute(&Seen {
        gateway,
        applied: &applied,
        pods: &pods,
        lacking: &lacking,
        counts: context.census.counts(namespace, name).as_ref(),
        now,
    });
    let before = gateway.status.clone().unwrap_or_default();
    if status != before {
        write(&gateway.metadata, &serde_json::to_value(&status)?, context).await?;
    }
    let reference = gateway.object_ref(&());
    for event in events::between(&before, &status, &applied.changes) {
        // An event that is lost is no reason to do anything again.
        if let Err(error) = context.publish(&event, &reference).await {
            warn!(error = error.chain(), "an event was not published");
        }
    }
    match applied.verdict {
        // Nothing tells when it has lasted for long enough to be said, nor when a right is back.
        Verdict::Realised | Verdict::Paused
            if !lacking.is_empty()
                || autoscalers::complaint(&applied.live, now) == autoscalers::Complaint::Fresh =>
        {
            Ok(Outcome::Waiting)
        }
        Verdict::Realised | Verdict::Paused => Ok(Outcome::Settled),
        Verdict::Rejected(_, None) => Ok(Outcome::Waiting),
        Verdict::Rejected(_, Some(error)) | Verdict::Failed(error) => Err(error),
    }
}

/// What a reconcile came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left to do.
    Settled,
    /// Somebody has to mend something; what cannot be watched is looked at again soon.
    Waiting,
}

/// Writes a whole status.
pub(super) async fn write(
    resource: &ObjectMeta,
    status: &Value,
    context: &Context,
) -> Result<(), Error> {
    let namespace = resource.namespace.as_deref().unwrap_or_default();
    let name = resource.name.as_deref().unwrap_or_default();
    let body = json!({
        "apiVersion": WebSocketGateway::api_version(&()),
        "kind": WebSocketGateway::kind(&()),
        // A namesake that was made meanwhile gets its own status.
        "metadata": { "name": name, "uid": resource.uid },
        "status": status,
    });
    let params = PatchParams::apply(STATUS_MANAGER).force();
    // Not in the resource's own type: it may be one that cannot be read.
    let kind = ApiResource::erase::<WebSocketGateway>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &kind);
    let patch = Patch::Apply(&body);
    let action = format!("writing the status of {namespace}/{name}");
    match within(action, api.patch_status(name, &params, &patch)).await {
        Ok(_) => context.metrics.wrote_status(),
        // The resource was deleted meanwhile.
        Err(error) if is_gone(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
