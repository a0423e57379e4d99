//! What the derived schemas need to be fit for the API server, and the CEL rules attached to them.
//!
//! Every struct of this crate runs [`kubernetes`] (or [`rules`], which includes it); fields add bounds with [`between`]
//! and [`ip`]. Nothing here knows a particular key. `x-wsc-*` keywords are for this crate's own readers (`check`, the
//! reference); a CRD does not carry them, since the typed form that kube writes has no place for them.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::transform::AddNullable;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// A path on a listener.
pub(crate) const PATH: &str = "^/[A-Za-z0-9._~/-]*$";

/// A user type, as tokens carry it in `user_type`.
pub(crate) const USER_TYPE: &str = "^[a-z][a-z0-9_-]*$";

/// What can stand as a label's value, or nothing.
pub(crate) const LABEL: &str = "^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$";

/// A condition between keys, in the words of the API server.
///
/// Each has its twin in Rust beside it; a test compares the two.
pub(crate) struct Rule {
    /// The CEL expression; `self` is the struct it is attached to.
    pub(crate) cel: &'static str,
    /// What the API server answers.
    pub(crate) message: &'static str,
    /// The key that the answer names, relative to the struct.
    pub(crate) path: &'static str,
}

/// A duration in CEL, from a key that counts seconds when it is a bare integer.
macro_rules! seconds {
    ($path:literal) => {
        concat!(
            "duration(string(",
            $path,
            ") + (string(",
            $path,
            ").matches('^[0-9]+$') ? 's' : ''))"
        )
    };
}

/// A duration in CEL, from a key that counts milliseconds when it is a bare integer.
macro_rules! millis {
    ($path:literal) => {
        concat!(
            "duration(string(",
            $path,
            ") + (string(",
            $path,
            ").matches('^[0-9]+$') ? 'ms' : ''))"
        )
    };
}

/// A quantity in CEL, from a key that counts bytes when it is a bare integer.
macro_rules! bytes {
    ($path:literal) => {
        concat!("quantity(string(", $path, ").replace('B', ''))")
    };
}

/// A quantity in CEL, from a key that counts KiB when it is a bare integer.
macro_rules! kib {
    ($path:literal) => {
        concat!(
            "quantity(string(",
            $path,
            ").replace('B', '') + (string(",
            $path,
            ").matches('^[0-9]+$') ? 'Ki' : ''))"
        )
    };
}

/// A port with its colon, in a pattern.
macro_rules! port {
    () => {
        ":([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
    };
}

pub(crate) use {bytes, kib, millis, port, seconds};

static ROOT: LazyLock<Value> = LazyLock::new(generate::<crate::GatewayConfig>);

/// The schema of the whole file, with `x-wsc-*` keywords.
pub(crate) fn root() -> &'static Value {
    &ROOT
}

/// The schema in the dialect of a CRD, before kube makes it structural.
pub(crate) fn generate<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let generator = settings
        .with_transform(AddNullable::default())
        .into_generator();
    generator.into_root_schema_for::<T>().to_value()
}

/// The schema of a key by its path from the root; keys of maps have the schema of their values.
pub(crate) fn at<'a>(path: impl IntoIterator<Item = &'a str>) -> Option<&'static Value> {
    path.into_iter()
        .try_fold(root(), |schema, key| child(schema, key))
}

/// The schema of a key within an object's schema.
pub(crate) fn child<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    let named = schema
        .get("properties")
        .and_then(|properties| properties.get(key));
    named.or_else(|| {
        schema
            .get("additionalProperties")
            .filter(|others| others.is_object())
    })
}

/// Replaces the number formats that the API server does not know; it would warn of each.
pub(crate) fn kubernetes(schema: &mut Schema) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for property in properties.values_mut().filter_map(Value::as_object_mut) {
        let format = match property.get("format").and_then(Value::as_str) {
            Some("uint8" | "uint16" | "uint32") => "int32",
            Some("uint" | "uint64") => "int64",
            _ => continue,
        };
        property.insert("format".to_owned(), Value::from(format));
    }
}

/// Marks a reference to a Secret, which the reference lists as one key.
pub(crate) fn secret(schema: &mut Schema) {
    kubernetes(schema);
    schema.insert("x-wsc-leaf".to_owned(), Value::from("secret"));
}

/// Attaches rules to a struct, besides what [`kubernetes`] does.
pub(crate) fn rules(rules: &'static [Rule]) -> impl FnMut(&mut Schema) {
    move |schema| {
        kubernetes(schema);
        for rule in rules {
            add_rule(
                schema.ensure_object(),
                json!({ "rule": rule.cel, "message": rule.message, "fieldPath": rule.path }),
            );
        }
    }
}

/// Bounds a duration or a size, both ends included.
///
/// The API server compares in CEL, since the value may be a text; `check` reads `x-wsc-min` and `x-wsc-max`.
pub fn between(min: &'static str, max: &'static str) -> impl FnMut(&mut Schema) {
    move |schema| {
        let schema = schema.ensure_object();
        let rule = match schema.get("x-wsc-unit").and_then(Value::as_str) {
            Some("seconds") => duration_rule(seconds!("self"), min, max),
            Some("milliseconds") => duration_rule(millis!("self"), min, max),
            Some("KiB") => size_rule(kib!("self"), min, max),
            Some(_) | None => size_rule(bytes!("self"), min, max),
        };
        schema.insert("x-wsc-min".to_owned(), Value::from(min));
        schema.insert("x-wsc-max".to_owned(), Value::from(max));
        add_rule(
            schema,
            json!({ "rule": rule, "message": format!("must be between {min} and {max}") }),
        );
    }
}

fn duration_rule(value: &str, min: &str, max: &str) -> String {
    format!("{value} >= duration('{min}') && {value} <= duration('{max}')")
}

fn size_rule(value: &str, min: &str, max: &str) -> String {
    let (min, max) = (min.replace('B', ""), max.replace('B', ""));
    format!(
        "{value}.compareTo(quantity('{min}')) >= 0 && {value}.compareTo(quantity('{max}')) <= 0"
    )
}

/// An IP address: the derived format is one that the API server does not know.
pub(crate) fn ip(schema: &mut Schema) {
    let schema = schema.ensure_object();
    schema.remove("format");
    schema.insert("maxLength".to_owned(), Value::from(45));
    schema.insert("x-wsc-syntax".to_owned(), Value::from("ip"));
    add_rule(
        schema,
        json!({ "rule": "isIP(self)", "message": "must be an IP address" }),
    );
}

fn add_rule(schema: &mut Map<String, Value>, rule: Value) {
    let rules = schema
        .entry("x-kubernetes-validations")
        .or_insert_with(|| json!([]));
    if let Some(rules) = rules.as_array_mut() {
        rules.push(rule);
    }
}
