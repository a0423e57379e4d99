//! The schema is fit for the API server, complete, and the only place where bounds are stated.

// Helpers of tests may fail loudly; clippy only knows that of the tests themselves.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use schemars::transform::AddNullable;
use serde_json::{Value, json};
use wsc_config::{GatewayConfig, Since, keys};

fn schema() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let generator = settings
        .with_transform(AddNullable::default())
        .into_generator();
    generator.into_root_schema_for::<GatewayConfig>().to_value()
}

/// Calls `visit` with every node of the schema and its path.
fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (key, child) in schema["properties"].as_object().into_iter().flatten() {
        walk(child, &format!("{path}.{key}"), visit);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(child) = schema.get(keyword) {
            walk(child, &format!("{path}.{keyword}"), visit);
        }
    }
}

#[test]
fn every_value_is_bounded_so_that_rules_stay_within_the_cost_budget() {
    walk(&schema(), "", &mut |path, node| {
        let has = |keyword: &str| node.get(keyword).is_some();
        if has("x-wsc-unit") {
            assert!(
                has("maxLength") && has("pattern") && has("x-wsc-min") && has("x-wsc-max"),
                "{path}: {node}"
            );
            return;
        }
        match node["type"].as_str() {
            Some("string") => assert!(has("enum") || has("maxLength"), "{path}: {node}"),
            Some("integer" | "number") => {
                assert!(has("minimum") && has("maximum"), "{path}: {node}");
            }
            Some("array") => assert!(has("maxItems"), "{path}: {node}"),
            Some("object") => assert!(has("properties") || has("maxProperties"), "{path}: {node}"),
            kind => assert_eq!(kind, Some("boolean"), "{path}: {node}"),
        }
    });
}

#[test]
fn the_schema_is_structural() {
    walk(&schema(), "", &mut |path, node| {
        for keyword in [
            "$ref",
            "anyOf",
            "oneOf",
            "allOf",
            "not",
            "const",
            "definitions",
        ] {
            assert!(node.get(keyword).is_none(), "{path}: {keyword}");
        }
        assert!(
            node.get("additionalProperties")
                .is_none_or(Value::is_object),
            "{path}: {node}"
        );
        if let Some(format) = node.get("format").and_then(Value::as_str) {
            assert!(
                ["int32", "int64", "double"].contains(&format),
                "{path}: the API server warns of {format}"
            );
        }
        if node.get("x-kubernetes-int-or-string").is_some() {
            assert_eq!(
                node["nullable"],
                json!(false),
                "{path}: null would slip past the default"
            );
        }
    });
}

#[test]
fn the_schema_uses_no_keyword_that_the_loader_does_not_read() {
    let known = BTreeSet::from([
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "nullable",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
        "x-kubernetes-int-or-string",
        "x-kubernetes-validations",
        "x-wsc-leaf",
        "x-wsc-max",
        "x-wsc-min",
        "x-wsc-syntax",
        "x-wsc-unit",
        "x-wsc-now",
        "x-wsc-zero",
    ]);
    walk(&schema(), "", &mut |path, node| {
        for keyword in node.as_object().expect("an object").keys() {
            assert!(
                known.contains(keyword.as_str()),
                "{path}: `check` does not know {keyword}"
            );
        }
    });
}

#[test]
fn defaults_in_the_schema_are_those_of_the_types() {
    let config = serde_json::to_value(GatewayConfig::default()).expect("JSON");
    walk(&schema(), "", &mut |path, node| {
        let pointer = path.replace('.', "/");
        if let (Some(default), Some(value)) = (node.get("default"), config.pointer(&pointer)) {
            assert_eq!(default, value, "{path}");
        }
    });
    let empty: GatewayConfig =
        serde_json::from_value(json!({"wsc": {"redis": {"tls": {}}, "ack": {}}})).expect("ok");
    assert_eq!(empty, GatewayConfig::default());
}

#[test]
fn every_section_and_key_has_a_default_unless_it_may_be_absent() {
    walk(&schema(), "", &mut |path, node| {
        for (key, child) in node["properties"].as_object().into_iter().flatten() {
            let required = node["required"]
                .as_array()
                .is_some_and(|names| names.contains(&json!(key)));
            let absent = child["nullable"] == json!(true);
            assert!(
                required || absent || child.get("default").is_some(),
                "{path}.{key}"
            );
        }
    });
}

#[test]
fn every_key_has_a_release_and_a_description() {
    let mut leaves = BTreeSet::new();
    walk(&schema(), "", &mut |path, node| {
        let below =
            path.contains("SecretRef.") || path.contains("secretRef.") || path.contains(".items");
        let leaf = node.get("properties").is_none() || node.get("x-wsc-leaf").is_some();
        if leaf && !below && !path.contains(".additionalProperties") {
            leaves.insert(path.trim_start_matches('.').to_owned());
        }
    });
    let listed: BTreeSet<String> = keys().iter().map(|key| key.path.clone()).collect();
    assert_eq!(
        leaves, listed,
        "left: keys of the schema; right: lines of status.rs that name one"
    );
    for key in keys() {
        assert!(
            key.does.ends_with('.') && key.does.len() > 10,
            "{}: {}",
            key.path,
            key.does
        );
        assert!(matches!(
            key.since,
            Since::Implemented(_) | Since::Planned(_)
        ));
    }
}
