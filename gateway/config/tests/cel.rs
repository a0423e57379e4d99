//! The API server and the gateway say the same of the same resource.
//!
//! The schema is made as kube makes a CRD, carried through the typed form that is applied, and its CEL rules are
//! evaluated after defaulting. Each case is also read by the gateway's own loader. Both must agree on right and wrong,
//! and on the key.

// Helpers of tests may fail loudly; clippy only knows that of the tests themselves.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]
// Cases read better without a reference in front of each.
#![allow(clippy::needless_pass_by_value)]

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kube_core::cel::{CompiledSchema, ValidationErrors, Validator, compile_schema};

use kube_core::schema::{OptionalEnum, OptionalIntOrString, StructuralSchemaRewriter};
use schemars::generate::SchemaSettings;
use schemars::transform::AddNullable;
use serde_json::{Value, json};
use wsc_config::{ConfigError, GatewayConfig};

/// The schema of the whole file as it would stand in a CRD.
fn crd_schema() -> Value {
    let generator = SchemaSettings::openapi3()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .with_transform(AddNullable::default())
        .with_transform(StructuralSchemaRewriter)
        .with_transform(OptionalEnum)
        .with_transform(OptionalIntOrString)
        .into_generator();
    let schema = generator.into_root_schema_for::<GatewayConfig>().to_value();
    let typed: JSONSchemaProps =
        serde_json::from_value(schema).expect("a schema that kube can carry");
    serde_json::to_value(typed).expect("a schema is JSON")
}

/// The keys that the API server's rules refuse.
fn refused_by_cel(schema: &CompiledSchema, config: &Value) -> Vec<String> {
    let errors = Validator::new()
        .validate_compiled(schema, config, None)
        .err();
    let errors = errors.map(ValidationErrors::into_vec).unwrap_or_default();
    let mut paths: Vec<String> = errors
        .into_iter()
        .map(|error| {
            let known = format!("{:?}", error.kind) == "ValidationFailure";
            assert!(known, "{config}: {error}: {:?}", error.kind);
            error.field_path.trim_start_matches('.').to_owned()
        })
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

/// The keys that the gateway refuses.
fn refused_by_loader(config: &Value) -> Vec<String> {
    let text = serde_json::to_string(config).expect("JSON is YAML");
    match GatewayConfig::load(Some(&text), [], &[]) {
        Ok(config) => {
            config.validate().expect("what was loaded is valid");
            Vec::new()
        }
        Err(ConfigError::Invalid(problems)) => {
            let paths: BTreeSet<String> = problems
                .iter()
                .map(|problem| problem.path.clone())
                .collect();
            paths.into_iter().collect()
        }
        Err(error) => panic!("{config}: {error}"),
    }
}

fn wsc(value: Value) -> Value {
    json!({ "wsc": value })
}

fn security(value: Value) -> Value {
    wsc(json!({ "security": value }))
}

fn distributed(value: Value) -> Value {
    wsc(json!({ "distributed": value }))
}

fn redis(value: Value) -> Value {
    wsc(json!({ "redis": value }))
}

fn hook(more: Value) -> Value {
    let mut hook = json!({"name": "a", "points": ["connect"], "events": [], "target": {"local": {"port": 9000}}});
    for (key, value) in more.as_object().expect("an object") {
        hook[key] = value.clone();
    }
    json!({ "hooks": [hook] })
}

/// What both must accept.
fn right() -> Vec<Value> {
    vec![
        json!({}),
        wsc(json!({})),
        wsc(json!({"heartbeatInterval": 15, "clientTimeout": 16})),
        wsc(json!({"heartbeatInterval": "15", "clientTimeout": "16s"})),
        wsc(json!({"heartbeatInterval": "1.5s", "clientTimeout": "2500ms"})),
        wsc(json!({"heartbeatInterval": "1h", "clientTimeout": "1h0.001s"})),
        wsc(json!({"outboxBytes": 1_048_576})),
        wsc(json!({"outboxBytes": "1Mi"})),
        wsc(json!({"outboxBytes": "2048B", "security": {"maxMessageSize": 2}})),
        wsc(json!({"slowConsumerPolicy": {"agent": "dropOldest", "customer": "disconnect"}})),
        wsc(
            json!({"slowConsumerPolicy": {"robot": "dropNewest"}, "security": {"allowedUserTypes": ["robot"]}}),
        ),
        wsc(json!({"allowMultiLogin": false, "connectionPolicy": "kickNew"})),
        wsc(json!({"nodeIp": "::"})),
        wsc(json!({"sse": {"path": "/events", "heartbeat": "5s", "timeout": 6}})),
        wsc(json!({"ack": {"baseDelay": 250, "maxDelay": "250ms"}})),
        wsc(json!({"distributed": {"healthCheckInterval": "1750ms", "nodeTimeout": "3500ms"}})),
        wsc(json!({"ticket": {"notifyTimeout": 60, "ticketTimeout": "1m"}})),
        wsc(json!({"performance": {"slowLogThreshold": 1, "readBufferSize": "16MiB"}})),
        security(json!({"enableIpWhitelist": true, "whitelistIps": ["10.0.0.0/8", "::1"]})),
        security(json!({"blockedIps": ["192.0.2.1", "2001:db8::/32", "0.0.0.0/0"]})),
        security(json!({"jwt": {"leeway": 0}})),
        security(
            json!({"jwt": {"algorithm": "RS256", "jwks": {"url": "https://id.example/jwks.json"}}}),
        ),
        security(
            json!({"jwt": {"algorithm": "EdDSA", "jwks": {"url": "http://[::1]:8080/k", "allowHttp": true}}}),
        ),
        security(
            json!({"jwt": {"algorithm": "HS512", "jwks": {"secretRef": {"name": "keys", "key": "jwks"}}}}),
        ),
        redis(json!({"host": "redis", "db": 3})),
        redis(json!({"host": "redis", "cluster": {"enabled": true}})),
        redis(
            json!({"sentinel": {"enabled": true, "masterName": "main", "addresses": ["s:26379"]}}),
        ),
        distributed(json!({"nodeDiscovery": "etcd", "etcd": {"endpoints": ["e:2379"]}})),
        distributed(json!({"etcd": {
            "username": "wsc", "passwordSecretRef": {"name": "etcd", "key": "password"},
            "tls": {
                "certSecretRef": {"name": "etcd", "key": "tls.crt"},
                "keySecretRef": {"name": "etcd", "key": "tls.key"},
            },
        }})),
        json!({"telemetry": {"otlp": {"endpoint": "http://otel:4317", "sampleRatio": 1}}}),
        json!({"drain": {"unreadyDelay": 0, "window": "60s", "deadline": "1m"}}),
        json!({"http": {"host": "127.0.0.1"}}),
        hook(json!({})),
        hook(json!({"points": [], "events": ["user.*"], "target": {"url": "https://a.example/x"}})),
    ]
}

/// What both must refuse, and the key that both must name.
fn wrong() -> Vec<(Value, &'static str)> {
    [
        wrong_by_itself(),
        wrong_together(),
        wrong_in_security(),
        wrong_in_the_cluster(),
        wrong_hooks(),
    ]
    .concat()
}

/// Values out of their bounds, or not what they should be.
fn wrong_by_itself() -> Vec<(Value, &'static str)> {
    vec![
        (
            wsc(json!({"heartbeatInterval": 0})),
            "wsc.heartbeatInterval",
        ),
        (
            wsc(json!({"heartbeatInterval": "999ms"})),
            "wsc.heartbeatInterval",
        ),
        (wsc(json!({"clientTimeout": "24h1ns"})), "wsc.clientTimeout"),
        (wsc(json!({"outboxBytes": "2GiB"})), "wsc.outboxBytes"),
        (
            security(json!({"maxMessageSize": "1023B"})),
            "wsc.security.maxMessageSize",
        ),
        (
            wsc(json!({"outboxBytes": "1GiB", "security": {"maxMessageSize": 65_537}})),
            "wsc.security.maxMessageSize",
        ),
        (wsc(json!({"nodeIp": "localhost"})), "wsc.nodeIp"),
        (wsc(json!({"nodeIp": "1.2.3.256"})), "wsc.nodeIp"),
        (wsc(json!({"nodeIp": "::ffff:1.2.3.4"})), "wsc.nodeIp"),
        (wsc(json!({"ack": {"maxDelay": 0}})), "wsc.ack.maxDelay"),
        (wsc(json!({"record": {"ttl": 59}})), "wsc.record.ttl"),
        (
            wsc(json!({"performance": {"slowLogThreshold": 0}})),
            "wsc.performance.slowLogThreshold",
        ),
        (
            wsc(json!({"performance": {"writeBufferSize": 511}})),
            "wsc.performance.writeBufferSize",
        ),
        (
            security(json!({"blockedIps": ["10.0.0.0/8", "10.0.0.0/33"]})),
            "wsc.security.blockedIps[1]",
        ),
        (
            security(json!({"blockedIps": ["10.0.0/8"]})),
            "wsc.security.blockedIps[0]",
        ),
        (
            security(json!({"trustedProxies": ["::ffff:10.0.0.0/104"]})),
            "wsc.security.trustedProxies[0]",
        ),
        (
            security(json!({"jwt": {"leeway": "11m"}})),
            "wsc.security.jwt.leeway",
        ),
        (
            security(json!({"jwt": {"jwks": {"cooldown": 0}}})),
            "wsc.security.jwt.jwks.cooldown",
        ),
        (
            security(json!({"messageRateLimit": {"window": "0s"}})),
            "wsc.security.messageRateLimit.window",
        ),
        (json!({"admin": {"host": "example.com"}}), "admin.host"),
        (
            json!({"telemetry": {"otlp": {"timeout": "61s"}}}),
            "telemetry.otlp.timeout",
        ),
    ]
}

/// Values that do not go with others.
fn wrong_hooks() -> Vec<(Value, &'static str)> {
    vec![
        (hook(json!({"points": []})), "hooks[0].points"),
        (hook(json!({"on": ["connect"]})), "hooks[0].on"),
        (
            hook(json!({"on": ["connect"], "points": []})),
            "hooks[0].on",
        ),
        (hook(json!({"target": {}})), "hooks[0].target.url"),
        (
            hook(json!({"target": {"url": "http://a.example"}, "tls": {}})),
            "hooks[0].tls",
        ),
        (
            hook(json!({"target": {"local": {"port": 1}, "url": "http://a.example"}})),
            "hooks[0].target.url",
        ),
        (
            hook(json!({"retry": {"baseDelay": "2s", "maxDelay": "1s"}})),
            "hooks[0].retry.maxDelay",
        ),
    ]
}

fn wrong_together() -> Vec<(Value, &'static str)> {
    vec![
        (wsc(json!({"clientTimeout": 30})), "wsc.clientTimeout"),
        (
            wsc(json!({"clientTimeout": "29999ms"})),
            "wsc.clientTimeout",
        ),
        (wsc(json!({"heartbeatInterval": "2m"})), "wsc.clientTimeout"),
        (wsc(json!({"outboxBytes": "1023KiB"})), "wsc.outboxBytes"),
        (wsc(json!({"outboxBytes": 1_048_575})), "wsc.outboxBytes"),
        (security(json!({"maxMessageSize": 1025})), "wsc.outboxBytes"),
        (
            wsc(json!({"slowConsumerPolicy": {"robot": "disconnect"}})),
            "wsc.slowConsumerPolicy",
        ),
        (
            wsc(
                json!({"slowConsumerPolicy": {"agent": "disconnect"}, "security": {"allowedUserTypes": ["admin"]}}),
            ),
            "wsc.slowConsumerPolicy",
        ),
        (
            wsc(json!({"allowMultiLogin": false, "connectionPolicy": "allowAll"})),
            "wsc.connectionPolicy",
        ),
        (wsc(json!({"path": "/sse"})), "wsc.sse.path"),
        (
            wsc(json!({"path": "/a", "sse": {"path": "/a"}})),
            "wsc.sse.path",
        ),
        (wsc(json!({"sse": {"heartbeat": 120}})), "wsc.sse.timeout"),
        (wsc(json!({"ack": {"baseDelay": "6s"}})), "wsc.ack.maxDelay"),
        (
            wsc(json!({"distributed": {"nodeTimeout": "19s"}})),
            "wsc.distributed.nodeTimeout",
        ),
        (
            wsc(json!({"ticket": {"ticketTimeout": 29}})),
            "wsc.ticket.notifyTimeout",
        ),
        (json!({"drain": {"window": "56s"}}), "drain.deadline"),
    ]
}

fn wrong_in_security() -> Vec<(Value, &'static str)> {
    vec![
        (
            security(json!({"enableIpWhitelist": true})),
            "wsc.security.whitelistIps",
        ),
        (
            security(json!({"jwt": {"jwks": {"url": "https://id.example/k"}}})),
            "wsc.security.jwt.jwks.url",
        ),
        (
            security(
                json!({"jwt": {"algorithm": "ES256", "jwks": {"url": "http://id.example/k"}}}),
            ),
            "wsc.security.jwt.jwks.url",
        ),
        (
            security(json!({"jwt": {
                "algorithm": "ES256",
                "secretRef": {"name": "a", "key": "b"},
                "jwks": {"url": "https://id.example/k"},
            }})),
            "wsc.security.jwt.secretRef",
        ),
        (
            security(json!({"jwt": {
                "algorithm": "ES256",
                "jwks": {"url": "https://id.example/k", "secretRef": {"name": "a", "key": "b"}},
            }})),
            "wsc.security.jwt.jwks.secretRef",
        ),
    ]
}

fn wrong_in_the_cluster() -> Vec<(Value, &'static str)> {
    vec![
        (
            redis(json!({"host": "redis", "cluster": {"enabled": true}, "db": 1})),
            "wsc.redis.db",
        ),
        (
            redis(json!({"cluster": {"enabled": true}})),
            "wsc.redis.cluster.addresses",
        ),
        (
            redis(json!({
                "host": "redis",
                "cluster": {"enabled": true},
                "sentinel": {"enabled": true, "masterName": "main", "addresses": ["s:1"]},
            })),
            "wsc.redis.sentinel.enabled",
        ),
        (
            redis(json!({"sentinel": {"enabled": true, "addresses": ["s:1"]}})),
            "wsc.redis.sentinel.masterName",
        ),
        (
            redis(json!({"sentinel": {"enabled": true, "masterName": "m"}})),
            "wsc.redis.sentinel.addresses",
        ),
        (
            distributed(json!({"nodeDiscovery": "etcd"})),
            "wsc.distributed.etcd.endpoints",
        ),
        (
            distributed(json!({"etcd": {"username": "wsc"}})),
            "wsc.distributed.etcd.username",
        ),
        (
            distributed(
                json!({"etcd": {"tls": {"certSecretRef": {"name": "etcd", "key": "tls.crt"}}}}),
            ),
            "wsc.distributed.etcd.tls.certSecretRef",
        ),
    ]
}

#[test]
fn what_the_api_server_accepts_the_gateway_accepts() {
    let schema = compile_schema(&crd_schema());
    for config in right() {
        assert_eq!(
            refused_by_cel(&schema, &config),
            Vec::<String>::new(),
            "CEL: {config}"
        );
        assert_eq!(
            refused_by_loader(&config),
            Vec::<String>::new(),
            "Rust: {config}"
        );
    }
}

#[test]
fn what_the_api_server_refuses_the_gateway_refuses_naming_the_same_key() {
    let schema = compile_schema(&crd_schema());
    for (config, path) in wrong() {
        assert_eq!(refused_by_cel(&schema, &config), [path], "CEL: {config}");
        assert_eq!(refused_by_loader(&config), [path], "Rust: {config}");
    }
}

#[test]
fn every_rule_refuses_something() {
    let schema = crd_schema();
    let compiled = compile_schema(&schema);
    let fired: Vec<String> = wrong()
        .iter()
        .flat_map(|(config, _)| {
            let verdict = Validator::new().validate_compiled(&compiled, config, None);
            verdict.expect_err("a wrong configuration").into_vec()
        })
        .map(|error| error.rule)
        .collect();
    let mut rules = Vec::new();
    between_keys(&schema, &mut rules);
    assert!(rules.len() >= 16, "{rules:?}");
    for rule in rules {
        assert!(
            fired.contains(&rule),
            "no case shows what this rule refuses: {rule}"
        );
    }
}

/// The rules attached to objects; those of single keys are bounds.
fn between_keys(schema: &Value, rules: &mut Vec<String>) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        assert!(
            rule["fieldPath"].is_string() && rule["message"].is_string(),
            "{rule}"
        );
        rules.push(
            rule["rule"]
                .as_str()
                .expect("a rule is a string")
                .to_owned(),
        );
    }
    for child in properties.values() {
        between_keys(child.get("items").unwrap_or(child), rules);
    }
}
