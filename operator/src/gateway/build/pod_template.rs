//! The gateway as it is put into pods of the application: a `PodTemplate`, so that the API server judges it when it is
//! applied, and so that pods get the last one that was good, whatever has become of the resource meanwhile.
//!
//! The webhook (`inject`) reads it. Its one container becomes a sidecar there.

use k8s_openapi::api::core::v1::{PodSpec, PodTemplate, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{gateway_container, pod};
use crate::gateway::validate::Validated;
use crate::names::{CONFIG_HASH, Component, HOLDS_APPLICATION};

/// `hash` is of what a running gateway cannot take over; nobody rolls the application's pods, so that here what the
/// container is made of counts as well: a pod with another hash has to be made anew to be as wanted.
pub(super) fn build(input: &Validated, hash: &str) -> Result<PodTemplate, serde_json::Error> {
    let container = gateway_container::container(input);
    let text = serde_json::to_string(&container)?;
    let hash = crate::digest::of_parts([hash.as_bytes(), text.as_bytes()]);
    let mut metadata = input.meta(input.names.gateway(), Component::Gateway);
    let asks_application = |hook: &wsc_config::HookConfig| hook.target.local.is_some();
    if input.config.hooks.iter().any(asks_application) {
        metadata.annotations = Some([(HOLDS_APPLICATION.to_owned(), "true".to_owned())].into());
    }
    Ok(PodTemplate {
        metadata,
        template: Some(PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(input.names.injected()),
                annotations: Some([(CONFIG_HASH.to_owned(), hash)].into()),
                ..ObjectMeta::default()
            }),
            spec: Some(PodSpec {
                image_pull_secrets: pod::pull_secrets(&input.pods),
                termination_grace_period_seconds: Some(gateway_container::grace_period(input)),
                containers: vec![container],
                volumes: Some(gateway_container::volumes(input)),
                ..PodSpec::default()
            }),
        }),
    })
}
