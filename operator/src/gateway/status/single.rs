//! One condition told by itself, where the rest of the status cannot be computed: it stays as it was, and so do the others.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::events::{Event, EventType};
use serde_json::json;
use tracing::warn;

use crate::api::WebSocketGateway;
use crate::context::Context;
use crate::error::Error;
use crate::kube_call::is_invalid;

/// What is told.
pub(in crate::gateway) struct Single {
    /// The condition.
    pub(in crate::gateway) kind: &'static str,
    /// Its status, which is bad news.
    pub(in crate::gateway) status: &'static str,
    /// Its reason, and that of the event.
    pub(in crate::gateway) reason: &'static str,
    /// In words.
    pub(in crate::gateway) message: String,
}

/// Writes the condition, and an event, unless they are there.
pub(in crate::gateway) async fn say(
    found: &DynamicObject,
    single: Single,
    context: &Context,
) -> Result<(), Error> {
    let mut status = found
        .data
        .get("status")
        .cloned()
        .unwrap_or_else(|| json!({}));
    let before: Vec<Condition> = status
        .get("conditions")
        .and_then(|all| serde_json::from_value(all.clone()).ok())
        .unwrap_or_default();
    let last = before.iter().find(|old| old.type_ == single.kind);
    let since = last.filter(|old| old.status == single.status);
    let now = Timestamp::now();
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let condition = Condition {
        type_: single.kind.to_owned(),
        status: single.status.to_owned(),
        reason: single.reason.to_owned(),
        message: single.message.clone(),
        observed_generation: found.metadata.generation,
        last_transition_time: since.map_or(Time(now), |old| old.last_transition_time.clone()),
    };
    if last == Some(&condition) {
        return Ok(());
    }
    let mut conditions = vec![condition];
    conditions.extend(before.into_iter().filter(|old| old.type_ != single.kind));
    if let Some(fields) = status.as_object_mut() {
        fields.insert("conditions".to_owned(), serde_json::to_value(conditions)?);
    }
    match super::write(&found.metadata, &status, context).await {
        // The CRD takes the resource for wrong as a whole; the event tells then.
        Err(error) if is_invalid(&error) => {
            if !context.tells(&found.metadata, single.reason) {
                return Ok(());
            }
            warn!(error = error.chain(), "a condition was refused");
        }
        done => done?,
    }
    let event = Event {
        type_: EventType::Warning,
        reason: single.reason.to_owned(),
        note: Some(single.message),
        action: single.kind.to_owned(),
        secondary: None,
    };
    let reference = found.object_ref(&ApiResource::erase::<WebSocketGateway>(&()));
    if let Err(error) = context.publish(&event, &reference).await {
        warn!(error = error.chain(), "an event was not published");
    }
    Ok(())
}
