//! The gateway's container and what it reads, in a pod of its own as in one of the application.
//!
//! In the application's pod nothing of it may meet what is there, so that its parts are called by other names; and since
//! what a pod sets for all its containers is not the operator's there, the container says everything itself.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, ExecAction,
    HTTPGetAction, KeyToPath, Lifecycle, LifecycleHandler, Probe, ProjectedVolumeSource,
    SecretProjection, Volume, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::pod;
use crate::api::{Mode, PullPolicy};
use crate::gateway::validate::{Mounted, Validated};
use crate::names::{CONFIG_FILE, ROTATION, SIDECAR};

/// What the process may take beyond its own deadline before the kubelet kills it.
const GRACE_MARGIN_SECONDS: u64 = 10;

const CONFIG_DIR: &str = "/etc/wsc/config";
const SECRETS_DIR: &str = "/etc/wsc/secrets";

/// Where Kubernetes puts the token of a pod's account into each container that has nothing else there.
const TOKEN_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What the parts are called, and who may read the files.
struct Parts {
    container: &'static str,
    config: &'static str,
    secrets: &'static str,
    /// What is before the names of ports.
    prefix: &'static str,
    /// In its own pod the files belong to a group of the gateway's; elsewhere the group is not known, and only the
    /// gateway's container has them.
    file_mode: i32,
}

const fn parts(mode: Mode) -> Parts {
    match mode {
        Mode::Standalone => Parts {
            container: "gateway",
            config: "config",
            secrets: "secrets",
            prefix: "",
            file_mode: 0o440,
        },
        Mode::Sidecar => Parts {
            container: SIDECAR,
            config: "wsc-config",
            secrets: "wsc-secrets",
            prefix: "wsc-",
            file_mode: 0o444,
        },
    }
}

/// What tells the gateway of a pod to leave, from within it: nobody else may.
const DRAIN: [&str; 2] = ["/usr/local/bin/wsc-gateway", "drain"];

/// The volume over the place of tokens, in a pod of the application: the gateway has no use for the application's.
const NO_TOKEN: &str = "wsc-no-token";

/// What a port of the container is called.
pub(super) fn port_name(mode: Mode, name: &str) -> String {
    format!("{}{name}", parts(mode).prefix)
}

/// The drain's deadline, rounded up, and a margin.
pub(super) fn grace_period(input: &Validated) -> i64 {
    let deadline = input.config.drain.deadline.get();
    let seconds = deadline.as_secs() + u64::from(deadline.subsec_nanos() > 0);
    i64::try_from(seconds + GRACE_MARGIN_SECONDS).unwrap_or(i64::MAX)
}

/// The container.
pub(super) fn container(input: &Validated) -> Container {
    let parts = parts(input.mode);
    let args = [
        "--config".to_owned(),
        format!("{CONFIG_DIR}/{CONFIG_FILE}"),
        "--secrets-dir".to_owned(),
        SECRETS_DIR.to_owned(),
    ];
    let mut mounts = vec![
        pod::mount(parts.config, CONFIG_DIR),
        pod::mount(parts.secrets, SECRETS_DIR),
    ];
    let (security, lifecycle) = match input.mode {
        Mode::Standalone => (pod::container_security(), None),
        Mode::Sidecar => {
            mounts.push(pod::mount(NO_TOKEN, TOKEN_DIR));
            (pod::whole_security(input.pods.user), Some(drain_first()))
        }
    };
    Container {
        name: parts.container.to_owned(),
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
        ports: Some(ports(input)),
        resources: Some(input.pods.resources.to_requirements()),
        security_context: Some(security),
        // A minute to start, then ten seconds between looks; a gateway that waits for Redis is alive.
        startup_probe: Some(probe(input.mode, "/livez", (1, 60))),
        liveness_probe: Some(probe(input.mode, "/livez", (10, 3))),
        readiness_probe: Some(probe(input.mode, "/readyz", (5, 2))),
        lifecycle,
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

/// The volumes of the container.
pub(super) fn volumes(input: &Validated) -> Vec<Volume> {
    let parts = parts(input.mode);
    let mut volumes = vec![config_volume(input, &parts), secrets_volume(input, &parts)];
    match input.mode {
        Mode::Standalone => {}
        Mode::Sidecar => volumes.push(Volume {
            name: NO_TOKEN.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        }),
    }
    volumes
}

/// A sidecar is told to end only when the application has ended, which may take all the time there is. So it begins to
/// drain by itself, with the pod's end.
fn drain_first() -> Lifecycle {
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            exec: Some(ExecAction {
                command: Some(DRAIN.map(str::to_owned).into()),
            }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

fn ports(input: &Validated) -> Vec<ContainerPort> {
    let config = &input.config;
    let mut ports = Vec::with_capacity(4);
    if config.wsc.enabled {
        ports.push(("ws", config.wsc.node_port));
    }
    ports.push(("http", config.http.port));
    ports.push(("grpc", config.grpc.port));
    ports.push(("admin", config.admin.port));
    let port = |(name, number): (&str, u16)| ContainerPort {
        name: Some(port_name(input.mode, name)),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    ports.into_iter().map(port).collect()
}

fn admin(mode: Mode, path: &str) -> HTTPGetAction {
    HTTPGetAction {
        path: Some(path.to_owned()),
        port: IntOrString::String(port_name(mode, "admin")),
        scheme: Some("HTTP".to_owned()),
        ..HTTPGetAction::default()
    }
}

fn probe(mode: Mode, path: &str, (period, failures): (i32, i32)) -> Probe {
    Probe {
        http_get: Some(admin(mode, path)),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn config_volume(input: &Validated, parts: &Parts) -> Volume {
    Volume {
        name: parts.config.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: input.names.config(),
            items: Some(vec![key_to_path(CONFIG_FILE, CONFIG_FILE)]),
            default_mode: Some(parts.file_mode),
            optional: None,
        }),
        ..Volume::default()
    }
}

/// Keys from several Secrets under the names that the gateway looks for.
fn secrets_volume(input: &Validated, parts: &Parts) -> Volume {
    let sources = input.secrets.mounted.iter().flat_map(projections);
    Volume {
        name: parts.secrets.to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(parts.file_mode),
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
