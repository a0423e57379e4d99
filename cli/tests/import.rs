//! `wscctl import`: a configuration of the reference in, a resource that the API server takes out.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::path::PathBuf;

use kube_core::cel::{Validator, apply_defaults, compile_schema};
use serde_json::{Map, Value, json};
use wsc_operator::api::{WebSocketGateway, crd};
use wscctl::import::{Identity, Imported, import};

const EXAMPLE: &str = include_str!("fixtures/reference.yaml");

fn identity() -> Identity {
    Identity {
        name: "shop".to_owned(),
        namespace: None,
        replicas: 3,
    }
}

fn imported(text: &str) -> Imported {
    import(
        text,
        &Identity {
            replicas: 1,
            ..identity()
        },
    )
    .unwrap()
}

fn notes(text: &str) -> Vec<String> {
    let notes = imported(text).notes;
    notes
        .into_iter()
        .map(|note| format!("{}: {}", note.path, note.why))
        .collect()
}

/// Refuses what the API server would refuse; returns the resource with its defaults.
fn admitted(resource: &Value) -> WebSocketGateway {
    let crd = serde_json::to_value(crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let unknown = unknown(schema, resource, "");
    assert!(
        unknown.is_empty(),
        "keys that the CRD does not have: {unknown:?}"
    );
    let whole = apply_defaults(schema, resource);
    let refused = Validator::new().validate_compiled(&compile_schema(schema), &whole, None);
    assert!(refused.is_ok(), "{refused:?}");
    let gateway: WebSocketGateway = serde_json::from_value(whole).unwrap();
    gateway.spec.wsc.validate().unwrap();
    gateway
}

fn unknown(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let (Some(known), Some(fields)) = (schema["properties"].as_object(), value.as_object()) else {
        return Vec::new();
    };
    let inside = |(key, value): (&String, &Value)| match known.get(key) {
        Some(schema) => unknown(schema, value, &format!("{path}.{key}")),
        None if path.is_empty() => Vec::new(),
        None => vec![format!("{path}.{key}")],
    };
    fields.iter().flat_map(inside).collect()
}

#[test]
fn the_example_gives_the_resource_in_its_golden_file() {
    let written = import(EXAMPLE, &identity()).unwrap().yaml().unwrap();
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/resource.yaml");
    if std::env::var_os("WSC_UPDATE").is_some() {
        std::fs::write(&golden, &written).unwrap();
    }
    assert!(
        std::fs::read_to_string(&golden).unwrap_or_default() == written,
        "not what is made now; look at the difference after: WSC_UPDATE=1 cargo test -p wsc-cli --test import"
    );
}

#[test]
fn the_api_server_takes_the_resource_and_it_says_what_the_file_said() {
    let imported = import(EXAMPLE, &identity()).unwrap();
    assert_eq!(imported.notes, []);
    let spec = admitted(&imported.resource).spec;
    assert_eq!(
        (spec.replicas, spec.gateway.environment.as_str()),
        (3, "production")
    );
    assert_eq!(
        (spec.listeners.http.port, spec.listeners.grpc.port),
        (8088, 9095)
    );
    // Bare integers count KiB there in the reference, and bytes here.
    assert_eq!(spec.wsc.performance.read_buffer_size.bytes(), 8 * 1024);
    assert_eq!(spec.wsc.performance.write_buffer_size.bytes(), 16 * 1024);
    assert_eq!(spec.wsc.security.max_message_size.bytes(), 512 * 1024);
    assert_eq!(spec.wsc.ack.base_delay.to_string(), "150ms");
    assert_eq!(spec.wsc.record.ttl.to_string(), "48h");
}

#[test]
fn no_section_is_left_out_of_the_example() {
    let spec = &import(EXAMPLE, &identity()).unwrap().resource["spec"]["wsc"];
    // What the reference has no key for, or what only a Secret can say.
    let others = [
        "outboxBytes",
        "slowConsumerPolicy",
        "delivery",
        "hooks",
        "presence",
    ];
    for key in wsc_config::keys() {
        let mut parts = key.path.split('.');
        if parts.next() != Some("wsc") {
            continue;
        }
        let first = parts.next().unwrap();
        assert!(
            others.contains(&first) || spec.get(first).is_some(),
            "{}",
            key.path
        );
    }
}

/// The same file with every key spelt by `spell`.
fn respelt(value: &Value, spell: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| (spell(key), respelt(value, spell)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

fn camel(key: &str) -> String {
    let mut words = key.split('_');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |key, word| {
        key + &word[..1].to_uppercase() + &word[1..]
    })
}

#[test]
fn three_spellings_give_the_same_resource() {
    let snake: Value = serde_saphyr::from_str(EXAMPLE).unwrap();
    let expected = import(EXAMPLE, &identity()).unwrap();
    let kebab = |key: &str| key.replace('_', "-");
    for spell in [&kebab as &dyn Fn(&str) -> String, &camel, &|key| {
        camel(key).to_uppercase()
    }] {
        let text = respelt(&snake, spell).to_string();
        assert!(!text.contains('_') || text.contains("kick_new"));
        assert_eq!(import(&text, &identity()).unwrap(), expected, "{text}");
    }
}

#[test]
fn what_stands_under_wsc_may_be_the_whole_file() {
    let whole: Value = serde_saphyr::from_str(EXAMPLE).unwrap();
    let alone = import(&whole["wsc"].to_string(), &identity()).unwrap();
    let expected = import(&json!({"wsc": whole["wsc"]}).to_string(), &identity()).unwrap();
    assert_eq!(alone, expected);
}

#[test]
fn names_of_the_library_go_where_they_belong() {
    let resource = imported(
        "enable_ack: true\nack_timeout_ms: 700\nack_max_retries: 9\nmessage_record_ttl: 2h\nsse_heartbeat: 9s\n\
         group: {group_cache_expire: 60, auto_create_group: true}\nshutdown_max_timeout: 2m\n\
         redis: {addr: 'cache:6390', pool_size: 4}\nretry_policy: {base_delay: 20ms}",
    );
    assert_eq!(resource.notes, []);
    let spec = admitted(&resource.resource).spec;
    let wsc = &spec.wsc;
    assert!(wsc.ack.enabled && wsc.group.auto_create);
    assert_eq!(wsc.ack.timeout.to_string(), "700ms");
    assert_eq!(
        (wsc.ack.max_retries, wsc.ack.base_delay.to_string().as_str()),
        (9, "20ms")
    );
    assert_eq!((wsc.redis.host.as_str(), wsc.redis.port), ("cache", 6390));
    assert_eq!(spec.drain.deadline.to_string(), "2m");
}

#[test]
fn every_key_that_is_left_behind_is_named_with_its_path() {
    let notes = notes(
        "wsc:\n  nodePort: 80\n  node-ip: 10.0.0.1\n  max_retriez: 3\n  vip: {max-level: 8}\n  websocket_origins: ['*', 'https://a.example']\n  \
         redis: {username: default, password: hunter2}\n  heartbeat_interval: 2h\nelasticsearch: {address: http://x}\n",
    );
    for path in [
        "elasticsearch.address: there is no such key",
        "wsc.heartbeat_interval: ",
        "wsc.max_retriez: there is no such key",
        "wsc.node-ip: ",
        "wsc.nodePort: must be 1024",
        "wsc.redis.password: ",
        "wsc.redis.username: ",
        "wsc.vip.max-level: ",
        "wsc.websocket_origins: ",
    ] {
        assert_eq!(
            notes.iter().filter(|note| note.starts_with(path)).count(),
            1,
            "{path} in {notes:?}"
        );
    }
    assert_eq!(notes.len(), 9, "{notes:?}");
}

#[test]
fn a_secret_of_the_file_is_not_repeated() {
    let text = "wsc: {redis: {password: hunter2, addr: 'redis://:hunter2@x:1'}, security: {message_encryption: {key: hunter2}}}\njwt: {signing_key: hunter2}";
    let imported = imported(text);
    let written = imported.yaml().unwrap();
    assert!(!written.contains("hunter2"), "{written}");
    assert!(
        written.contains("passwordSecretRef") && written.contains("jwt.secretRef"),
        "{written}"
    );
    assert_eq!(imported.notes.len(), 4, "{written}");
}

#[test]
fn of_two_keys_for_one_thing_the_one_of_the_same_name_is_taken_and_the_other_named() {
    let imported = imported("ack: {max_retries: 7}\nack_max_retries: 2\nmax_retries: 7");
    assert_eq!(imported.resource["spec"]["wsc"]["ack"]["maxRetries"], 7);
    assert_eq!(imported.notes.len(), 1);
    assert_eq!(imported.notes[0].path, "ack_max_retries");
}

#[test]
fn what_breaks_a_rule_is_left_behind_and_the_rest_is_taken() {
    let imported = imported("wsc: {heartbeat_interval: 60, client_timeout: 30, path: /x}");
    assert_eq!(imported.notes.len(), 1, "{:?}", imported.notes);
    assert_eq!(imported.notes[0].path, "wsc.client_timeout");
    let wsc = admitted(&imported.resource).spec.wsc;
    assert_eq!(
        (
            wsc.path.as_str(),
            wsc.heartbeat_interval.to_string().as_str()
        ),
        ("/x", "1m")
    );
}

#[test]
fn more_pods_than_one_need_a_distributed_file() {
    let refused = import("wsc: {path: /x}", &identity()).unwrap_err();
    assert_eq!(refused.exit_code(), 2);
    assert!(refused.to_string().contains("wsc.distributed.enabled"));
}
