//! The gateway's file: the resource's configuration with everything filled in that only the operator knows.

use wsc_config::{
    AdminConfig, DrainConfig, GatewayConfig, GatewayMeta, GrpcConfig, HookConfig, HttpConfig,
    LogConfig, LogFormat, LogLevel, RebalanceConfig, TelemetryConfig, TlsConfig, WscConfig,
};

use super::{ManagedRedis, Rejection};
use crate::api::{IdentitySpec, ListenersSpec};
use crate::names::Names;

/// The parts of the spec that end in the file.
pub(super) struct Parts<'a> {
    pub(super) names: &'a Names,
    pub(super) redis: Option<&'a ManagedRedis>,
    pub(super) namespace: &'a str,
    pub(super) identity: &'a IdentitySpec,
    pub(super) listeners: &'a ListenersSpec,
    pub(super) log_level: LogLevel,
    pub(super) telemetry: &'a TelemetryConfig,
    pub(super) drain: &'a DrainConfig,
    pub(super) rebalance: &'a RebalanceConfig,
    pub(super) hooks: &'a [HookConfig],
    pub(super) wsc: &'a WscConfig,
}

/// Fills in names, ports and the address of the managed Redis, then checks the whole as the gateway will.
pub(super) fn resolve(parts: &Parts<'_>) -> Result<GatewayConfig, Rejection> {
    let IdentitySpec {
        name,
        version,
        environment,
    } = parts.identity;
    let ListenersSpec { ws, http, grpc } = parts.listeners;
    let mut wsc = parts.wsc.clone();
    if let Some(redis) = parts.redis {
        redis.be_used_by(&mut wsc.redis, parts.names);
    }
    if wsc.distributed.cluster_name.is_empty() {
        wsc.distributed.cluster_name = format!("{}.{}", parts.namespace, parts.names.gateway());
    }
    let config = GatewayConfig {
        gateway: GatewayMeta {
            name: if name.is_empty() {
                parts.names.gateway().to_owned()
            } else {
                name.clone()
            },
            version: version.clone(),
            environment: environment.clone(),
        },
        http: HttpConfig {
            port: http.port,
            ..HttpConfig::default()
        },
        grpc: GrpcConfig {
            port: grpc.port,
            reflection: grpc.reflection,
            ..GrpcConfig::default()
        },
        admin: AdminConfig {
            port: crate::api::ADMIN_PORT,
            ..AdminConfig::default()
        },
        tls: TlsConfig {
            ws: ws.tls.is_some(),
            http: http.tls.is_some(),
            grpc: grpc.tls.is_some(),
        },
        log: LogConfig {
            level: parts.log_level,
            format: LogFormat::Json,
        },
        telemetry: parts.telemetry.clone(),
        drain: parts.drain.clone(),
        rebalance: parts.rebalance.clone(),
        hooks: parts.hooks.to_vec(),
        wsc,
    };
    let checked = config.validate();
    checked.map_err(|problems| {
        let each: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Rejection::InvalidConfiguration(each.join("; "))
    })?;
    Ok(config)
}

/// The keys that are set and that this release does not act on.
pub(super) fn unimplemented(config: &GatewayConfig) -> Vec<String> {
    config
        .unimplemented_keys_set()
        .into_iter()
        .map(|key| key.path)
        .collect()
}
