//! A resource that this release cannot read, since a CRD of another one let it through: says so in its condition `Accepted`,
//! and holds what was realised last. Everything else of its status is left as it was. Called by `controller`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource};
use serde_json::{Value, json};
use tracing::warn;

use super::apply::{Applied, Verdict};
use super::held::{self, Asked};
use super::status;
use super::validate::Rejection;
use crate::api::{Mode, WebSocketGateway};
use crate::context::Context;
use crate::error::Error;
use crate::kube_call::{is_invalid, within};

/// Tells why, and holds what was realised last.
pub async fn tell(metadata: &ObjectMeta, why: &str, context: &Context) -> Result<(), Error> {
    if metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    context.stores.ready().await?;
    let namespace = metadata
        .namespace
        .clone()
        .ok_or(Error::Incomplete("namespace"))?;
    let name = metadata.name.clone().ok_or(Error::Incomplete("name"))?;
    let resource = ApiResource::erase::<WebSocketGateway>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &namespace, &resource);
    let action = format!("reading {namespace}/{name}");
    let Some(found) = within(action, api.get_opt(&name)).await? else {
        return Ok(());
    };
    let rejection = Rejection::Unreadable(why.to_owned());
    say(&found, &rejection, context).await?;
    if found.data.pointer("/spec/paused") == Some(&json!(true)) {
        return Ok(());
    }
    let live = context.stores.live(&namespace, &name);
    let applied = Applied::nothing(live, Verdict::rejected(rejection));
    let asked = asked(&found, namespace, name);
    match held::hold(asked, applied, context).await?.verdict {
        Verdict::Rejected(_, Some(error)) | Verdict::Failed(error) => Err(error),
        Verdict::Rejected(_, None) | Verdict::Realised | Verdict::Paused => Ok(()),
    }
}

/// As much of the resource as can be read.
fn asked(found: &DynamicObject, namespace: String, name: String) -> Asked {
    let replicas = found.data.pointer("/spec/replicas").and_then(Value::as_i64);
    let mode = found.data.pointer("/spec/mode").and_then(Value::as_str);
    Asked {
        namespace,
        name,
        uid: found.metadata.uid.clone().unwrap_or_default(),
        // The API server's default.
        replicas: replicas
            .and_then(|number| i32::try_from(number).ok())
            .unwrap_or(1),
        mode: if mode == Some("Sidecar") {
            Mode::Sidecar
        } else {
            Mode::Standalone
        },
    }
}

/// Writes the condition, and an event, unless they are there.
async fn say(found: &DynamicObject, rejection: &Rejection, context: &Context) -> Result<(), Error> {
    let status = found
        .data
        .get("status")
        .cloned()
        .unwrap_or_else(|| json!({}));
    let before: Vec<Condition> = status
        .get("conditions")
        .and_then(|all| serde_json::from_value(all.clone()).ok())
        .unwrap_or_default();
    let last = before.iter().find(|old| old.type_ == "Accepted");
    let since = last.filter(|old| old.status == "False");
    let now = Timestamp::now();
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let condition = Condition {
        type_: "Accepted".to_owned(),
        status: "False".to_owned(),
        reason: rejection.reason().to_owned(),
        message: rejection.to_string(),
        observed_generation: found.metadata.generation,
        last_transition_time: since.map_or(Time(now), |old| old.last_transition_time.clone()),
    };
    if last == Some(&condition) {
        return Ok(());
    }
    let mut conditions = vec![condition];
    conditions.extend(before.into_iter().filter(|old| old.type_ != "Accepted"));
    let mut status = status;
    if let Some(fields) = status.as_object_mut() {
        fields.insert("conditions".to_owned(), serde_json::to_value(conditions)?);
    }
    match status::write(&found.metadata, &status, context).await {
        // The CRD of this release takes the resource for wrong as a whole; the event tells then.
        Err(error) if is_invalid(&error) => {
            warn!(
                error = error.chain(),
                "the status of a resource that cannot be read was refused"
            );
        }
        done => done?,
    }
    let event = Event {
        type_: EventType::Warning,
        reason: rejection.reason().to_owned(),
        note: Some(rejection.to_string()),
        action: "Accepted".to_owned(),
        secondary: None,
    };
    let reference = found.object_ref(&ApiResource::erase::<WebSocketGateway>(&()));
    if let Err(error) = context.publish(&event, &reference).await {
        warn!(error = error.chain(), "an event was not published");
    }
    Ok(())
}
