//! The managed Redis' volume: an object of its own and not a claim template, because the templates of a `StatefulSet` can never
//! change, while persistence can be switched and volumes can grow.

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::gateway::validate::{ManagedRedis, Validated};
use crate::names::Component;

pub(super) fn build(input: &Validated, redis: &ManagedRedis) -> PersistentVolumeClaim {
    let size = Quantity(redis.persistence.size.clone());
    PersistentVolumeClaim {
        metadata: input.meta(&input.names.redis(), Component::Redis),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: redis.persistence.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), size)].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
