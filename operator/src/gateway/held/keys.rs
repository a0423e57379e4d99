//! The Secrets with drawn keys of what was realised last: one that somebody deleted is made anew, one that lacks a key is
//! completed, as when the resource is accepted.
//!
//! What was in it nobody remembers, so that a password of Redis is another one then. Running pods take it over: Redis' pod has
//! its own note of the one that it began with.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;

use super::Asked;
use crate::context::Context;
use crate::error::Error;
use crate::gateway::build::{SecretWrite, secret};
use crate::gateway::validate::Drawn;
use crate::names::Names;
use crate::secrets::FreshKeys;

/// What there is to write of the Secrets whose keys were drawn for what `revision` remembers. What somebody else has put in the
/// place of one is left to them.
pub(super) async fn lacking(
    revision: &DynamicObject,
    asked: &Asked,
    context: &Context,
) -> Result<Vec<SecretWrite>, Error> {
    let (names, fresh) = (Names::of(&asked.name), FreshKeys::draw());
    let mut writes = Vec::new();
    for drawn in remembered(revision) {
        let facts = context.secret_facts(&asked.namespace, &drawn.name).await?;
        let facts = facts.as_ref();
        if facts.is_some_and(|facts| !facts.is_owned_by(&asked.uid)) {
            continue;
        }
        writes.extend(drawn.lacking(facts, &fresh).map(|lacking| {
            let metadata = ObjectMeta {
                name: Some(drawn.name.clone()),
                namespace: Some(asked.namespace.clone()),
                labels: Some(names.labels(secret::component(&names, &drawn.name))),
                // The owner of the one is that of the other.
                owner_references: revision.metadata.owner_references.clone(),
                ..ObjectMeta::default()
            };
            secret::build(metadata, &lacking)
        }));
    }
    Ok(writes)
}

/// The Secrets that a revision names. One of an earlier release names none.
fn remembered(revision: &DynamicObject) -> Vec<Drawn> {
    let told = revision.data.pointer("/data/drawn").cloned();
    let told: Option<BTreeMap<String, Vec<String>>> =
        told.and_then(|told| serde_json::from_value(told).ok());
    let told = told.unwrap_or_default().into_iter();
    told.map(|(name, keys)| Drawn { name, keys }).collect()
}
