//! The managed Redis' volumes, one for each pod: objects of their own, because the claim templates of a `StatefulSet` can never
//! change, while persistence can be switched and volumes can grow. A replicated one has a template all the same, since only so
//! has each pod another claim; it finds them made.

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::PersistenceSpec;
use crate::gateway::validate::{Layout, ManagedRedis, Validated};
use crate::names::{Component, REDIS_DATA};

pub(super) fn build(input: &Validated, redis: &ManagedRedis) -> Vec<PersistentVolumeClaim> {
    if !redis.persistence.enabled {
        return Vec::new();
    }
    let names: Vec<String> = match redis.layout {
        Layout::Standalone => vec![input.names.redis()],
        Layout::Replicated(pods) => (0..pods)
            .map(|ordinal| input.names.redis_claim(ordinal))
            .collect(),
    };
    let PersistenceSpec {
        enabled: _,
        size,
        storage_class_name: class,
    } = &redis.persistence;
    let made = names.iter().map(|name| PersistentVolumeClaim {
        metadata: input.meta(name, Component::Redis),
        spec: Some(claim(class.clone(), size)),
        ..PersistentVolumeClaim::default()
    });
    made.collect()
}

/// The template of a set that finds its claims made. It never differs, since it could not change.
pub(super) fn template() -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(REDIS_DATA.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(claim(None, &PersistenceSpec::default().size)),
        ..PersistentVolumeClaim::default()
    }
}

fn claim(class: Option<String>, size: &str) -> PersistentVolumeClaimSpec {
    PersistentVolumeClaimSpec {
        access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
        storage_class_name: class,
        resources: Some(VolumeResourceRequirements {
            requests: Some([("storage".to_owned(), Quantity(size.to_owned()))].into()),
            limits: None,
        }),
        ..PersistentVolumeClaimSpec::default()
    }
}
