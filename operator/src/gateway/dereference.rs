//! Step 1: reads everything a reconcile depends on, so that the steps after it need no API server.
//!
//! Owned objects come from the watches' caches. Of Secrets only facts are read, and only when their version changed. What
//! is not there is not an error here: `validate` says what that means.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;

use super::live::Live;
use super::validate::RedisMode;
use crate::api::WebSocketGateway;
use crate::context::Context;
use crate::error::Error;
use crate::names::Names;
use crate::owned::Kind;
use crate::secrets::{FreshKeys, SecretFacts};

/// Everything a reconcile depends on.
#[derive(Clone, Debug)]
pub struct Dereferenced {
    /// The resource as it was admitted.
    pub gateway: Arc<WebSocketGateway>,
    /// Its namespace.
    pub namespace: String,
    /// The names derived from its own.
    pub names: Names,
    /// What owned objects carry as their owner.
    pub owner: OwnerReference,
    /// The Secrets that exist among those it refers to or generates.
    pub secrets: BTreeMap<String, SecretFacts>,
    /// The kinds that the cluster has.
    pub served: BTreeSet<Kind>,
    /// Keys for Secrets that are not there yet.
    pub fresh: FreshKeys,
    /// The owned objects as they are.
    pub live: Live,
}

/// Reads what `gateway` depends on.
pub async fn dereference(
    gateway: Arc<WebSocketGateway>,
    context: &Context,
) -> Result<Dereferenced, Error> {
    context.stores.ready().await?;
    let owner = owner_reference(&gateway)?;
    let namespace = gateway
        .metadata
        .namespace
        .clone()
        .ok_or(Error::Incomplete("namespace"))?;
    let names = Names::of(&owner.name);
    let mut secrets = BTreeMap::new();
    for name in secret_names(&gateway) {
        if let Some(facts) = context.secret_facts(&namespace, &name).await? {
            secrets.insert(name, facts);
        }
    }
    let live = context.stores.live(&namespace, names.gateway());
    Ok(Dereferenced {
        gateway,
        namespace,
        names,
        owner,
        secrets,
        served: context.stores.served(),
        fresh: FreshKeys::draw(),
        live,
    })
}

/// Every Secret that a gateway reads: those it refers to and those made for it.
///
/// The watch of Secrets uses the same list to find the gateways that one concerns.
pub fn secret_names(gateway: &WebSocketGateway) -> BTreeSet<String> {
    let names = Names::of(gateway.metadata.name.as_deref().unwrap_or_default());
    let wsc = &gateway.spec.wsc;
    let referred = [
        &wsc.security.jwt.secret_ref,
        &wsc.security.jwt.jwks.secret_ref,
        &wsc.security.jwt.jwks.ca_secret_ref,
        &wsc.security.encryption_key_secret_ref,
        &wsc.security.api_key_secret_ref,
        &wsc.redis.password_secret_ref,
        &wsc.redis.tls.ca_secret_ref,
        &wsc.distributed.etcd.password_secret_ref,
        &wsc.distributed.etcd.tls.ca_secret_ref,
        &wsc.distributed.etcd.tls.cert_secret_ref,
        &wsc.distributed.etcd.tls.key_secret_ref,
        &gateway.spec.telemetry.otlp.headers_secret_ref,
    ];
    let mut found: BTreeSet<String> = referred
        .into_iter()
        .flatten()
        .map(|reference| reference.name.clone())
        .collect();
    let listeners = gateway.spec.listeners.tls();
    found.extend(listeners.map(|(_, _, tls)| tls.secret_name.clone()));
    for hook in &gateway.spec.hooks {
        let tls = hook.tls.as_ref();
        let keys = [
            hook.signing_key_secret_ref.as_ref(),
            hook.second_signing_key_secret_ref.as_ref(),
            tls.and_then(|tls| tls.ca_secret_ref.as_ref()),
        ];
        found.extend(keys.into_iter().flatten().map(|key| key.name.clone()));
    }
    found.insert(names.auth());
    if RedisMode::of(wsc) == RedisMode::Managed {
        found.insert(names.redis());
    }
    found
}

/// Whether a Secret has keys that are drawn for a gateway of this name, whatever its resource says, and whether or not it can
/// be read: what was realised last is held.
pub fn is_drawn_for(gateway: &str, secret: &str) -> bool {
    let names = Names::of(gateway);
    secret == names.auth() || secret == names.redis()
}

/// The owner as owned objects name it.
///
/// `blockOwnerDeletion` stays unset: nothing here needs the resource to outlive its objects, and setting it takes a
/// permission on finalizers.
fn owner_reference(gateway: &WebSocketGateway) -> Result<OwnerReference, Error> {
    let meta = &gateway.metadata;
    Ok(OwnerReference {
        api_version: WebSocketGateway::api_version(&()).into_owned(),
        kind: WebSocketGateway::kind(&()).into_owned(),
        name: meta.name.clone().ok_or(Error::Incomplete("name"))?,
        uid: meta.uid.clone().ok_or(Error::Incomplete("uid"))?,
        controller: Some(true),
        block_owner_deletion: None,
    })
}
