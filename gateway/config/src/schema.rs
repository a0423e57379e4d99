//! What the derived schemas need to be fit for the API server, and the CEL rules attached to them.
//!
//! Every struct of this crate runs [`kubernetes`] (or [`rules`], which includes it); fields add bounds with [`between`]
//! and [`ip`]. Nothing here knows a particular key. `x-wsc-*` keywords are for this crate's own readers (`check`, the
//! reference); a CRD does not carry them, since the typed form that kube writes has no place for them.

use schemars::Schema;
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

pub(crate) use {millis, seconds};

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
pub(crate) fn between(min: &'static str, max: &'static str) -> impl FnMut(&mut Schema) {
    move |schema| {
        let schema = schema.ensure_object();
        let value = match schema.get("x-wsc-unit").and_then(Value::as_str) {
            Some("milliseconds") => Some(millis!("self")),
            Some("seconds") => Some(seconds!("self")),
            _ => None,
        };
        let rule = match (value, schema.get("x-wsc-unit").and_then(Value::as_str)) {
            (Some(value), _) => {
                format!("{value} >= duration('{min}') && {value} <= duration('{max}')")
            }
            (None, unit) => size_rule(unit, min, max),
        };
        schema.insert("x-wsc-min".to_owned(), Value::from(min));
        schema.insert("x-wsc-max".to_owned(), Value::from(max));
        add_rule(
            schema,
            json!({ "rule": rule, "message": format!("must be between {min} and {max}") }),
        );
    }
}

fn size_rule(unit: Option<&str>, min: &str, max: &str) -> String {
    let bare = if unit == Some("KiB") { "Ki" } else { "" };
    let value = format!(
        "quantity(string(self).replace('B', '') + (string(self).matches('^[0-9]+$') ? '{bare}' : ''))"
    );
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
