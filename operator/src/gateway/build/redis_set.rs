//! The managed Redis: one pod, or some with a Redis and a Sentinel each; restricted, with the server named explicitly, so that
//! the entry points of different images (which change users or write files) do not matter.
//!
//! It takes over a password that was replaced while it runs: nothing about a password is in its template.

use k8s_openapi::api::apps::v1::{
    RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, ExecAction, KeyToPath,
    Lifecycle, LifecycleHandler, PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec,
    Probe, SecretVolumeSource, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::redis_config::files;
use super::redis_members::MEMBER_SCRIPT;
use super::{REDIS_PORT, SENTINEL_PORT, pod, redis_volume};
use crate::api::{PullPolicy, ResourcesSpec};
use crate::gateway::validate::{Layout, ManagedRedis, Validated};
use crate::names::{CONFIG_HASH, Component, REDIS_AUTH, REDIS_DATA};

pub(super) const DATA_DIR: &str = "/data";
pub(super) const AUTH_DIR: &str = "/etc/redis-auth";
/// For files with passwords that servers write: in memory.
pub(super) const RUN_DIR: &str = "/run/redis";
const CONFIG_DIR: &str = "/etc/redis";

pub(super) fn build(input: &Validated, redis: &ManagedRedis) -> StatefulSet {
    let files = files(input, redis);
    let hash = crate::digest::of_parts(files.values().map(String::as_bytes));
    let (replicas, service_name) = match redis.layout {
        Layout::Standalone => (1, input.names.redis()),
        Layout::Replicated(pods) => (pods, input.names.redis_members()),
    };
    let has_template = replicas > 1 && redis.persistence.enabled;
    StatefulSet {
        metadata: input.meta(&input.names.redis(), Component::Redis),
        spec: Some(StatefulSetSpec {
            replicas: Some(replicas),
            service_name: Some(service_name),
            // Ordered, a pod that never became ready would stop its own repair. Updates are one by one in any case.
            pod_management_policy: Some("Parallel".to_owned()),
            revision_history_limit: Some(3),
            // Said, so that a partition that somebody set does not keep pods as they were.
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateStatefulSetStrategy {
                    partition: Some(0),
                    ..RollingUpdateStatefulSetStrategy::default()
                }),
            }),
            selector: LabelSelector {
                match_labels: Some(input.names.selector(Component::Redis)),
                match_expressions: None,
            },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(input.names.labels(Component::Redis)),
                    annotations: Some([(CONFIG_HASH.to_owned(), hash)].into()),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod_spec(input, redis)),
            },
            volume_claim_templates: has_template.then(|| vec![redis_volume::template()]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn pod_spec(input: &Validated, redis: &ManagedRedis) -> PodSpec {
    let volumes = [config_volume(input), auth_volume(input), run_volume()];
    let spec = PodSpec {
        service_account_name: Some(input.names.gateway().to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: pod::pull_secrets(&input.pods),
        security_context: Some(pod::security(input.pods.user)),
        ..PodSpec::default()
    };
    match redis.layout {
        Layout::Standalone => PodSpec {
            // Enough to write the end of the append-only file.
            termination_grace_period_seconds: Some(30),
            containers: vec![standalone(input, redis)],
            volumes: Some(
                [data_volume(input, redis)]
                    .into_iter()
                    .chain(volumes)
                    .collect(),
            ),
            ..spec
        },
        Layout::Replicated(_) => PodSpec {
            // Enough to have another made the primary, and for the end of the append-only file.
            termination_grace_period_seconds: Some(60),
            containers: vec![replicated(input, redis), sentinel(input, redis)],
            volumes: Some(
                // With persistence it is of a claim's template.
                (!redis.persistence.enabled)
                    .then(|| data_volume(input, redis))
                    .into_iter()
                    .chain(volumes)
                    .collect(),
            ),
            topology_spread_constraints: Some(pod::spread(&LabelSelector {
                match_labels: Some(input.names.selector(Component::Redis)),
                match_expressions: None,
            })),
            ..spec
        },
    }
}

/// A Redis that is alone.
fn standalone(input: &Validated, redis: &ManagedRedis) -> Container {
    Container {
        command: Some(member("alone")),
        env: Some(vec![pod::field("POD_NAME", "metadata.name")]),
        // Liveness asks only for an answer, so that a long load of the append-only file is not taken for death.
        startup_probe: Some(probe(&["redis-cli", "ping"], 2, 60)),
        liveness_probe: Some(probe(&["redis-cli", "ping"], 10, 6)),
        readiness_probe: Some(asked(&member("alone-ready"), 5, 2)),
        ..container(input, redis, "redis", REDIS_PORT)
    }
}

/// A Redis with others beside it. It may wait for one of them to be made the primary before it starts.
fn replicated(input: &Validated, redis: &ManagedRedis) -> Container {
    Container {
        command: Some(member("redis")),
        env: Some(vec![pod::field("POD_NAME", "metadata.name")]),
        startup_probe: Some(probe(&["redis-cli", "ping"], 2, 300)),
        liveness_probe: Some(probe(&["redis-cli", "ping"], 10, 6)),
        readiness_probe: Some(asked(&member("redis-ready"), 5, 2)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                exec: Some(ExecAction {
                    command: Some(member("stop")),
                }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        ..container(input, redis, "redis", REDIS_PORT)
    }
}

fn sentinel(input: &Validated, redis: &ManagedRedis) -> Container {
    let port = SENTINEL_PORT.to_string();
    let ping = ["redis-cli", "-p", &port, "ping"];
    Container {
        command: Some(member("sentinel")),
        env: Some(vec![pod::field("POD_NAME", "metadata.name")]),
        resources: Some(ResourcesSpec::new("10m", "16Mi", "64Mi").to_requirements()),
        startup_probe: Some(probe(&ping, 2, 60)),
        liveness_probe: Some(probe(&ping, 10, 6)),
        readiness_probe: Some(asked(&member("sentinel-ready"), 5, 2)),
        ..container(input, redis, "sentinel", SENTINEL_PORT)
    }
}

fn member(part: &str) -> Vec<String> {
    vec![
        "sh".to_owned(),
        format!("{CONFIG_DIR}/{MEMBER_SCRIPT}"),
        part.to_owned(),
    ]
}

/// What all have in common.
fn container(input: &Validated, redis: &ManagedRedis, name: &str, port: u16) -> Container {
    Container {
        name: name.to_owned(),
        image: Some(redis.image.clone()),
        image_pull_policy: input
            .pods
            .pull_policy
            .map(PullPolicy::as_str)
            .map(str::to_owned),
        ports: Some(vec![ContainerPort {
            name: Some(name.to_owned()),
            container_port: i32::from(port),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: Some(redis.resources.to_requirements()),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(vec![
            VolumeMount {
                read_only: None,
                ..pod::mount(REDIS_DATA, DATA_DIR)
            },
            pod::mount("config", CONFIG_DIR),
            pod::mount("auth", AUTH_DIR),
            VolumeMount {
                read_only: None,
                ..pod::mount("run", RUN_DIR)
            },
        ]),
        ..Container::default()
    }
}

fn probe(command: &[&str], period: i32, failures: i32) -> Probe {
    let words: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
    asked(&words, period, failures)
}

fn asked(command: &[String], period: i32, failures: i32) -> Probe {
    Probe {
        exec: Some(ExecAction {
            command: Some(command.to_vec()),
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn data_volume(input: &Validated, redis: &ManagedRedis) -> Volume {
    let claim = redis
        .persistence
        .enabled
        .then(|| PersistentVolumeClaimVolumeSource {
            claim_name: input.names.redis(),
            read_only: None,
        });
    Volume {
        name: REDIS_DATA.to_owned(),
        empty_dir: claim.is_none().then(EmptyDirVolumeSource::default),
        persistent_volume_claim: claim,
        ..Volume::default()
    }
}

fn run_volume() -> Volume {
    Volume {
        name: "run".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(Quantity("1Mi".to_owned())),
        }),
        ..Volume::default()
    }
}

fn config_volume(input: &Validated) -> Volume {
    Volume {
        name: "config".to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: input.names.redis(),
            default_mode: Some(0o440),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// Only the line with the password: the key of the same Secret that gateways read is not needed here.
fn auth_volume(input: &Validated) -> Volume {
    Volume {
        name: "auth".to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(input.names.redis()),
            default_mode: Some(0o440),
            items: Some(vec![KeyToPath {
                key: REDIS_AUTH.to_owned(),
                path: REDIS_AUTH.to_owned(),
                mode: None,
            }]),
            optional: None,
        }),
        ..Volume::default()
    }
}
