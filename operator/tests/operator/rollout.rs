//! What rolls the pods, and what reaches running ones through their files instead.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use wsc_operator::owned::Kind;

use crate::cel::admit;
use crate::pipeline::desired;

fn gateway(wsc: &Value) -> Value {
    json!({
        "apiVersion": "wsc.dev/v1alpha1",
        "kind": "WebSocketGateway",
        "metadata": {"name": "chat", "namespace": "default"},
        "spec": {
            "listeners": {"ws": {"tls": {"secretName": "ours"}}},
            "wsc": wsc,
        },
    })
}

fn wsc(more: Value) -> Value {
    let key = |key: &str| json!({"name": "ours", "key": key});
    let mut wsc = json!({
        "redis": {"host": "redis", "passwordSecretRef": {"name": "redis", "key": "password"}},
        "security": {
            "enableEncryption": true,
            "encryptionKeySecretRef": key("seal"),
            "apiKeySecretRef": key("api"),
            "jwt": {"secretRef": key("jwt")},
        },
    });
    for (name, value) in more.as_object().unwrap() {
        wsc[name] = value.clone();
    }
    wsc
}

fn secret(name: &str, version: &str, keys: &[(&str, &str)]) -> Secret {
    let mut secret = Secret::default();
    secret.metadata.name = Some(name.to_owned());
    secret.metadata.namespace = Some("default".to_owned());
    secret.metadata.resource_version = Some(version.to_owned());
    let data = keys.iter().map(|(key, value)| {
        let value = ByteString(value.as_bytes().to_vec());
        ((*key).to_owned(), value)
    });
    secret.data = Some(data.collect());
    secret
}

/// Everything that can change while a gateway runs, in one Secret.
fn ours(letter: &str) -> Secret {
    let key = letter.repeat(43);
    let pem = |label: &str| format!("-----BEGIN {label}-----\n{letter}\n-----END {label}-----\n");
    let keys = [
        ("jwt", key.as_str()),
        ("jwt-next", &key),
        ("api", &key),
        ("seal", &key),
        ("tls.crt", &pem("CERTIFICATE")),
        ("tls.key", &pem("PRIVATE KEY")),
    ];
    secret("ours", letter, &keys)
}

fn deployment(wsc: &Value, secrets: &[Secret]) -> Value {
    let built = desired(admit(gateway(wsc)), secrets, Kind::ALL.into()).unwrap();
    let objects = built.objects.iter().map(|object| object.body.clone());
    let mut deployments = objects.filter(|body| body["kind"] == "Deployment");
    deployments.next().unwrap()
}

#[test]
fn only_what_a_running_gateway_cannot_take_over_rolls_the_pods() {
    let redis = |version, password| secret("redis", version, &[("password", password)]);
    let before = deployment(&wsc(json!({})), &[ours("a"), redis("1", "p")]);

    let rotated = deployment(&wsc(json!({})), &[ours("b"), redis("1", "p")]);
    assert_eq!(before, rotated, "keys and certificates are read again");
    let live = wsc(json!({"websocketOrigins": ["https://a.example"], "outboxBytes": "2MiB"}));
    assert_eq!(before, deployment(&live, &[ours("a"), redis("1", "p")]));

    let password = deployment(&wsc(json!({})), &[ours("a"), redis("2", "q")]);
    assert_eq!(
        before, password,
        "Redis' password is for the next connection"
    );
    let fixed = wsc(json!({"path": "/other"}));
    assert_ne!(before, deployment(&fixed, &[ours("a"), redis("1", "p")]));
}

#[test]
fn a_replaced_password_of_the_managed_redis_rolls_pods_only_where_it_is_alone() {
    let rolls = |mode: &str| {
        let with = |password: &str| {
            let resource = json!({
                "apiVersion": "wsc.dev/v1alpha1",
                "kind": "WebSocketGateway",
                "metadata": {"name": "chat", "namespace": "default"},
                "spec": {"managedRedis": {"mode": mode}, "wsc": {"distributed": {"enabled": true}}},
            });
            let line = format!("requirepass {password}");
            let keys = [("redis-password", password), ("auth.conf", line.as_str())];
            let mut redis = secret("chat-redis", "1", &keys);
            let owner = json!([{
                "apiVersion": "wsc.dev/v1alpha1",
                "kind": "WebSocketGateway",
                "name": "chat",
                "uid": "00000000-0000-0000-0000-000000000001",
                "controller": true,
            }]);
            redis.metadata.owner_references = serde_json::from_value(owner).unwrap();
            let built = desired(admit(resource), &[redis], Kind::ALL.into()).unwrap();
            let objects = built.objects.into_iter();
            let templates = objects.map(|object| object.body["spec"]["template"].clone());
            templates.collect::<Vec<Value>>()
        };
        with("one") != with("other")
    };
    assert!(rolls("Standalone"));
    assert!(!rolls("Replicated"));
}

#[test]
fn no_password_can_be_found_from_what_is_published() {
    let with = |password| {
        let redis = secret("redis", "1", &[("password", password)]);
        deployment(&wsc(json!({})), &[ours("a"), redis])
    };
    assert_eq!(with("guess"), with("truth"));
}

#[test]
fn two_rounds_are_enough_for_a_rollout_of_any_number_of_gateways() {
    for replicas in 1..=50 {
        let spec = json!({"replicas": replicas, "wsc": {"distributed": {"enabled": true}}});
        let gateway = admit(json!({
            "apiVersion": "wsc.dev/v1alpha1", "kind": "WebSocketGateway",
            "metadata": {"name": "chat", "namespace": "default"}, "spec": spec,
        }));
        let built = desired(gateway, &[], Kind::ALL.into()).unwrap();
        let mut objects = built.objects.iter();
        let found = objects.find(|object| object.kind == Kind::Deployment);
        let strategy = &found.unwrap().body["spec"]["strategy"]["rollingUpdate"];
        assert_eq!(strategy["maxUnavailable"], 0);
        let surge = strategy["maxSurge"].as_str().unwrap().trim_end_matches('%');
        let surge: usize = surge.parse().unwrap();
        let a_round = (replicas * surge).div_ceil(100);
        let rounds = replicas.div_ceil(a_round);
        assert!(rounds <= 2, "{replicas} gateways in {rounds} rounds");
    }
}
