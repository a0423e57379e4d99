//! The Secrets with drawn keys of what was realised last: one that somebody deleted is made anew, one that lacks a key is
//! completed, as when the resource is accepted.
//!
//! What was in it nobody remembers, so that a password of Redis is another one then. The pods that begin anew with it carry
//! a digest of it in their template, and are told the new one: a Redis that went on with the old password would refuse the
//! gateways, which read the new one from their file.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::Asked;
use crate::context::Context;
use crate::error::Error;
use crate::gateway::build::{SecretWrite, secret};
use crate::gateway::validate::Drawn;
use crate::names::{Names, PASSWORD_HASH, REDIS_PASSWORD};
use crate::secrets::{FreshKeys, fact};

/// What there is to do about drawn keys, and what pods have to know of them.
#[derive(Default)]
pub(super) struct Keys {
    /// Secrets to make or to complete.
    pub(super) writes: Vec<SecretWrite>,
    /// The digest of Redis' password.
    password: Option<String>,
}

impl Keys {
    /// Tells the password to a body whose pods begin anew with it.
    pub(super) fn tell(&self, body: &mut Value) {
        let annotations = body.pointer_mut("/spec/template/metadata/annotations");
        let annotations = annotations.and_then(Value::as_object_mut);
        let told = annotations.and_then(|annotations| annotations.get_mut(PASSWORD_HASH));
        if let (Some(told), Some(password)) = (told, &self.password) {
            *told = json!(password);
        }
    }
}

/// Looks at the Secrets whose keys were drawn for what `revision` remembers. What somebody else has put in the place of one
/// is left to them.
pub(super) async fn look(
    revision: &DynamicObject,
    asked: &Asked,
    context: &Context,
) -> Result<Keys, Error> {
    let (names, fresh) = (Names::of(&asked.name), FreshKeys::draw());
    let mut keys = Keys::default();
    for drawn in remembered(revision) {
        let facts = context.secret_facts(&asked.namespace, &drawn.name).await?;
        let facts = facts.as_ref();
        if facts.is_some_and(|facts| !facts.is_owned_by(&asked.uid)) {
            continue;
        }
        let lacking = drawn.lacking(facts, &fresh);
        let made = lacking.as_ref().and_then(|lacking| {
            let password = lacking.missing.get(REDIS_PASSWORD)?;
            Some(fact(password.as_bytes()))
        });
        let there = facts.and_then(|facts| facts.usable(REDIS_PASSWORD).cloned());
        if let Some(password) = made.or(there) {
            keys.password = Some(password.password_hash());
        }
        keys.writes.extend(lacking.map(|lacking| {
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
    Ok(keys)
}

/// The Secrets that a revision names. One of an earlier release names none.
fn remembered(revision: &DynamicObject) -> Vec<Drawn> {
    let told = revision.data.pointer("/data/drawn").cloned();
    let told: Option<BTreeMap<String, Vec<String>>> =
        told.and_then(|told| serde_json::from_value(told).ok());
    let told = told.unwrap_or_default().into_iter();
    told.map(|(name, keys)| Drawn { name, keys }).collect()
}
