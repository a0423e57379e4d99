//! The `ControllerRevision` that remembers what was realised, so that it can be held while what comes next is rejected.
//!
//! It holds the objects and not the resource: a Secret that is gone takes nothing from them, and nothing has to be
//! validated again. Keys are in none of them: of Secrets with drawn keys only the names are told, so that one that is gone
//! can be made anew. It is what Kubernetes keeps its own revisions in: what is in it cannot be
//! changed, and who may edit a namespace may not write it, so that nobody has the operator apply what they may not
//! themselves. Written last, named after its content, read by `held`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::Mode;
use crate::digest;
use crate::gateway::validate::{RedisMode, Validated};
use crate::names::{Component, REVISION_MODE, REVISION_REDIS};
use crate::owned::{Kind, Object};

/// Where a Deployment has its number of pods. That changes without the rest, and is always the resource's own.
pub(in crate::gateway) const REPLICAS: &str = "replicas";

pub(super) fn build(input: &Validated, objects: &[Object]) -> Result<Object, serde_json::Error> {
    let redis = match &input.redis {
        Some(_) => RedisMode::Managed,
        None if input.config.wsc.redis.is_configured() => RedisMode::External,
        None => RedisMode::None,
    };
    let bodies: Vec<Value> = objects.iter().map(remembered).collect();
    let drawn = input.secrets.drawn.iter();
    let drawn: BTreeMap<&str, &[String]> = drawn
        .map(|secret| (secret.name.as_str(), secret.keys.as_slice()))
        .collect();
    let data = json!({
        "distributed": input.config.wsc.distributed.enabled, "drawn": drawn, "objects": bodies,
    });
    let (mode, redis) = (mode_word(input.mode), redis.as_str());
    let parts = [data.to_string(), mode.to_owned(), redis.to_owned()];
    let digest = digest::of_parts(parts.iter().map(String::as_bytes));
    let name = input.names.revision(&digest);
    let mut meta = input.meta(&name, Component::Gateway);
    let words = [(REVISION_MODE, mode), (REVISION_REDIS, redis)];
    meta.annotations = Some(
        words
            .map(|(key, word)| (key.to_owned(), word.to_owned()))
            .into(),
    );
    let resource = Kind::ControllerRevision.api_resource();
    let body = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": serde_json::to_value(meta)?,
        "revision": 1,
        "data": data,
    });
    Ok(Object::of(Kind::ControllerRevision, name, body))
}

/// The word for a mode in the annotation.
pub(in crate::gateway) const fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Standalone => "Standalone",
        Mode::Sidecar => "Sidecar",
    }
}

/// Without the number of pods, and without the digest that counts it in.
fn remembered(object: &Object) -> Value {
    let mut body = object.without_digest();
    if object.kind == Kind::Deployment
        && let Some(spec) = body.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.remove(REPLICAS);
    }
    body
}
