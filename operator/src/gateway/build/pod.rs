//! What gateway and Redis pods have in common: the restricted security context, probes, small helpers.

use k8s_openapi::api::core::v1::{
    Capabilities, EnvVar, EnvVarSource, LocalObjectReference, ObjectFieldSelector,
    PodSecurityContext, SeccompProfile, SecurityContext, TopologySpreadConstraint, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::gateway::validate::{PodPlan, PodUser};

/// The user that everything runs as; distroless images call it `nonroot`.
const USER: i64 = 65_532;

/// The user and group to be named, where any is.
const fn named(user: PodUser) -> Option<i64> {
    match user {
        PodUser::Fixed => Some(USER),
        PodUser::Assigned => None,
    }
}

/// What Pod Security `restricted` asks of a pod. `fsGroup` lets the user read mounted Secrets that nobody else can; a platform
/// that assigns users assigns that as well.
pub(super) fn security(user: PodUser) -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: named(user),
        run_as_group: named(user),
        fs_group: named(user),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(seccomp()),
        ..PodSecurityContext::default()
    }
}

/// What it asks of a container.
pub(super) fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: None,
        }),
        ..SecurityContext::default()
    }
}

/// What it asks of a container in a pod that says nothing itself.
pub(super) fn whole_security(user: PodUser) -> SecurityContext {
    SecurityContext {
        run_as_user: named(user),
        run_as_group: named(user),
        seccomp_profile: Some(seccomp()),
        ..container_security()
    }
}

fn seccomp() -> SeccompProfile {
    SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        localhost_profile: None,
    }
}

/// The Secrets with which images are pulled.
pub(super) fn pull_secrets(plan: &PodPlan) -> Option<Vec<LocalObjectReference>> {
    let secrets: Vec<_> = plan
        .pull_secrets
        .iter()
        .map(|secret| LocalObjectReference {
            name: secret.name.clone(),
        })
        .collect();
    (!secrets.is_empty()).then_some(secrets)
}

/// An environment variable with a field of the pod in it.
pub(super) fn field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                api_version: Some("v1".to_owned()),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

/// A volume that is only read.
pub(super) fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

/// Over zones and machines, where that is possible.
pub(super) fn spread(selector: &LabelSelector) -> Vec<TopologySpreadConstraint> {
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        .map(|key| TopologySpreadConstraint {
            max_skew: 1,
            topology_key: key.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(selector.clone()),
            ..TopologySpreadConstraint::default()
        })
        .into()
}
