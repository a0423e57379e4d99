//! What is written is what is read, for any values that the schema allows.

// Helpers of tests may fail loudly; clippy only knows that of the tests themselves.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use proptest::prelude::*;
use proptest::sample::select;
use regex_lite::Regex;
use schemars::generate::SchemaSettings;
use schemars::transform::AddNullable;
use serde_json::{Map, Value, json};
use wsc_config::GatewayConfig;

/// Texts that YAML likes to take for something else, and some that it does not.
const TEXTS: &[&str] = &[
    "",
    "a",
    "x-y",
    "a.b",
    "true",
    "no",
    "null",
    "~",
    "123",
    "1e3",
    "0x1f",
    "1.10",
    ".inf",
    "2020-01-01",
    "/",
    "/ws",
    "/a/b",
    "wsc:",
    "a:1",
    "10.0.0.0/8",
    "::1",
    "1.2.3.4",
    "2001:db8::/32",
    "https://a.example",
    "*.a.example",
    "host:6379",
    "[::1]:6379",
    "#a",
    "- a",
    "'",
    "\"",
    "a b",
    "ключ",
];

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

/// Any value that a node of the schema allows; keys of objects may be absent.
fn value(node: &Value) -> BoxedStrategy<Value> {
    if let (Some(min), Some(max)) = (node.get("x-wsc-min"), node.get("x-wsc-max")) {
        let default = node["default"].clone();
        return select(vec![min.clone(), max.clone(), default]).boxed();
    }
    if let Some(words) = node["enum"].as_array() {
        return select(words.clone()).boxed();
    }
    match node["type"].as_str() {
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("integer") => {
            let bound = |name: &str| node[name].as_i64().expect("bounded");
            (bound("minimum")..=bound("maximum"))
                .prop_map(Value::from)
                .boxed()
        }
        Some("number") => {
            let bound = |name: &str| node[name].as_f64().expect("bounded");
            (bound("minimum")..=bound("maximum"))
                .prop_map(Value::from)
                .boxed()
        }
        Some("string") => select(texts(node)).prop_map(Value::from).boxed(),
        Some("array") => prop::collection::vec(value(&node["items"]), 1..4)
            .prop_map(Value::from)
            .boxed(),
        _ => object(node),
    }
}

/// The texts that fit a node of the schema.
fn texts(node: &Value) -> Vec<&'static str> {
    let pattern = Regex::new(node["pattern"].as_str().unwrap_or("")).expect("a pattern");
    let least = node["minLength"].as_u64().unwrap_or(0);
    let syntax = |text: &str| match node["x-wsc-syntax"].as_str() {
        Some("ip") => text.parse::<std::net::IpAddr>().is_ok(),
        Some("cidr") => text.parse::<wsc_config::Cidr>().is_ok(),
        _ => true,
    };
    let fits = |text: &&&str| pattern.is_match(text) && text.len() as u64 >= least && syntax(text);
    TEXTS.iter().filter(fits).copied().collect()
}

fn object(node: &Value) -> BoxedStrategy<Value> {
    let Some(properties) = node["properties"].as_object() else {
        let keys = select(vec!["customer", "agent", "true", "1"]);
        let entries = prop::collection::btree_map(keys, value(&node["additionalProperties"]), 0..3);
        return entries.prop_map(|entries| json!(entries)).boxed();
    };
    let required = node["required"].as_array().cloned().unwrap_or_default();
    let fields: Vec<BoxedStrategy<Option<(String, Value)>>> = properties
        .iter()
        .map(|(key, node)| {
            let key = key.clone();
            let required = required.contains(&json!(key));
            let field = value(node).prop_map(move |value| (key.clone(), value));
            if required {
                field.prop_map(Some).boxed()
            } else {
                prop::option::of(field).boxed()
            }
        })
        .collect();
    fields
        .prop_map(|fields| Value::Object(fields.into_iter().flatten().collect::<Map<_, _>>()))
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn yaml_gives_back_the_same_configuration_and_the_same_text(raw in value(&schema())) {
        let config: GatewayConfig = serde_json::from_value(raw).expect("what the schema allows can be read");
        let text = config.to_yaml().expect("can be written");
        let read: GatewayConfig = serde_saphyr::from_str(&text).expect("can be read");
        prop_assert_eq!(&read, &config, "{}", text);
        prop_assert_eq!(read.to_yaml().expect("can be written"), text);
    }

    #[test]
    fn the_loader_accepts_what_was_written_if_and_only_if_it_is_valid(raw in value(&schema())) {
        let config: GatewayConfig = serde_json::from_value(raw).expect("what the schema allows can be read");
        let text = config.to_yaml().expect("can be written");
        match (GatewayConfig::load(Some(&text), [], &[]), config.validate()) {
            (Ok(loaded), Ok(())) => prop_assert_eq!(loaded, config),
            (Err(wsc_config::ConfigError::Invalid(found)), Err(problems)) => {
                let faults = |problems: &wsc_config::Problems| -> Vec<_> {
                    problems.iter().map(|problem| (problem.path.clone(), problem.fault.clone())).collect()
                };
                prop_assert_eq!(faults(&found), faults(&problems));
            }
            (loaded, verdict) => prop_assert!(false, "{:?} but {:?}\n{}", loaded, verdict, text),
        }
    }

    #[test]
    fn no_text_makes_the_loader_panic(text in ".{0,200}", key in "[A-Za-z_.]{0,30}") {
        let env = [(format!("WSC__{key}"), text.clone())];
        let _ = GatewayConfig::load(Some(&text), env, &[format!("{key}={text}"), text.clone()]);
    }
}

#[test]
fn the_defaults_survive() {
    let text = GatewayConfig::default().to_yaml().expect("can be written");
    assert_eq!(
        GatewayConfig::load(Some(&text), [], &[]).expect("valid"),
        GatewayConfig::default()
    );
}
