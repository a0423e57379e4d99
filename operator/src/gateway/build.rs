//! Step 3: the whole objects that a validated resource stands for. Pure: the same input gives the same bytes.
//!
//! One file per owned object. To add one: write its file, add it to [`build`], and add its kind to `owned::Kind` and its
//! verbs to `access` if they are new; the compiler and the golden files ask for the rest.

mod autoscaler;
pub(super) mod budget;
mod certificate;
mod config_map;
mod deployment;
mod gateway_container;
mod ingress;
mod monitor;
mod monitor_alerts;
mod monitor_dashboard;
mod network_policy;
mod nodes_service;
mod pod;
mod pod_template;
mod redis_config;
mod redis_members;
mod redis_service;
mod redis_set;
mod redis_volume;
pub(super) mod revision;
mod route;
mod scaled_object;
pub(super) mod secret;
mod service;
mod service_account;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;

use super::validate::{ManagedRedis, Rejection, Validated};
use crate::api::Mode;
use crate::error::Error;
use crate::owned::{Kind, Object};

pub use secret::SecretWrite;

/// The port of the managed Redis.
pub const REDIS_PORT: u16 = 6379;

/// The port of its Sentinels.
pub const SENTINEL_PORT: u16 = 26379;

/// What its Sentinels call the primary.
pub const PRIMARY: &str = "main";

/// Everything a resource stands for.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Its name, for pruning.
    pub gateway: String,
    /// Its namespace.
    pub namespace: String,
    /// Whose pods its gateways run in.
    pub mode: Mode,
    /// Its uid: what owned objects are recognised by.
    pub owner_uid: String,
    /// Secrets to make or to complete, before anything else.
    pub secrets: Vec<SecretWrite>,
    /// Why only what leads to a Secret is applied for now, and everything else is left as it is.
    pub awaits: Option<Rejection>,
    /// Objects to apply, in this order.
    pub objects: Vec<Object>,
    /// Kinds that are wanted and that the cluster has not: nothing was built of them.
    pub unserved: BTreeSet<Kind>,
    /// Why nothing scales on connections although it should.
    pub unmeasured: Option<&'static str>,
    /// Keys of the resource that this release does not act on.
    pub unimplemented: Vec<String>,
}

/// Builds every object.
pub fn build(input: &Validated) -> Result<Desired, Error> {
    let awaits = input.secrets.awaited.clone();
    let mut objects = certificate::build(input)?;
    if awaits.is_none() {
        objects.extend(everything_else(input)?);
        let revision = revision::build(input, &objects)?;
        budget::is_for_several(&mut objects, input.names.gateway(), input.replicas);
        objects.push(revision);
    }
    let unserved = take_unserved(&mut objects, &input.served);
    let secrets = input.secrets.generate.iter();
    Ok(Desired {
        gateway: input.names.gateway().to_owned(),
        namespace: input.namespace.clone(),
        mode: input.mode,
        owner_uid: input.owner.uid.clone(),
        secrets: secrets
            .map(|generated| {
                let component = secret::component(&input.names, &generated.name);
                secret::build(input.meta(&generated.name, component), generated)
            })
            .collect(),
        awaits,
        objects,
        unserved,
        unmeasured: autoscaler::unmeasured(input),
        unimplemented: input.unimplemented.clone(),
    })
}

/// What needs no more than the Secrets that are there.
fn everything_else(input: &Validated) -> Result<Vec<Object>, Error> {
    let file = config_map::file(input)?;
    // Only what a running gateway cannot take over: the rest reaches it through its files.
    let fixed = input.config.fixed().to_string();
    let hash = crate::digest::of_parts([fixed.as_bytes(), input.secrets.digest.as_bytes()]);
    let mut objects = vec![
        Object::new(Kind::ServiceAccount, &service_account::build(input))?,
        Object::new(Kind::ConfigMap, &config_map::build(input, file))?,
        Object::new(Kind::Service, &service::build(input))?,
        Object::new(Kind::Service, &nodes_service::build(input))?,
    ];
    let policies = [network_policy::gateway(input), network_policy::redis(input)];
    for policy in policies.iter().flatten() {
        objects.push(Object::new(Kind::NetworkPolicy, policy)?);
    }
    if let Some(ingress) = ingress::build(input) {
        objects.push(Object::new(Kind::Ingress, &ingress)?);
    }
    objects.extend(route::build(input)?);
    objects.extend(monitor::build(input)?);
    if let Some(redis) = &input.redis {
        objects.extend(managed_redis(input, redis)?);
    }
    match input.mode {
        Mode::Standalone => objects.extend(own_pods(input, &hash)?),
        Mode::Sidecar => {
            let template = pod_template::build(input, &hash)?;
            objects.push(Object::new(Kind::PodTemplate, &template)?);
        }
    }
    Ok(objects)
}

/// The managed Redis, and what spares it.
fn managed_redis(input: &Validated, redis: &ManagedRedis) -> Result<Vec<Object>, Error> {
    let mut objects = vec![
        Object::new(Kind::ConfigMap, &redis_config::build(input, redis))?,
        Object::new(Kind::Service, &redis_service::build(input, redis))?,
    ];
    for claim in redis_volume::build(input, redis) {
        objects.push(Object::new(Kind::PersistentVolumeClaim, &claim)?);
    }
    objects.push(Object::new(
        Kind::StatefulSet,
        &redis_set::build(input, redis),
    )?);
    if let Some(budget) = budget::redis(input, redis) {
        objects.push(Object::new(Kind::PodDisruptionBudget, &budget)?);
    }
    Ok(objects)
}

/// Gateways in pods of their own, and what scales and spares them.
fn own_pods(input: &Validated, hash: &str) -> Result<Vec<Object>, Error> {
    let mut objects = Vec::with_capacity(3);
    if let Some(budget) = budget::build(input) {
        objects.push(Object::new(Kind::PodDisruptionBudget, &budget)?);
    }
    objects.push(Object::new(
        Kind::Deployment,
        &deployment::build(input, hash),
    )?);
    if let Some(autoscaler) = autoscaler::build(input) {
        objects.push(Object::new(Kind::HorizontalPodAutoscaler, &autoscaler)?);
    }
    objects.extend(scaled_object::build(input)?);
    Ok(objects)
}

/// Takes out the objects whose kind the cluster has not, and gives these kinds.
pub fn take_unserved(objects: &mut Vec<Object>, served: &BTreeSet<Kind>) -> BTreeSet<Kind> {
    objects
        .extract_if(.., |object| !served.contains(&object.kind))
        .map(|object| object.kind)
        .collect()
}

/// A Secret in the form that is written; used by the golden files as well.
impl SecretWrite {
    /// The Secret.
    pub fn secret(&self) -> &Secret {
        match self {
            Self::Create(secret) | Self::Complete(secret) | Self::Agree(secret) => secret,
        }
    }
}
