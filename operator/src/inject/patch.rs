//! What a pod lacks of the gateway that it asks for, as a JSON patch. Pure.
//!
//! The gateway comes out of the `PodTemplate` that a reconcile applied; its one container becomes a sidecar, the last of
//! the containers that begin before the application, so that it ends before those of a mesh. Only what is missing is
//! added, each by its name: a pod that was here before is left as it is, and what others put into it stays.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation};
use k8s_openapi::api::core::v1::{
    Container, HTTPGetAction, LifecycleHandler, LocalObjectReference, PodTemplate, Volume,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;
use serde_json::{Value, json};

use super::pod::{self, Pod, Spec};
use super::refusal::Refusal;
use crate::api::ADMIN_PORT;
use crate::names::{CONFIG_HASH, HOLDS_APPLICATION, INJECTED_LABEL, SIDECAR};

/// What Kubernetes gives a pod to end in that says nothing.
const GRACE_DEFAULT: i64 = 30;

/// What is to be done to `pod` so that it has the gateway of `template`; nothing if it has.
pub fn patch(pod: &Pod, template: &PodTemplate) -> Result<Patch, Refusal> {
    let gateway = Gateway::of(template)?;
    let spec = &pod.spec;
    let first = spec.init_containers.as_deref().unwrap_or_default();
    let is_there = first.iter().any(|container| container.name == SIDECAR);
    gateway.fits(spec, is_there)?;
    let mut patch = Operations::default();
    if !is_there {
        patch.append(
            &["spec", "initContainers"],
            spec.init_containers.as_ref(),
            [&gateway.container],
        )?;
        patch.note(pod, gateway.hash);
    }
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    let lacking = gateway.volumes.iter().filter(|wanted| {
        let named = |volume: &pod::Named| volume.name == wanted.name;
        !volumes.iter().any(named)
    });
    patch.append(&["spec", "volumes"], spec.volumes.as_ref(), lacking)?;
    let secrets = spec.image_pull_secrets.as_deref().unwrap_or_default();
    let lacking = gateway.pull_secrets.iter().filter(|wanted| {
        let named = |secret: &pod::Named| secret.name == wanted.name;
        !secrets.iter().any(named)
    });
    patch.append(
        &["spec", "imagePullSecrets"],
        spec.image_pull_secrets.as_ref(),
        lacking,
    )?;
    let grace = spec
        .termination_grace_period_seconds
        .unwrap_or(GRACE_DEFAULT);
    if grace < gateway.grace {
        patch.add(
            &["spec", "terminationGracePeriodSeconds"],
            json!(gateway.grace),
        );
    }
    if gateway.holds_application {
        let until_drained = Gateway::until_drained();
        for (index, container) in spec.containers.iter().enumerate() {
            patch.hold(index, container, &until_drained)?;
        }
    }
    Ok(Patch(patch.0))
}

/// What comes out of the template.
struct Gateway<'a> {
    container: Container,
    volumes: &'a [Volume],
    pull_secrets: &'a [LocalObjectReference],
    hash: &'a str,
    /// What the pod must have to end in.
    grace: i64,
    holds_application: bool,
}

impl<'a> Gateway<'a> {
    fn of(template: &'a PodTemplate) -> Result<Self, Refusal> {
        let of_pod = template.template.as_ref();
        let spec = of_pod
            .and_then(|of_pod| of_pod.spec.as_ref())
            .ok_or(Refusal::Unreadable)?;
        let container = spec.containers.first().ok_or(Refusal::Unreadable)?;
        let notes = of_pod.and_then(|of_pod| of_pod.metadata.as_ref()?.annotations.as_ref());
        let hash = notes.and_then(|notes| notes.get(CONFIG_HASH));
        let own = template.metadata.annotations.as_ref();
        Ok(Self {
            container: Container {
                restart_policy: Some("Always".to_owned()),
                ..container.clone()
            },
            volumes: spec.volumes.as_deref().unwrap_or_default(),
            pull_secrets: spec.image_pull_secrets.as_deref().unwrap_or_default(),
            hash: hash.ok_or(Refusal::Unreadable)?,
            grace: spec
                .termination_grace_period_seconds
                .unwrap_or(GRACE_DEFAULT),
            holds_application: own.is_some_and(|own| own.contains_key(HOLDS_APPLICATION)),
        })
    }

    /// Whether there is room for it beside what is in the pod.
    fn fits(&self, spec: &Spec, is_there: bool) -> Result<(), Refusal> {
        if spec
            .containers
            .iter()
            .any(|container| container.name == SIDECAR)
        {
            return Err(Refusal::NameTaken(format!("container {SIDECAR}")));
        }
        let volumes = spec.volumes.as_deref().unwrap_or_default();
        let taken = volumes.iter().find(|volume| {
            let named = |ours: &Volume| ours.name == volume.name;
            !is_there && self.volumes.iter().any(named)
        });
        if let Some(volume) = taken {
            return Err(Refusal::NameTaken(format!("volume {}", volume.name)));
        }
        let first = spec.init_containers.as_deref().unwrap_or_default();
        let beside = first
            .iter()
            .filter(|container| container.name != SIDECAR && container.restart_policy.is_some());
        for container in spec.containers.iter().chain(beside) {
            let ports = container.ports.as_deref().unwrap_or_default();
            let mut numbers = ports.iter().map(|port| port.container_port);
            if let Some(port) = numbers.find(|port| self.ports().any(|ours| ours == *port)) {
                let container = container.name.clone();
                return Err(Refusal::PortTaken { container, port });
            }
        }
        Ok(())
    }

    fn ports(&self) -> impl Iterator<Item = i32> {
        let ports = self.container.ports.iter().flatten();
        ports.map(|port| port.container_port)
    }

    /// What the application does when it is to end: it waits until the gateway is empty.
    fn until_drained() -> LifecycleHandler {
        LifecycleHandler {
            http_get: Some(HTTPGetAction {
                path: Some("/drained".to_owned()),
                port: IntOrString::Int(i32::from(ADMIN_PORT)),
                scheme: Some("HTTP".to_owned()),
                ..HTTPGetAction::default()
            }),
            ..LifecycleHandler::default()
        }
    }
}

#[derive(Default)]
struct Operations(Vec<PatchOperation>);

impl Operations {
    /// Adds a field, in the place of what is there.
    fn add(&mut self, path: &[&str], value: Value) {
        let path = PointerBuf::from_tokens(path.iter().copied());
        self.0
            .push(PatchOperation::Add(AddOperation { path, value }));
    }

    /// Appends to a list, which may not be there.
    fn append<'v, T: Serialize + 'v, L>(
        &mut self,
        path: &[&str],
        list: Option<&L>,
        values: impl IntoIterator<Item = &'v T>,
    ) -> Result<(), Refusal> {
        let mut is_there = list.is_some();
        for value in values {
            if !is_there {
                self.add(path, json!([]));
                is_there = true;
            }
            let value = serde_json::to_value(value).map_err(|_| Refusal::Unreadable)?;
            self.add(&[path, &["-"]].concat(), value);
        }
        Ok(())
    }

    /// What selects the pod from now on, and what it runs.
    fn note(&mut self, pod: &Pod, hash: &str) {
        let notes = [
            (
                "labels",
                pod.metadata.labels.is_some(),
                INJECTED_LABEL,
                "true",
            ),
            (
                "annotations",
                pod.metadata.annotations.is_some(),
                CONFIG_HASH,
                hash,
            ),
        ];
        for (map, is_there, key, value) in notes {
            if !is_there {
                self.add(&["metadata", map], json!({}));
            }
            self.add(&["metadata", map, key], json!(value));
        }
    }

    /// Has a container of the application stay until the gateway is empty, unless it does something of its own.
    fn hold(
        &mut self,
        index: usize,
        container: &pod::Container,
        until_drained: &LifecycleHandler,
    ) -> Result<(), Refusal> {
        let index = index.to_string();
        let lifecycle = ["spec", "containers", index.as_str(), "lifecycle"];
        match &container.lifecycle {
            Some(of_its_own) if of_its_own.pre_stop.is_some() => return Ok(()),
            Some(_) => {}
            None => self.add(&lifecycle, json!({})),
        }
        let handler = serde_json::to_value(until_drained).map_err(|_| Refusal::Unreadable)?;
        self.add(&[&lifecycle[..], &["preStop"]].concat(), handler);
        Ok(())
    }
}
