//! A resource that this release cannot read, since a CRD of another one let it through: says so in its condition `Accepted`,
//! and holds what was realised last. Everything else of its status is left as it was. Called by `controller`.

use kube::Api;
use kube::api::ObjectMeta;
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use super::apply::{Applied, Verdict};
use super::held::{self, Asked};
use super::status::{Single, say};
use super::validate::Rejection;
use crate::api::{Mode, WebSocketGateway};
use crate::context::Context;
use crate::error::Error;
use crate::kube_call::within;

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
    let single = Single {
        kind: "Accepted",
        status: "False",
        reason: rejection.reason(),
        message: rejection.to_string(),
    };
    say(&found, single, context).await?;
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
