//! Whether every gateway runs what is wanted. Pure.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;

use crate::names::{CONFIG_HASH, Component};
use crate::stores::PodView;

/// Whether no gateway runs an older configuration any more, those that are being emptied included.
pub(super) fn is_done(deployment: &Deployment, pods: &[Arc<PodView>]) -> bool {
    let Some(spec) = &deployment.spec else {
        return false;
    };
    let status = deployment.status.clone().unwrap_or_default();
    let updated = status.updated_replicas.unwrap_or(0);
    let counted = status.observed_generation >= deployment.metadata.generation
        && updated >= spec.replicas.unwrap_or(1)
        && status.replicas.unwrap_or(0) <= updated;
    let annotations = spec
        .template
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.annotations.as_ref());
    let wanted = annotations.and_then(|all| all.get(CONFIG_HASH));
    let is_older = |pod: &Arc<PodView>| {
        pod.component == Component::Gateway && !pod.finished && pod.config_hash.as_ref() != wanted
    };
    counted && !pods.iter().any(is_older)
}
