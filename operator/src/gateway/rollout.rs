//! `Rollout`: how many gateways there are, and how many of them are as wanted. Pure; read by `apply` and `status`.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use k8s_openapi::api::core::v1::{PodTemplate, PodTemplateSpec};

use crate::api::Mode;
use crate::gateway::live::Live;
use crate::names::CONFIG_HASH;
use crate::owned::Kind;
use crate::stores::{PodView, Role};

/// How far the gateways are.
pub struct Rollout {
    /// Those that there should be.
    pub wanted: i32,
    /// Those that there are.
    pub total: i32,
    /// Those that run what is wanted.
    pub updated: i32,
    /// Those that are ready.
    pub ready: i32,
    /// Those that have been ready for long enough.
    pub available: i32,
    /// Whether these numbers are about what is wanted now.
    pub observed: bool,
    /// The configuration that is wanted.
    pub hash: Option<String>,
}

impl Rollout {
    /// Looks at the Deployment, or at the pods of the application; `None` where nothing has been rolled out.
    pub fn of(mode: Mode, live: &Live, gateway: &str, pods: &[Arc<PodView>]) -> Option<Self> {
        match mode {
            Mode::Standalone => {
                let deployment: Deployment = live.typed(Kind::Deployment, gateway)?;
                Some(Self::of_deployment(&deployment))
            }
            Mode::Sidecar => {
                let template: PodTemplate = live.typed(Kind::PodTemplate, gateway)?;
                let hash = template.template.as_ref().and_then(hash);
                Some(Self::of_sidecars(hash, pods))
            }
        }
    }

    /// Whether no gateway runs an older configuration any more, those that are being emptied included.
    pub fn is_done(&self, pods: &[Arc<PodView>]) -> bool {
        let is_older =
            |pod: &Arc<PodView>| pod.has_gateway() && !pod.finished && pod.config_hash != self.hash;
        self.observed
            && self.updated >= self.wanted
            && self.total <= self.updated
            && !pods.iter().any(is_older)
    }

    fn of_deployment(deployment: &Deployment) -> Self {
        let status: DeploymentStatus = deployment.status.clone().unwrap_or_default();
        let spec = deployment.spec.as_ref();
        Self {
            wanted: spec.and_then(|spec| spec.replicas).unwrap_or(1),
            total: status.replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            observed: status.observed_generation >= deployment.metadata.generation,
            hash: spec.and_then(|spec| hash(&spec.template)),
        }
    }

    /// How many there should be is the application's matter: those that there are.
    fn of_sidecars(hash: Option<String>, pods: &[Arc<PodView>]) -> Self {
        let there: Vec<&PodView> = pods
            .iter()
            .map(AsRef::as_ref)
            .filter(|pod| pod.role == Role::Injected && !pod.terminating && !pod.finished)
            .collect();
        let count = |is: &dyn Fn(&PodView) -> bool| {
            let number = there.iter().filter(|pod| is(pod)).count();
            i32::try_from(number).unwrap_or(i32::MAX)
        };
        let (total, ready) = (count(&|_| true), count(&|pod| pod.ready));
        Self {
            wanted: total,
            total,
            updated: count(&|pod| pod.config_hash == hash),
            ready,
            available: ready,
            observed: true,
            hash,
        }
    }
}

fn hash(template: &PodTemplateSpec) -> Option<String> {
    let annotations = template.metadata.as_ref()?.annotations.as_ref()?;
    annotations.get(CONFIG_HASH).cloned()
}
