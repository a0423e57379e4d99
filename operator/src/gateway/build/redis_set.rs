//! The managed Redis: one replica, restricted, with the server named explicitly, so that the entry points of different
//! images (which change users or write files) do not matter.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    ExecAction, KeyToPath, PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec, Probe,
    SecretKeySelector, SecretVolumeSource, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::redis_config::{REDIS_FILE, file};
use super::{REDIS_PORT, pod};
use crate::api::PullPolicy;
use crate::gateway::validate::{ManagedRedis, Validated};
use crate::names::{CONFIG_HASH, Component, REDIS_AUTH, REDIS_PASSWORD};

pub(super) const DATA_DIR: &str = "/data";
pub(super) const AUTH_FILE: &str = "/etc/redis-auth/auth.conf";
const AUTH_DIR: &str = "/etc/redis-auth";
const CONFIG_DIR: &str = "/etc/redis";

pub(super) fn build(input: &Validated, redis: &ManagedRedis) -> StatefulSet {
    let name = input.names.redis();
    let password = input.secrets.redis_digest.as_deref().unwrap_or_default();
    let hash = crate::digest::of_parts([file(redis).as_bytes(), password.as_bytes()]);
    StatefulSet {
        metadata: input.meta(&name, Component::Redis),
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            service_name: Some(name),
            // Ordered, a pod that never became ready would stop its own repair.
            pod_management_policy: Some("Parallel".to_owned()),
            revision_history_limit: Some(3),
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
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn pod_spec(input: &Validated, redis: &ManagedRedis) -> PodSpec {
    PodSpec {
        service_account_name: Some(input.names.gateway().to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: pod::pull_secrets(&input.pods),
        security_context: Some(pod::security()),
        // Enough to write the end of the append-only file.
        termination_grace_period_seconds: Some(30),
        containers: vec![container(input, redis)],
        volumes: Some(vec![
            data_volume(input, redis),
            config_volume(input),
            auth_volume(input),
        ]),
        ..PodSpec::default()
    }
}

fn container(input: &Validated, redis: &ManagedRedis) -> Container {
    Container {
        name: "redis".to_owned(),
        image: Some(redis.image.clone()),
        image_pull_policy: input
            .pods
            .pull_policy
            .map(PullPolicy::as_str)
            .map(str::to_owned),
        command: Some(vec![
            "redis-server".to_owned(),
            format!("{CONFIG_DIR}/{REDIS_FILE}"),
        ]),
        env: Some(vec![password(input)]),
        ports: Some(vec![ContainerPort {
            name: Some("redis".to_owned()),
            container_port: i32::from(REDIS_PORT),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: Some(redis.resources.to_requirements()),
        security_context: Some(pod::container_security()),
        // `-e` turns an error reply (still loading, wrong password) into a failure. Liveness asks only for an answer, so
        // that a long load of the append-only file is not taken for death.
        startup_probe: Some(probe(&["redis-cli", "ping"], 2, 60)),
        liveness_probe: Some(probe(&["redis-cli", "ping"], 10, 6)),
        readiness_probe: Some(probe(&["redis-cli", "-e", "ping"], 5, 2)),
        volume_mounts: Some(vec![
            VolumeMount {
                read_only: None,
                ..pod::mount("data", DATA_DIR)
            },
            pod::mount("config", CONFIG_DIR),
            pod::mount("auth", AUTH_DIR),
        ]),
        ..Container::default()
    }
}

/// For the probes' client: on the command line the password would show in the list of processes.
fn password(input: &Validated) -> EnvVar {
    EnvVar {
        name: "REDISCLI_AUTH".to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: input.names.redis(),
                key: REDIS_PASSWORD.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn probe(command: &[&str], period: i32, failures: i32) -> Probe {
    Probe {
        exec: Some(ExecAction {
            command: Some(command.iter().map(|&word| word.to_owned()).collect()),
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
        name: "data".to_owned(),
        empty_dir: claim.is_none().then(EmptyDirVolumeSource::default),
        persistent_volume_claim: claim,
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
