//! Step 2: turns the spec into decisions. Pure.
//!
//! After this nobody looks at the raw spec. Every field of it is taken apart here by name, so that a new one does not
//! compile until someone says what it does. What the API server could not see (a Secret that is not there) is refused
//! with a `Rejection`, which becomes a condition.

mod config;
mod fit;
mod pod_template;
mod redis;
mod secrets;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use super::dereference::Dereferenced;
use crate::api::{
    AutoscalingSpec, DisruptionSpec, IngressSpec, ListenersSpec, Mode, MonitoringSpec,
    NetworkPolicySpec, PullPolicy, PullSecret, ResourcesSpec, RouteSpec, SchedulingSpec,
    ServiceSpec, WebSocketGatewaySpec,
};
use crate::names::{Component, Names};
use crate::owned::Kind;

pub use redis::{Layout, ManagedRedis, RedisMode};
pub use secrets::{Drawn, GeneratedSecret, KeySource, Mounted, SecretPlan};

/// What the operator was started with and a resource may leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The gateway's image.
    pub gateway_image: String,
    /// The managed Redis' image.
    pub redis_image: String,
    /// As which user pods run.
    pub pod_user: PodUser,
    /// Whether there is a webhook that puts gateways into pods of applications.
    pub injects: bool,
    /// The operator's own namespace: from there it asks gateways how they are.
    pub operator_namespace: String,
    /// By what an autoscaler can learn how many connections there are.
    pub counted: Counted,
}

/// As which user the pods run that the operator makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum PodUser {
    /// The one that the images are made for.
    #[default]
    Fixed,
    /// Whom the platform says, which refuses pods that name one, as `OpenShift` does.
    Assigned,
}

/// By what an autoscaler can learn from this operator how many connections a gateway has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// A `HorizontalPodAutoscaler`: by `external.metrics.k8s.io`.
    pub external_metrics: ExternalMetrics,
    /// KEDA: at this address of the admin port, `http://HOST:PORT`.
    pub address: Option<String>,
}

/// Whether the operator serves `external.metrics.k8s.io`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExternalMetrics {
    /// It does.
    Served,
    /// It does not.
    #[default]
    Absent,
}

/// A resource that can be built.
#[derive(Clone, Debug)]
pub struct Validated {
    /// The names derived from the resource's own.
    pub names: Names,
    /// Its namespace.
    pub namespace: String,
    /// What owned objects carry as their owner.
    pub owner: OwnerReference,
    /// Whose pods the gateways run in.
    pub mode: Mode,
    /// The wanted number of gateway pods.
    pub replicas: i32,
    /// The pods of the gateway.
    pub pods: PodPlan,
    /// The gateway's file, complete.
    pub config: wsc_config::GatewayConfig,
    /// What the listeners show.
    pub listeners: ListenersSpec,
    /// Where keys come from.
    pub secrets: SecretPlan,
    /// The Redis to run, if one is wanted.
    pub redis: Option<ManagedRedis>,
    /// The Service of clients.
    pub service: ServiceSpec,
    /// The Ingress.
    pub ingress: IngressSpec,
    /// The routes of Gateway API.
    pub route: RouteSpec,
    /// What Prometheus and Grafana are told.
    pub monitoring: MonitoringSpec,
    /// The policies.
    pub network_policy: NetworkPolicySpec,
    /// From where the operator asks gateways how they are.
    pub operator_namespace: String,
    /// The autoscaler.
    pub autoscaling: AutoscalingSpec,
    /// By what it can learn how many connections there are.
    pub counted: Counted,
    /// The budget.
    pub disruption: DisruptionSpec,
    /// The kinds that the cluster has.
    pub served: BTreeSet<Kind>,
    /// Keys of the resource that this release does not act on.
    pub unimplemented: Vec<String>,
}

/// What every pod of the gateway and its Redis is made with.
#[derive(Clone, Debug)]
pub struct PodPlan {
    /// The gateway's image.
    pub image: String,
    /// As which user they run.
    pub user: PodUser,
    /// When images are pulled.
    pub pull_policy: Option<PullPolicy>,
    /// With which Secrets.
    pub pull_secrets: Vec<PullSecret>,
    /// What a gateway pod asks for.
    pub resources: ResourcesSpec,
    /// Where it runs.
    pub scheduling: SchedulingSpec,
    /// What is laid over its template.
    pub overlay: PodTemplateSpec,
}

/// Why a resource cannot be realised as it stands; its user mends that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A Secret is not there.
    #[error("{path}: Secret {name} does not exist")]
    SecretMissing {
        /// The key of the resource.
        path: &'static str,
        /// The Secret.
        name: String,
    },
    /// A Secret lacks a key.
    #[error("{path}: Secret {name} has no key {key}")]
    SecretKeyMissing {
        /// The key of the resource.
        path: &'static str,
        /// The Secret.
        name: String,
        /// The key.
        key: String,
    },
    /// A key of a Secret cannot be used.
    #[error("{path}: key {key} of Secret {name} holds {len} bytes, at least {min} are needed")]
    SecretKeyTooShort {
        /// The key of the resource.
        path: &'static str,
        /// The Secret.
        name: String,
        /// The key.
        key: String,
        /// Its length.
        len: usize,
        /// The least length.
        min: usize,
    },
    /// A key of a Secret is something else than what is needed.
    #[error("{path}: key {key} of Secret {name} is no {wanted}")]
    SecretKeyUnfit {
        /// The key of the resource.
        path: &'static str,
        /// The Secret.
        name: String,
        /// The key.
        key: String,
        /// What is needed.
        wanted: &'static str,
    },
    /// A Secret is not there yet, and is going to be.
    #[error(
        "{path}: Secret {name} has no certificate yet: cert-manager has not issued Certificate {name}, see kubectl describe certificate {name}"
    )]
    CertificatePending {
        /// The key of the resource.
        path: &'static str,
        /// The Secret and the Certificate.
        name: String,
    },
    /// What is to be laid over the pods is none of a pod's, or not the user's to say.
    #[error("{path}: {problem}")]
    PodTemplateUnfit {
        /// The key of the resource.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody would put gateways into pods of the application.
    #[error(
        "spec.mode: Sidecar needs the operator's webhook: install its chart with sidecars.enabled=true"
    )]
    NoInjector,
    /// An object of the same name belongs to somebody else.
    #[error("{object} exists and does not belong to this resource: rename one of the two")]
    NameTaken {
        /// Kind and name.
        object: String,
    },
    /// The resource was stored under a CRD of another release.
    #[error(
        "this release cannot read the resource: {0}; it was stored under another CRD: upgrade the CRD, and apply the resource again"
    )]
    Unreadable(String),
    /// The configuration contradicts itself in a way the schema could not see.
    #[error("the configuration cannot be used: {0}")]
    InvalidConfiguration(String),
}

impl Rejection {
    /// The condition's reason.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::SecretMissing { .. } => "SecretMissing",
            Self::SecretKeyMissing { .. } => "SecretKeyMissing",
            Self::SecretKeyTooShort { .. } => "SecretKeyTooShort",
            Self::SecretKeyUnfit { .. } => "SecretKeyUnfit",
            Self::CertificatePending { .. } => "CertificatePending",
            Self::PodTemplateUnfit { .. } => "PodTemplateUnfit",
            Self::NoInjector => "NoInjector",
            Self::NameTaken { .. } => "NameTaken",
            Self::Unreadable(_) => "Unreadable",
            Self::InvalidConfiguration(_) => "InvalidConfiguration",
        }
    }
}

impl Validated {
    /// What selects the gateway pods.
    pub fn selector(&self) -> LabelSelector {
        LabelSelector {
            match_labels: Some(pods(self.mode, &self.names)),
            match_expressions: None,
        }
    }

    /// The metadata of an owned object.
    pub fn meta(&self, name: &str, component: Component) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.names.labels(component)),
            owner_references: Some(vec![self.owner.clone()]),
            ..ObjectMeta::default()
        }
    }
}

/// The labels that gateway pods are selected by.
pub fn pods(mode: Mode, names: &Names) -> BTreeMap<String, String> {
    match mode {
        Mode::Standalone => names.selector(Component::Gateway),
        Mode::Sidecar => names.injected(),
    }
}

/// Turns what was read into decisions.
pub fn validate(input: &Dereferenced, defaults: &Defaults) -> Result<Validated, Rejection> {
    let WebSocketGatewaySpec {
        mode,
        replicas,
        image,
        image_pull_policy,
        image_pull_secrets,
        resources,
        scheduling,
        pod_template,
        // Decided by `reconcile`, which then builds nothing.
        paused: _,
        log_level,
        telemetry,
        gateway: identity,
        listeners,
        managed_redis,
        service,
        ingress,
        route,
        monitoring,
        network_policy,
        autoscaling,
        drain,
        rebalance,
        disruption,
        hooks,
        wsc,
    } = &input.gateway.spec;
    if *mode == Mode::Sidecar && !defaults.injects {
        return Err(Rejection::NoInjector);
    }
    let redis = ManagedRedis::plan(wsc, managed_redis, defaults);
    let config = config::resolve(&config::Parts {
        names: &input.names,
        redis: redis.as_ref(),
        namespace: &input.namespace,
        identity,
        listeners,
        log_level: *log_level,
        telemetry,
        drain,
        rebalance,
        hooks,
        wsc,
    })?;
    Ok(Validated {
        names: input.names.clone(),
        namespace: input.namespace.clone(),
        owner: input.owner.clone(),
        mode: *mode,
        replicas: scaled(*replicas, autoscaling),
        pods: PodPlan {
            image: image
                .clone()
                .unwrap_or_else(|| defaults.gateway_image.clone()),
            user: defaults.pod_user,
            pull_policy: *image_pull_policy,
            pull_secrets: image_pull_secrets.clone(),
            resources: resources
                .clone()
                .unwrap_or_else(|| ResourcesSpec::new("100m", "128Mi", "512Mi")),
            scheduling: scheduling.clone(),
            overlay: pod_template::overlay(pod_template.as_ref())?,
        },
        unimplemented: config::unimplemented(&config),
        config,
        listeners: listeners.clone(),
        secrets: secrets::plan(input)?,
        redis,
        service: service.clone(),
        ingress: ingress.clone(),
        route: route.clone(),
        monitoring: monitoring.clone(),
        network_policy: network_policy.clone(),
        operator_namespace: defaults.operator_namespace.clone(),
        autoscaling: autoscaling.clone(),
        counted: defaults.counted.clone(),
        disruption: disruption.clone(),
        served: input.served.clone(),
    })
}

#[cfg(test)]
mod tests;

/// The replicas to run. Where an autoscaler sets them, never fewer or more than it may choose: it has yet to come, or
/// somebody has taken the key out of what they apply, and the API server has put its default there. None is a word of its
/// own: autoscalers leave it alone as well.
pub(super) fn scaled(replicas: i32, autoscaling: &AutoscalingSpec) -> i32 {
    if autoscaling.enabled && replicas > 0 {
        replicas
            .min(autoscaling.max_replicas)
            .max(autoscaling.min_replicas)
    } else {
        replicas
    }
}
