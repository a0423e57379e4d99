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
fn a_replaced_password_of_the_managed_redis_rolls_no_pods() {
    for mode in ["Standalone", "Replicated"] {
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
        assert_eq!(with("one"), with("other"), "{mode}");
    }
}

#[test]
fn no_password_can_be_found_from_what_is_published() {
    let with = |password| {
        let redis = secret("redis", "1", &[("password", password)]);
        deployment(&wsc(json!({})), &[ours("a"), redis])
    };
    assert_eq!(with("guess"), with("truth"));
}

/// What the Deployment's controller makes of a number of pods or a share of them.
fn resolved(value: &Value, replicas: u64, share: impl Fn(u64) -> u64) -> u64 {
    let Some(text) = value.as_str() else {
        return value.as_u64().unwrap();
    };
    let percent: u64 = text.strip_suffix('%').unwrap().parse().unwrap();
    share(replicas * percent)
}

/// How many rounds of new pods a rollout takes by the steps of the Deployment's controller, and how few are ready meanwhile.
fn rollout(strategy: &Value, replicas: u64) -> (u64, u64) {
    assert_eq!(strategy["type"], "RollingUpdate");
    let bounds = &strategy["rollingUpdate"];
    let surge = resolved(&bounds["maxSurge"], replicas, |parts| parts.div_ceil(100));
    let mut unavailable = resolved(&bounds["maxUnavailable"], replicas, |parts| parts / 100);
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    let (mut old, mut new, mut rounds, mut fewest) = (replicas, 0, 0, replicas);
    while old > 0 || new < replicas {
        // Ready ones go down to what must be left, then new ones come up to the most that there may be, and become ready.
        old -= old.min((old + new).saturating_sub(replicas - unavailable));
        fewest = fewest.min(old + new);
        let room = (replicas + surge).saturating_sub(old + new);
        let made = room.min(replicas - new);
        new += made;
        rounds += u64::from(made > 0);
        assert!(rounds <= replicas, "a rollout that does not end");
    }
    (rounds, fewest)
}

#[test]
fn two_rounds_are_enough_for_a_rollout_of_any_number_of_gateways_and_none_is_missing_meanwhile() {
    for replicas in 1..=50 {
        let spec = json!({"replicas": replicas, "wsc": {"distributed": {"enabled": true}}});
        let gateway = admit(json!({
            "apiVersion": "wsc.dev/v1alpha1", "kind": "WebSocketGateway",
            "metadata": {"name": "chat", "namespace": "default"}, "spec": spec,
        }));
        let built = desired(gateway, &[], Kind::ALL.into()).unwrap();
        let mut objects = built.objects.iter();
        let found = objects.find(|object| object.kind == Kind::Deployment);
        let spec = &found.unwrap().body["spec"];
        assert_eq!(spec["replicas"], replicas);
        let (rounds, fewest) = rollout(&spec["strategy"], replicas);
        assert!(rounds <= 2, "{replicas} gateways in {rounds} rounds");
        assert_eq!(fewest, replicas, "{replicas} gateways");
    }
}
