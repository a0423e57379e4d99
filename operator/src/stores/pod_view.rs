//! `PodView`: what is kept of a pod, and what ails it.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::names::{CONFIG_HASH, Component, MANAGED_BY_LABEL, MANAGER, SIDECAR};

/// Why a pod does not serve, in words that stay the same while its containers come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Its image cannot be had.
    ImagePull,
    /// Its containers cannot be made: a Secret, a key or a mount is missing.
    CreateContainer,
    /// Its process ends again and again.
    CrashLoop,
    /// No Kubernetes node takes it.
    Unschedulable,
}

impl Trouble {
    /// The condition's reason.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ImagePull => "ImagePull",
            Self::CreateContainer => "CreateContainer",
            Self::CrashLoop => "CrashLoop",
            Self::Unschedulable => "Unschedulable",
        }
    }
}

/// What a pod is to the gateway that it is labelled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A gateway in a pod of its own.
    Gateway,
    /// The application's, with a gateway beside it.
    Injected,
    /// The application's, without the gateway that it asks for.
    Bare,
    /// The managed Redis.
    Redis,
}

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// What it is to its gateway.
    pub role: Role,
    /// Its address.
    pub ip: Option<IpAddr>,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is on its way out.
    pub terminating: bool,
    /// Whether it has run to its end or was evicted.
    pub finished: bool,
    /// The configuration it runs.
    pub config_hash: Option<String>,
    /// What ails it, with the kubelet's words.
    pub trouble: Option<(Trouble, String)>,
}

impl PodView {
    /// Looks at a pod.
    pub fn of(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let role = role(pod);
        let condition = |kind: &str| {
            status
                .and_then(|status| status.conditions.as_ref())
                .and_then(|all| all.iter().find(|condition| condition.type_ == kind))
        };
        let ready = condition("Ready").is_some_and(|condition| condition.status == "True");
        let phase = status.and_then(|status| status.phase.as_deref());
        // In a pod of the application only the gateway counts: the rest is for the application to tell.
        let containers = status.and_then(|status| match role {
            Role::Gateway | Role::Redis => status.container_statuses.as_deref(),
            Role::Injected => status.init_container_statuses.as_deref(),
            Role::Bare => None,
        });
        let unschedulable = condition("PodScheduled")
            .filter(|found| found.reason.as_deref() == Some("Unschedulable"))
            .map(|found| {
                let message = found.message.clone().unwrap_or_default();
                (Trouble::Unschedulable, message)
            });
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            role,
            ip: status
                .and_then(|status| status.pod_ip.as_deref())
                .and_then(|ip| ip.parse().ok()),
            ready,
            terminating: pod.metadata.deletion_timestamp.is_some(),
            finished: matches!(phase, Some("Succeeded" | "Failed")),
            config_hash: pod
                .metadata
                .annotations
                .as_ref()
                .and_then(|all| all.get(CONFIG_HASH).cloned()),
            trouble: if ready || role == Role::Bare {
                None
            } else {
                containers
                    .into_iter()
                    .flatten()
                    .filter(|container| role != Role::Injected || container.name == SIDECAR)
                    .find_map(trouble)
                    .or(unschedulable)
            },
        }
    }

    /// Whether a gateway runs in it, or did.
    pub const fn has_gateway(&self) -> bool {
        match self.role {
            Role::Gateway | Role::Injected => true,
            Role::Bare | Role::Redis => false,
        }
    }
}

fn role(pod: &Pod) -> Role {
    let label = |key: &str| {
        let labels = pod.metadata.labels.as_ref();
        labels.and_then(|all| all.get(key)).map(String::as_str)
    };
    let first = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.init_containers.as_ref());
    if label(MANAGED_BY_LABEL) == Some(MANAGER) {
        if label("app.kubernetes.io/component") == Some(Component::Redis.as_str()) {
            Role::Redis
        } else {
            Role::Gateway
        }
    } else if first.is_some_and(|all| all.iter().any(|container| container.name == SIDECAR)) {
        Role::Injected
    } else {
        Role::Bare
    }
}

/// How often a container may have ended before a look between two ends still counts as a crash loop.
const RESTARTS_OF_A_LOOP: i32 = 2;

fn trouble(container: &ContainerStatus) -> Option<(Trouble, String)> {
    let waiting = container
        .state
        .as_ref()
        .and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
    let message = || {
        waiting
            .and_then(|waiting| waiting.message.clone())
            .unwrap_or_default()
    };
    match reason {
        Some("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull") => {
            // The kubelet alternates between two reasons and texts; this one stays.
            Some((
                Trouble::ImagePull,
                format!("image {} cannot be pulled", container.image),
            ))
        }
        Some("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError") => {
            Some((Trouble::CreateContainer, message()))
        }
        Some("CrashLoopBackOff") => Some((Trouble::CrashLoop, crash(container))),
        _ if container.restart_count >= RESTARTS_OF_A_LOOP && !container.ready => {
            Some((Trouble::CrashLoop, crash(container)))
        }
        _ => None,
    }
}

fn crash(container: &ContainerStatus) -> String {
    let code = container
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref())
        .map(|ended| ended.exit_code);
    match code {
        Some(code) => format!(
            "container {} keeps ending, last with code {code}",
            container.name
        ),
        None => format!("container {} keeps ending", container.name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn waiting(reason: &str, message: &str) -> PodView {
        let pod = json!({
            "metadata": {"name": "chat-1", "labels": {
                "app.kubernetes.io/component": "gateway", "app.kubernetes.io/managed-by": "wsc-operator",
            }},
            "status": {"containerStatuses": [{
                "name": "gateway", "image": "example/gateway:1", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": reason, "message": message}},
            }]},
        });
        PodView::of(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn the_two_faces_of_an_image_that_cannot_be_pulled_are_one_trouble() {
        let one = waiting("ErrImagePull", "rpc error: not found");
        let two = waiting("ImagePullBackOff", "Back-off pulling image");
        assert_eq!(one.trouble, two.trouble);
        assert_eq!(one.trouble.unwrap().0, Trouble::ImagePull);
    }

    #[test]
    fn a_pod_that_merely_starts_has_no_trouble() {
        assert_eq!(waiting("ContainerCreating", "").trouble, None);
    }
}
