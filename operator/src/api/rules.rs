//! The CEL rules of the resource, beside those that `wsc-config` brings along for `spec.wsc`.
//!
//! Each is here and nowhere else: the API server judges, before anything is stored, and names the field. The bounds
//! of the resource's own name are added in `crd`, because the root type is generated.

mod sidecar;

use schemars::Schema;
use serde_json::{Map, Value, json};

/// One rule; `path` is relative to the struct that carries it.
struct Rule {
    cel: &'static str,
    message: &'static str,
    path: &'static str,
}

/// Whether `spec.wsc.redis` names a Redis.
macro_rules! external_redis {
    () => {
        "(self.wsc.redis.host != '' || self.wsc.redis.sentinel.enabled || self.wsc.redis.cluster.enabled)"
    };
}

/// Whether every name of a list is one that a route can be for.
macro_rules! host_names {
    ($list:literal) => {
        concat!(
            $list,
            ".all(host, host.matches('^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))"
        )
    };
}

/// What host names must be.
const HOSTS: &str = "must be names such as chat.example.org or *.example.org";

const SPEC: &[Rule] = &[
    Rule {
        cel: "self.replicas <= 1 || self.wsc.distributed.enabled",
        message: "more than one replica needs wsc.distributed.enabled: true",
        path: ".wsc.distributed.enabled",
    },
    Rule {
        cel: "self.replicas <= 1 || self.wsc.distributed.nodeDiscovery != 'memory'",
        message: "more than one replica cannot find each other in memory: use redis or etcd",
        path: ".wsc.distributed.nodeDiscovery",
    },
    Rule {
        cel: "!self.autoscaling.enabled || self.autoscaling.maxReplicas <= 1 || self.wsc.distributed.enabled",
        message: "more than one replica needs wsc.distributed.enabled: true",
        path: ".autoscaling.maxReplicas",
    },
    Rule {
        cel: "self.listeners.http.port != self.listeners.grpc.port",
        message: "HTTP and gRPC need a port each",
        path: ".listeners.grpc.port",
    },
    Rule {
        cel: "self.listeners.http.port != 9100 && self.listeners.grpc.port != 9100",
        message: "port 9100 is for health and metrics",
        path: ".listeners",
    },
    Rule {
        cel: "!self.wsc.enabled || !(self.wsc.nodePort in [9100, self.listeners.http.port, self.listeners.grpc.port])",
        message: "WebSocket needs a port that is not those of HTTP, gRPC or health (9100)",
        path: ".wsc.nodePort",
    },
    Rule {
        cel: "!self.monitoring.enabled || self.wsc.performance.enableMetrics",
        message: "needs wsc.performance.enableMetrics: true",
        path: ".monitoring.enabled",
    },
    Rule {
        cel: "self.wsc.nodePort >= 1024",
        message: "must be 1024 or more: the gateway runs without privileges",
        path: ".wsc.nodePort",
    },
    Rule {
        cel: concat!(
            "!has(self.wsc.redis.passwordSecretRef) || ",
            external_redis!()
        ),
        message: "needs wsc.redis.host: the password of the managed Redis is generated",
        path: ".wsc.redis.passwordSecretRef",
    },
    Rule {
        cel: concat!("!self.wsc.redis.tls.enabled || ", external_redis!()),
        message: "needs wsc.redis.host: the managed Redis speaks no TLS",
        path: ".wsc.redis.tls.enabled",
    },
    Rule {
        cel: concat!("self.wsc.redis.username == '' || ", external_redis!()),
        message: "needs wsc.redis.host: the managed Redis has the default user only",
        path: ".wsc.redis.username",
    },
    Rule {
        cel: "!self.wsc.security.enableAuth || self.wsc.security.jwt.algorithm.startsWith('HS') || has(self.wsc.security.jwt.secretRef) || has(self.wsc.security.jwt.jwks.secretRef) || self.wsc.security.jwt.jwks.url != ''",
        message: "needs wsc.security.jwt.secretRef or wsc.security.jwt.jwks: only a shared key can be drawn",
        path: ".wsc.security.jwt.algorithm",
    },
];

const DISRUPTION: &[Rule] = &[Rule {
    cel: "!has(self.minAvailable) || !has(self.maxUnavailable)",
    message: "only one of minAvailable and maxUnavailable can be given",
    path: ".minAvailable",
}];

const SERVICE: &[Rule] = &[
    Rule {
        cel: "!has(self.externalTrafficPolicy) || self.type != 'ClusterIP'",
        message: "needs type NodePort or LoadBalancer",
        path: ".externalTrafficPolicy",
    },
    Rule {
        cel: "size(self.loadBalancerSourceRanges) == 0 || self.type == 'LoadBalancer'",
        message: "needs type LoadBalancer",
        path: ".loadBalancerSourceRanges",
    },
    Rule {
        cel: "self.loadBalancerSourceRanges.all(range, isCIDR(range))",
        message: "must be ranges such as 192.0.2.0/24",
        path: ".loadBalancerSourceRanges",
    },
];

const INGRESS: &[Rule] = &[Rule {
    cel: host_names!("self.hosts"),
    message: HOSTS,
    path: ".hosts",
}];

const ROUTE: &[Rule] = &[
    Rule {
        cel: "!self.enabled || size(self.parentRefs) > 0",
        message: "needs the Gateway that the routes belong to",
        path: ".parentRefs",
    },
    Rule {
        cel: host_names!("self.hostnames"),
        message: HOSTS,
        path: ".hostnames",
    },
    Rule {
        cel: host_names!("self.http.hostnames"),
        message: HOSTS,
        path: ".http.hostnames",
    },
    Rule {
        cel: host_names!("self.grpc.hostnames"),
        message: HOSTS,
        path: ".grpc.hostnames",
    },
    Rule {
        cel: "!self.grpc.enabled || size(self.grpc.hostnames) > 0",
        message: "gRPC needs names of its own: a Gateway takes routes of one kind for a name",
        path: ".grpc.hostnames",
    },
    Rule {
        cel: "size(self.grpc.parentRefs) > 0 || self.grpc.hostnames.all(host, !(host in self.hostnames) && !(host in self.http.hostnames))",
        message: "must not be those of HTTP: a Gateway takes routes of one kind for a name",
        path: ".grpc.hostnames",
    },
];

const MONITORING: &[Rule] = &[Rule {
    cel: "self.labels.all(key, size(key) <= 253 && size(self.labels[key]) <= 63)",
    message: "must be labels: keys of at most 253 and values of at most 63 characters",
    path: ".labels",
}];

const AUTOSCALING: &[Rule] = &[
    Rule {
        cel: "self.minReplicas <= self.maxReplicas",
        message: "must be at least minReplicas",
        path: ".maxReplicas",
    },
    Rule {
        cel: "size(self.kedaTriggers) == 0 || self.scaler == 'ScaledObject'",
        message: "needs scaler: ScaledObject",
        path: ".kedaTriggers",
    },
];

/// Whether two listeners that have one Secret issued ask the same issuer.
macro_rules! one_issuer {
    ($one:literal, $other:literal) => {
        concat!(
            "!has(self.",
            $one,
            ".tls) || !has(self.",
            $other,
            ".tls) || self.",
            $one,
            ".tls.secretName != self.",
            $other,
            ".tls.secretName || !has(self.",
            $one,
            ".tls.issuerRef) || !has(self.",
            $other,
            ".tls.issuerRef) || (",
            // Field by field: to the API server the two are of different types.
            same_issuer!($one, $other, "name"),
            " && ",
            same_issuer!($one, $other, "kind"),
            " && ",
            same_issuer!($one, $other, "group"),
            ")"
        )
    };
}

macro_rules! same_issuer {
    ($one:literal, $other:literal, $field:literal) => {
        concat!(
            "self.",
            $one,
            ".tls.issuerRef.",
            $field,
            " == self.",
            $other,
            ".tls.issuerRef.",
            $field
        )
    };
}

/// Whether names are given only where something is issued for them, and are such as can be.
macro_rules! names_issued {
    ($listener:literal) => {
        concat!(
            "!has(self.",
            $listener,
            ".tls) || size(self.",
            $listener,
            ".tls.dnsNames) == 0 || has(self.",
            $listener,
            ".tls.issuerRef)"
        )
    };
}

/// What listeners of one Secret must agree on.
const ONE_ISSUER: &str = "listeners with the same secretName need the same issuerRef";

/// What names of a certificate need.
const NAMES_ISSUED: &str =
    "needs issuerRef: the certificate of a Secret that is there has its names";

const LISTENERS: &[Rule] = &[
    Rule {
        cel: one_issuer!("ws", "http"),
        message: ONE_ISSUER,
        path: ".http.tls.issuerRef",
    },
    Rule {
        cel: one_issuer!("ws", "grpc"),
        message: ONE_ISSUER,
        path: ".grpc.tls.issuerRef",
    },
    Rule {
        cel: one_issuer!("http", "grpc"),
        message: ONE_ISSUER,
        path: ".grpc.tls.issuerRef",
    },
    Rule {
        cel: names_issued!("ws"),
        message: NAMES_ISSUED,
        path: ".ws.tls.dnsNames",
    },
    Rule {
        cel: names_issued!("http"),
        message: NAMES_ISSUED,
        path: ".http.tls.dnsNames",
    },
    Rule {
        cel: names_issued!("grpc"),
        message: NAMES_ISSUED,
        path: ".grpc.tls.dnsNames",
    },
];

const PERSISTENCE: &[Rule] = &[Rule {
    cel: "!self.enabled || !oldSelf.enabled || (has(self.storageClassName) ? self.storageClassName : '') == (has(oldSelf.storageClassName) ? oldSelf.storageClassName : '')",
    message: "the storage class of a volume cannot change",
    path: ".storageClassName",
}];

/// The operator's own labels are in `names`; a test compares them.
const OVERLAY: &[Rule] = &[
    Rule {
        cel: "!['app.kubernetes.io/component', 'app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/part-of', 'app.kubernetes.io/managed-by', 'wsc.dev/gateway', 'wsc.dev/injected'].exists(label, label in self.labels)",
        message: "the labels by which the operator finds its pods are not the user's to change",
        path: ".labels",
    },
    Rule {
        cel: "!('wsc.dev/config-hash' in self.annotations)",
        message: "wsc.dev/config-hash is the operator's own",
        path: ".annotations",
    },
];

pub(super) fn overlay(schema: &mut Schema) {
    attach(schema, OVERLAY);
}

const MANAGED_REDIS: &[Rule] = &[
    Rule {
        cel: "self.mode == oldSelf.mode",
        message: "cannot change, since what is kept would stay behind: make another resource, or name a Redis in wsc.redis",
        path: ".mode",
    },
    Rule {
        cel: "self.mode != 'Replicated' || self.replicas >= oldSelf.replicas",
        message: "cannot shrink: Sentinels go on counting those that are gone",
        path: ".replicas",
    },
    Rule {
        cel: "self.mode != 'Replicated' || self.persistence.enabled == oldSelf.persistence.enabled",
        message: "cannot change with mode: Replicated",
        path: ".persistence.enabled",
    },
];

pub(super) fn spec(schema: &mut Schema) {
    formats(schema);
    attach(schema, SPEC);
    attach(schema, sidecar::RULES);
}

pub(super) fn disruption(schema: &mut Schema) {
    attach(schema, DISRUPTION);
}

pub(super) fn service(schema: &mut Schema) {
    attach(schema, SERVICE);
}

pub(super) fn ingress(schema: &mut Schema) {
    attach(schema, INGRESS);
}

pub(super) fn route(schema: &mut Schema) {
    attach(schema, ROUTE);
}

pub(super) fn monitoring(schema: &mut Schema) {
    attach(schema, MONITORING);
}

pub(super) fn autoscaling(schema: &mut Schema) {
    attach(schema, AUTOSCALING);
}

pub(super) fn listeners(schema: &mut Schema) {
    attach(schema, LISTENERS);
}

pub(super) fn managed_redis(schema: &mut Schema) {
    formats(schema);
    attach(schema, MANAGED_REDIS);
}

pub(super) fn persistence(schema: &mut Schema) {
    attach(schema, PERSISTENCE);
}

/// Replaces the number formats that the API server does not know; it would warn of each.
pub(super) fn formats(schema: &mut Schema) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for property in properties.values_mut().filter_map(Value::as_object_mut) {
        if let Some("uint8" | "uint16" | "uint32") = property.get("format").and_then(Value::as_str)
        {
            property.insert("format".to_owned(), Value::from("int32"));
        }
    }
}

fn attach(schema: &mut Schema, rules: &[Rule]) {
    let schema: &mut Map<String, Value> = schema.ensure_object();
    let list = schema
        .entry("x-kubernetes-validations")
        .or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut() {
        list.extend(rules.iter().map(
            |rule| json!({ "rule": rule.cel, "message": rule.message, "fieldPath": rule.path }),
        ));
    }
}
