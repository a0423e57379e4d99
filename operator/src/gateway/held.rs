//! What goes on while a resource is rejected: what was realised last is held as it was, by the revision that remembers it.
//!
//! Deleted and edited objects come back, Secrets with drawn keys as well, and `spec.replicas` is followed, since
//! `kubectl scale` and autoscalers go on. Nothing is made that was not there before and nothing is pruned, but the budget of
//! several gateways, which comes and goes with their number. Called by `reconcile`; `build/revision` makes the revision.

mod keys;

use std::sync::Arc;

use kube::Api;
use kube::core::DynamicObject;
use serde_json::{Value, json};
use tracing::warn;

use super::apply::{self, Applied, Verdict};
use super::build::revision::{REPLICAS, mode_word};
use super::build::{Desired, budget, take_unserved};
use super::live::{Live, is_controlled_by};
use super::validate::{RedisMode, Rejection, scaled};
use crate::api::{Mode, WebSocketGateway};
use crate::context::Context;
use crate::error::Error;
use crate::kube_call::within;
use crate::names::{REVISION_MODE, REVISION_REDIS};
use crate::owned::{Kind, Object};

/// What kind of gateway runs, whatever is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Whose pods its gateways run in.
    pub mode: Mode,
    /// Which Redis they use.
    pub redis: RedisMode,
}

/// Whose revision is held, and with how many gateways.
pub struct Asked {
    /// The resource's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// How many gateways it asks for.
    pub replicas: i32,
    /// In whose pods it wants them.
    pub mode: Mode,
}

impl Asked {
    /// By a resource that can be read.
    pub fn by(gateway: &WebSocketGateway) -> Self {
        let meta = &gateway.metadata;
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            replicas: scaled(gateway.spec.replicas, &gateway.spec.autoscaling),
            mode: gateway.spec.mode,
        }
    }
}

impl Running {
    /// What the resource itself asks for.
    pub fn asked_for(gateway: &WebSocketGateway) -> Self {
        Self {
            mode: gateway.spec.mode,
            redis: RedisMode::of(&gateway.spec.wsc),
        }
    }

    /// What was realised last, if that is remembered.
    pub fn remembered(live: &Live, owner_uid: &str) -> Option<Self> {
        let revision = revision(live, owner_uid)?;
        let annotations = revision.metadata.annotations.as_ref()?;
        let (mode, redis) = (
            annotations.get(REVISION_MODE)?,
            annotations.get(REVISION_REDIS)?,
        );
        let mut modes = [Mode::Standalone, Mode::Sidecar].into_iter();
        let mut redises = [RedisMode::None, RedisMode::External, RedisMode::Managed].into_iter();
        Some(Self {
            mode: modes.find(|one| mode_word(*one) == mode)?,
            redis: redises.find(|one| one.as_str() == redis)?,
        })
    }
}

/// The newest revision of this resource. A second one is there only after a reconcile that was cut off.
fn revision<'a>(live: &'a Live, owner_uid: &str) -> Option<&'a Arc<DynamicObject>> {
    live.iter()
        .filter(|(kind, _, object)| {
            *kind == Kind::ControllerRevision && is_controlled_by(object, owner_uid)
        })
        .map(|(_, _, object)| object)
        .max_by_key(|object| object.metadata.creation_timestamp.clone())
}

/// Holds what was realised last, if the resource was rejected and that is remembered.
pub async fn hold(asked: Asked, applied: Applied, context: &Context) -> Result<Applied, Error> {
    let Verdict::Rejected(rejection, _) = &applied.verdict else {
        return Ok(applied);
    };
    let running = Running::remembered(&applied.live, &asked.uid);
    let (Some(running), Some(revision)) = (running, revision(&applied.live, &asked.uid)) else {
        return Ok(applied);
    };
    let asked = Asked {
        replicas: replicas(&asked, running, &applied.live),
        ..asked
    };
    let name = revision.metadata.name.clone().unwrap_or_default();
    let resource = Kind::ControllerRevision.api_resource();
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &asked.namespace, &resource);
    let action = format!(
        "reading ControllerRevision/{name} in namespace {}",
        asked.namespace
    );
    let Some(whole) = within(action, api.get_opt(&name)).await? else {
        return Ok(applied);
    };
    let Some(mut objects) = objects(&whole, &asked) else {
        warn!(
            revision = name,
            "what was realised last cannot be read and is not held"
        );
        return Ok(applied);
    };
    // Those of what is asked for have been applied: they lead to the Secret that is awaited.
    if matches!(rejection, Rejection::CertificatePending { .. }) {
        objects.retain(|object| object.kind != Kind::Certificate);
    }
    let unserved = take_unserved(&mut objects, &context.stores.served());
    let secrets = keys::lacking(&whole, &asked, context).await?;
    let held = Desired {
        gateway: asked.name,
        namespace: asked.namespace,
        mode: running.mode,
        owner_uid: asked.uid,
        secrets,
        awaits: None,
        objects,
        unserved,
        unmeasured: None,
        unimplemented: Vec::new(),
    };
    apply::hold(held, applied, context).await
}

/// As many gateways as the resource says now. One that asks for gateways in other pods does not say.
fn replicas(asked: &Asked, running: Running, live: &Live) -> i32 {
    let deployment = live.get(Kind::Deployment, &asked.name);
    let there = deployment
        .filter(|_| asked.mode != running.mode)
        .and_then(|deployment| deployment.data.pointer("/spec/replicas")?.as_i64())
        .and_then(|replicas| i32::try_from(replicas).ok());
    there.unwrap_or(asked.replicas)
}

/// So many gateways, and never fewer or more than the autoscaler among these objects may choose: it goes on, and what a
/// resource says that cannot be read, or was rejected, is not what it goes by. None is a word of its own.
fn bounded(replicas: i32, bodies: &[Value]) -> i32 {
    let autoscaler = bodies.iter().find_map(|body| {
        let kind = body.get("kind")?.as_str()?;
        let keys = if kind == Kind::HorizontalPodAutoscaler.as_str() {
            ("minReplicas", "maxReplicas")
        } else if kind == Kind::ScaledObject.as_str() {
            ("minReplicaCount", "maxReplicaCount")
        } else {
            return None;
        };
        Some((body.get("spec")?, keys))
    });
    let Some((spec, (least, most))) = autoscaler.filter(|_| replicas > 0) else {
        return replicas;
    };
    let bound = |key: &str| i32::try_from(spec.get(key)?.as_i64()?).ok();
    replicas
        .min(bound(most).unwrap_or(replicas))
        .max(bound(least).unwrap_or(1))
}

/// The objects that a revision remembers, with so many gateways; `None` if one of them is none. Of those that are no cluster there is never more than one.
fn objects(revision: &DynamicObject, asked: &Asked) -> Option<Vec<Object>> {
    let bodies = revision.data.pointer("/data/objects")?.as_array()?;
    let distributed = revision.data.pointer("/data/distributed")?.as_bool()?;
    let replicas = if distributed {
        bounded(asked.replicas, bodies)
    } else {
        asked.replicas.min(1)
    };
    let with_replicas = |body: &Value| {
        let mut body = body.clone();
        if body.get("kind").and_then(Value::as_str) == Some(Kind::Deployment.as_str())
            && let Some(spec) = body.get_mut("spec").and_then(Value::as_object_mut)
        {
            spec.insert(REPLICAS.to_owned(), json!(replicas));
        }
        Object::of_body(body)
    };
    let mut objects = bodies
        .iter()
        .map(with_replicas)
        .collect::<Option<Vec<Object>>>()?;
    budget::is_for_several(&mut objects, &asked.name, replicas);
    Some(objects)
}
