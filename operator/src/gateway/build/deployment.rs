//! The gateways in pods of their own.
//!
//! Rollouts surge first and never take a pod away before its successor is ready; the grace period leaves room for the
//! whole drain. Two rounds are enough for all pods, so that who is sent away twice is where they stay. The pod template carries the hash of what a running gateway cannot take over, so that a change of that
//! rolls out; other changes of configuration and keys reach running pods through their files.

use k8s_openapi::DeepMerge;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{gateway_container, pod};
use crate::api::SchedulingSpec;
use crate::gateway::validate::Validated;
use crate::names::{CONFIG_HASH, Component};

pub(super) fn build(input: &Validated, hash: &str) -> Deployment {
    Deployment {
        metadata: input.meta(input.names.gateway(), Component::Gateway),
        spec: Some(DeploymentSpec {
            replicas: Some(input.replicas),
            selector: input.selector(),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    // Rounded up by Kubernetes: at least one, and never more than two rounds. A client of the first may come to a
                    // pod of the second, and nobody to a third; with a quarter, one in sixteen would be told three times.
                    max_surge: Some(IntOrString::String("50%".to_owned())),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            revision_history_limit: Some(3),
            // Said, so that one that somebody paused goes on.
            paused: Some(false),
            template: template(input, hash),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// The pods as the operator makes them, and what the user lays over that.
fn template(input: &Validated, hash: &str) -> PodTemplateSpec {
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(input.names.labels(Component::Gateway)),
            annotations: Some([(CONFIG_HASH.to_owned(), hash.to_owned())].into()),
            ..ObjectMeta::default()
        }),
        spec: Some(pod_spec(input)),
    };
    template.merge_from(input.pods.overlay.clone());
    template
}

fn pod_spec(input: &Validated) -> PodSpec {
    let SchedulingSpec {
        node_selector,
        tolerations,
        affinity,
        topology_spread_constraints,
        priority_class_name,
    } = &input.pods.scheduling;
    PodSpec {
        service_account_name: Some(input.names.gateway().to_owned()),
        automount_service_account_token: Some(false),
        // Otherwise every Service of the namespace becomes an environment variable, and one called `wsc` a setting.
        enable_service_links: Some(false),
        image_pull_secrets: pod::pull_secrets(&input.pods),
        security_context: Some(pod::security(input.pods.user)),
        termination_grace_period_seconds: Some(gateway_container::grace_period(input)),
        containers: vec![gateway_container::container(input)],
        volumes: Some(gateway_container::volumes(input)),
        node_selector: (!node_selector.is_empty()).then(|| node_selector.clone()),
        tolerations: (!tolerations.is_empty()).then(|| tolerations.clone()),
        affinity: affinity.clone(),
        topology_spread_constraints: Some(if topology_spread_constraints.is_empty() {
            pod::spread(&input.selector())
        } else {
            topology_spread_constraints.clone()
        }),
        priority_class_name: priority_class_name.clone(),
        ..PodSpec::default()
    }
}
