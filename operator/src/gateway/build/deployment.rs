//! The gateways.
//!
//! Rollouts surge first and never take a pod away before its successor is ready; the grace period leaves room for the
//! whole drain. The pod template carries the hash of what a running gateway cannot take over, so that a change of that
//! rolls out; other changes of configuration and keys reach running pods through their files.

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, ContainerPort, HTTPGetAction, KeyToPath, PodSpec,
    PodTemplateSpec, Probe, ProjectedVolumeSource, SecretProjection, TopologySpreadConstraint,
    Volume, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::pod;
use crate::api::{PullPolicy, SchedulingSpec};
use crate::gateway::validate::{Mounted, Validated};
use crate::names::{CONFIG_FILE, CONFIG_HASH, Component, ROTATION};

/// What the process may take beyond its own deadline before the kubelet kills it.
const GRACE_MARGIN_SECONDS: u64 = 10;

const CONFIG_DIR: &str = "/etc/wsc/config";
const SECRETS_DIR: &str = "/etc/wsc/secrets";

pub(super) fn build(input: &Validated, hash: &str) -> Deployment {
    let selector = input.names.selector(Component::Gateway);
    Deployment {
        metadata: input.meta(input.names.gateway(), Component::Gateway),
        spec: Some(DeploymentSpec {
            replicas: Some(input.replicas),
            selector: LabelSelector {
                match_labels: Some(selector),
                match_expressions: None,
            },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    // Rounded up by Kubernetes: at least one.
                    max_surge: Some(IntOrString::String("25%".to_owned())),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            revision_history_limit: Some(3),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(input.names.labels(Component::Gateway)),
                    annotations: Some([(CONFIG_HASH.to_owned(), hash.to_owned())].into()),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod_spec(input)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
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
        security_context: Some(pod::security()),
        termination_grace_period_seconds: Some(grace_period(input)),
        containers: vec![container(input)],
        volumes: Some(vec![config_volume(input), secrets_volume(input)]),
        node_selector: (!node_selector.is_empty()).then(|| node_selector.clone()),
        tolerations: (!tolerations.is_empty()).then(|| tolerations.clone()),
        affinity: affinity.clone(),
        topology_spread_constraints: Some(if topology_spread_constraints.is_empty() {
            default_spread(input)
        } else {
            topology_spread_constraints.clone()
        }),
        priority_class_name: priority_class_name.clone(),
        ..PodSpec::default()
    }
}

/// The drain's deadline, rounded up, and a margin.
fn grace_period(input: &Validated) -> i64 {
    let deadline = input.config.drain.deadline.get();
    let seconds = deadline.as_secs() + u64::from(deadline.subsec_nanos() > 0);
    i64::try_from(seconds + GRACE_MARGIN_SECONDS).unwrap_or(i64::MAX)
}

fn container(input: &Validated) -> Container {
    let config = &input.config;
    let mut ports = Vec::with_capacity(4);
    if config.wsc.enabled {
        ports.push(container_port("ws", config.wsc.node_port));
    }
    ports.push(container_port("http", config.http.port));
    ports.push(container_port("grpc", config.grpc.port));
    ports.push(container_port("admin", config.admin.port));
    let args = [
        "--config".to_owned(),
        format!("{CONFIG_DIR}/{CONFIG_FILE}"),
        "--secrets-dir".to_owned(),
        SECRETS_DIR.to_owned(),
    ];
    Container {
        name: "gateway".to_owned(),
        image: Some(input.pods.image.clone()),
        image_pull_policy: input
            .pods
            .pull_policy
            .map(PullPolicy::as_str)
            .map(str::to_owned),
        args: Some(args.into()),
        env: Some(vec![
            pod::field("POD_NAME", "metadata.name"),
            pod::field("POD_NAMESPACE", "metadata.namespace"),
            pod::field("POD_IP", "status.podIP"),
        ]),
        ports: Some(ports),
        resources: Some(input.pods.resources.to_requirements()),
        security_context: Some(pod::container_security()),
        // A minute to start, then ten seconds between looks; a gateway that waits for Redis is alive.
        startup_probe: Some(probe("/livez", 1, 60)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        readiness_probe: Some(probe("/readyz", 5, 2)),
        volume_mounts: Some(vec![
            pod::mount("config", CONFIG_DIR),
            pod::mount("secrets", SECRETS_DIR),
        ]),
        ..Container::default()
    }
}

fn container_port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("admin".to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn config_volume(input: &Validated) -> Volume {
    Volume {
        name: "config".to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: input.names.config(),
            items: Some(vec![key_to_path(CONFIG_FILE, CONFIG_FILE)]),
            default_mode: Some(0o440),
            optional: None,
        }),
        ..Volume::default()
    }
}

/// Keys from several Secrets under the names that the gateway looks for.
fn secrets_volume(input: &Validated) -> Volume {
    let sources = input.secrets.mounted.iter().flat_map(projections);
    Volume {
        name: "secrets".to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o440),
            sources: Some(sources.collect()),
        }),
        ..Volume::default()
    }
}

/// A key, and those beside it where it can be replaced: they may come and go without a rollout.
fn projections(mounted: &Mounted) -> Vec<VolumeProjection> {
    let Mounted {
        source,
        file,
        rotates,
    } = mounted;
    let mut all = vec![projection(
        &source.secret,
        vec![key_to_path(&source.key, file)],
        None,
    )];
    if *rotates {
        let beside = ROTATION.map(|suffix| {
            key_to_path(
                &format!("{}{suffix}", source.key),
                &format!("{file}{suffix}"),
            )
        });
        all.push(projection(&source.secret, beside.into(), Some(true)));
    }
    all
}

fn projection(secret: &str, items: Vec<KeyToPath>, optional: Option<bool>) -> VolumeProjection {
    VolumeProjection {
        secret: Some(SecretProjection {
            name: secret.to_owned(),
            items: Some(items),
            optional,
        }),
        ..VolumeProjection::default()
    }
}

fn key_to_path(key: &str, path: &str) -> KeyToPath {
    KeyToPath {
        key: key.to_owned(),
        path: path.to_owned(),
        mode: None,
    }
}

/// Over zones and machines, where that is possible.
fn default_spread(input: &Validated) -> Vec<TopologySpreadConstraint> {
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        .map(|key| TopologySpreadConstraint {
            max_skew: 1,
            topology_key: key.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(LabelSelector {
                match_labels: Some(input.names.selector(Component::Gateway)),
                match_expressions: None,
            }),
            ..TopologySpreadConstraint::default()
        })
        .into()
}
