//! The CRD: the files that carry it, and what it refuses.

use std::path::Path;

use crate::cel::{admit, judge, judge_update};
use serde_json::{Value, json};
use wsc_operator::api::{WebSocketGatewaySpec, crd_yaml};
use wsc_operator::names::{CONFIG_HASH, Component, MAX_NAME, Names};

/// Where the CRD is, from the workspace's root.
const FILES: [&str; 2] = [
    "crds/websocketgateways.yaml",
    "charts/wsc-operator/crds/websocketgateways.yaml",
];

#[test]
fn the_generated_files_are_up_to_date() {
    let wanted = crd_yaml().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in FILES {
        let path = root.join(file);
        if std::env::var_os("WSC_UPDATE").is_some() {
            std::fs::write(&path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == wanted,
            "{file} is out of date; rewrite it with: WSC_UPDATE=1 cargo test -p wsc-operator --test operator"
        );
    }
}

#[test]
fn the_examples_are_admitted() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut seen = 0;
    let of = |folder: &Path| std::fs::read_dir(folder).unwrap();
    for entry in of(&examples).chain(of(&examples.join("sidecar"))) {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for document in text.split("\n---\n") {
            let value: Value = serde_saphyr::from_str(document).unwrap();
            if value["kind"] == "WebSocketGateway" {
                admit(value);
                seen += 1;
            }
        }
    }
    assert!(seen >= 3, "only {seen} examples");
}

#[test]
fn the_api_server_fills_in_every_default() {
    let gateway = admit(resource(json!({})));
    assert_eq!(gateway.spec, WebSocketGatewaySpec::default());
}

/// What is wrong, and the field that the refusal names.
fn wrong() -> Vec<(Value, &'static str)> {
    let ports = |http: u16, grpc: u16| json!({"listeners": {"http": {"port": http}, "grpc": {"port": grpc}}});
    vec![
        (json!({"replicas": 2}), "spec.wsc.distributed.enabled"),
        (
            json!({"replicas": 2, "wsc": {"distributed": {"enabled": true, "nodeDiscovery": "memory"}}}),
            "spec.wsc.distributed.nodeDiscovery",
        ),
        (ports(9000, 9000), "spec.listeners.grpc.port"),
        (ports(9100, 9090), "spec.listeners"),
        (json!({"wsc": {"nodePort": 8080}}), "spec.wsc.nodePort"),
        (json!({"wsc": {"nodePort": 9100}}), "spec.wsc.nodePort"),
        (json!({"wsc": {"nodePort": 80}}), "spec.wsc.nodePort"),
        (
            json!({"wsc": {"redis": {"passwordSecretRef": {"name": "a", "key": "b"}}}}),
            "spec.wsc.redis.passwordSecretRef",
        ),
        (
            json!({"wsc": {"redis": {"tls": {"enabled": true}}}}),
            "spec.wsc.redis.tls.enabled",
        ),
        (
            json!({"wsc": {"redis": {"username": "app"}}}),
            "spec.wsc.redis.username",
        ),
        (
            json!({"disruption": {"minAvailable": 1, "maxUnavailable": "20%"}}),
            "spec.disruption.minAvailable",
        ),
        (
            json!({"service": {"externalTrafficPolicy": "Local"}}),
            "spec.service.externalTrafficPolicy",
        ),
        (
            json!({"service": {"loadBalancerSourceRanges": ["10.0.0.0/8"]}}),
            "spec.service.loadBalancerSourceRanges",
        ),
        (
            json!({"service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/99"]}}),
            "spec.service.loadBalancerSourceRanges",
        ),
        (
            json!({"ingress": {"hosts": ["chat.example.org", "Chat_1"]}}),
            "spec.ingress.hosts",
        ),
        (
            json!({"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}),
            "spec.autoscaling.maxReplicas",
        ),
        (
            json!({"autoscaling": {"enabled": true}}),
            "spec.autoscaling.maxReplicas",
        ),
        (
            json!({"drain": {"window": "50s", "deadline": "10s"}}),
            "spec.drain.deadline",
        ),
        (
            json!({"wsc": {"heartbeatInterval": "60s", "clientTimeout": "30s"}}),
            "spec.wsc.clientTimeout",
        ),
    ]
}

/// The same of what is made for extensions.
fn wrong_extensions() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"route": {"enabled": true}}), "spec.route.parentRefs"),
        (
            json!({"route": {"hostnames": ["Chat_1"]}}),
            "spec.route.hostnames",
        ),
        (
            json!({"route": {"http": {"hostnames": ["https://a.example.org"]}}}),
            "spec.route.http.hostnames",
        ),
        (
            json!({"route": {"enabled": true, "parentRefs": [{"name": "public"}], "grpc": {"enabled": true}}}),
            "spec.route.grpc.hostnames",
        ),
        (
            json!({"route": {"hostnames": ["a.example.org"], "grpc": {"hostnames": ["a.example.org"]}}}),
            "spec.route.grpc.hostnames",
        ),
        (
            json!({"monitoring": {"enabled": true}, "wsc": {"performance": {"enableMetrics": false}}}),
            "spec.monitoring.enabled",
        ),
        (
            json!({"monitoring": {"labels": {"release": "a".repeat(64)}}}),
            "spec.monitoring.labels",
        ),
        (
            json!({"listeners": {
                "ws": {"tls": {"secretName": "a", "issuerRef": {"name": "one"}}},
                "grpc": {"tls": {"secretName": "a", "issuerRef": {"name": "other"}}},
            }}),
            "spec.listeners.grpc.tls.issuerRef",
        ),
        (
            json!({"listeners": {"ws": {"tls": {"secretName": "a", "dnsNames": ["chat.example.org"]}}}}),
            "spec.listeners.ws.tls.dnsNames",
        ),
        (
            json!({"autoscaling": {"kedaTriggers": [{"type": "cron", "metadata": {}}]}}),
            "spec.autoscaling.kedaTriggers",
        ),
        (
            json!({"autoscaling": {"scaleInDelay": "61m"}}),
            "spec.autoscaling.scaleInDelay",
        ),
    ]
}

/// The same of what has no meaning in pods of the application, or only there.
fn wrong_sidecars() -> Vec<(Value, &'static str)> {
    let sidecar = |more: Value| {
        let mut spec = json!({"mode": "Sidecar", "wsc": {"distributed": {"enabled": true}}});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        spec
    };
    let local = |port: u16| json!([{"name": "app", "points": ["connect"], "target": {"local": {"port": port}}}]);
    let policy = |key: &str| sidecar(json!({"networkPolicy": {"enabled": true, key: [{}]}}));
    vec![
        (json!({"mode": "Sidecar"}), "spec.wsc.distributed.enabled"),
        (
            sidecar(json!({"wsc": {"distributed": {"enabled": true, "nodeDiscovery": "memory"}}})),
            "spec.wsc.distributed.nodeDiscovery",
        ),
        (sidecar(json!({"replicas": 3})), "spec.replicas"),
        (sidecar(json!({"replicas": 0})), "spec.replicas"),
        (
            sidecar(json!({"autoscaling": {"enabled": true}})),
            "spec.autoscaling.enabled",
        ),
        (
            sidecar(json!({"scheduling": {"nodeSelector": {"disk": "fast"}}})),
            "spec.scheduling",
        ),
        (
            sidecar(json!({"scheduling": {"priorityClassName": "high"}})),
            "spec.scheduling",
        ),
        (sidecar(json!({"podTemplate": {}})), "spec.podTemplate"),
        (
            sidecar(json!({"disruption": {"maxUnavailable": 2}})),
            "spec.disruption",
        ),
        (policy("clients"), "spec.networkPolicy"),
        (policy("egress"), "spec.networkPolicy"),
        (json!({"hooks": local(9000)}), "spec.hooks"),
        (sidecar(json!({"hooks": local(8080)})), "spec.hooks"),
        (sidecar(json!({"hooks": local(9100)})), "spec.hooks"),
    ]
}

#[test]
fn a_sidecar_with_hooks_to_its_application_is_admitted_and_modes_can_change() {
    let sidecar = json!({
        "mode": "Sidecar",
        "wsc": {"distributed": {"enabled": true}},
        "networkPolicy": {"enabled": true},
        "hooks": [{"name": "app", "points": ["connect"], "target": {"local": {"port": 9000}}}],
    });
    let alone = json!({"replicas": 3, "wsc": {"distributed": {"enabled": true}}});
    assert_eq!(judge(resource(sidecar.clone())), []);
    assert_eq!(
        judge_update(resource(sidecar.clone()), resource(alone.clone())),
        []
    );
    assert_eq!(judge_update(resource(alone), resource(sidecar)), []);
}

#[test]
fn wrong_resources_are_refused_with_the_path_of_the_field() {
    for (spec, path) in wrong()
        .into_iter()
        .chain(wrong_extensions())
        .chain(wrong_sidecars())
    {
        let refusals = judge(resource(spec.clone()));
        assert!(
            refusals.iter().any(|refusal| refusal.path == path),
            "{spec} should be refused at {path}: {refusals:?}"
        );
    }
}

#[test]
fn an_overlay_does_not_touch_the_labels_that_the_operator_finds_its_pods_by() {
    let overlaid = |part: &str, key: &str| {
        judge(resource(
            json!({"podTemplate": {"metadata": {part: {key: "x"}}}}),
        ))
    };
    let names = Names::of("chat");
    let own = names.labels(Component::Gateway);
    for label in own.keys().chain(names.injected().keys()) {
        let refusals = overlaid("labels", label);
        let paths: Vec<&str> = refusals
            .iter()
            .map(|refusal| refusal.path.as_str())
            .collect();
        assert_eq!(paths, ["spec.podTemplate.metadata.labels"], "{label}");
    }
    assert_eq!(
        overlaid("annotations", CONFIG_HASH)[0].path,
        "spec.podTemplate.metadata.annotations"
    );
    assert_eq!(overlaid("labels", "app.kubernetes.io/version"), []);
    assert_eq!(overlaid("annotations", "example.org/note"), []);
}

#[test]
fn the_schema_bounds_the_name_by_what_derived_names_need() {
    let crd = serde_json::to_value(wsc_operator::api::crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let name = &schema["properties"]["metadata"]["properties"]["name"];
    assert_eq!(name["maxLength"], MAX_NAME);
    // A DNS label that begins with a letter: `1chat` and `chat.example` are none.
    assert_eq!(name["pattern"], "^[a-z]([-a-z0-9]*[a-z0-9])?$");
}

#[test]
fn a_volume_does_not_change_its_class_and_a_size_can_be_taken_back() {
    let with = |persistence: Value| resource(json!({"managedRedis": {"persistence": persistence}}));
    let refused_at = |old: Value, new: Value| -> Vec<String> {
        let refusals = judge_update(with(new), with(old));
        refusals.into_iter().map(|refusal| refusal.path).collect()
    };
    assert_eq!(
        refused_at(json!({}), json!({"storageClassName": "fast"})),
        ["spec.managedRedis.persistence.storageClassName"]
    );
    assert!(refused_at(json!({"size": "1Gi"}), json!({"size": "2Gi"})).is_empty());
    // The way back from a size that the storage class cannot give.
    assert!(refused_at(json!({"size": "2Gi"}), json!({"size": "1Gi"})).is_empty());
    assert!(
        refused_at(
            json!({"enabled": false, "size": "2Gi"}),
            json!({"size": "1Gi"})
        )
        .is_empty()
    );
}

#[test]
fn a_managed_redis_keeps_its_mode_and_a_replicated_one_its_members_and_volumes() {
    let with = |redis: Value| resource(json!({"managedRedis": redis}));
    let refused_at = |old: Value, new: Value| -> Vec<String> {
        let refusals = judge_update(with(new), with(old));
        refusals.into_iter().map(|refusal| refusal.path).collect()
    };
    let replicated = |more: Value| {
        let mut redis = json!({"mode": "Replicated"});
        redis
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        redis
    };
    let all = replicated(json!({}));
    assert_eq!(
        refused_at(json!({}), all.clone()),
        ["spec.managedRedis.mode"]
    );
    assert_eq!(
        refused_at(all.clone(), json!({})),
        ["spec.managedRedis.mode"]
    );
    let five = replicated(json!({"replicas": 5}));
    assert!(refused_at(all.clone(), five.clone()).is_empty());
    assert_eq!(
        refused_at(five, all.clone()),
        ["spec.managedRedis.replicas"]
    );
    let in_memory = replicated(json!({"persistence": {"enabled": false}}));
    assert_eq!(
        refused_at(all.clone(), in_memory),
        ["spec.managedRedis.persistence.enabled"]
    );
    let larger = replicated(json!({"persistence": {"size": "2Gi"}}));
    assert!(refused_at(all, larger).is_empty());
}

fn resource(spec: Value) -> Value {
    json!({
        "apiVersion": "wsc.dev/v1alpha1",
        "kind": "WebSocketGateway",
        "metadata": {"name": "chat", "namespace": "default"},
        "spec": spec,
    })
}
