//! Every key there is, from the schema: the reference and the gateway's warnings are made of it.

use std::fmt;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::GatewayConfig;
use crate::check::join;
use crate::schema;
use crate::status::{self, Since};

/// One key of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its path, such as `wsc.heartbeatInterval`.
    pub path: String,
    /// What kind of value it takes, in words.
    pub kind: String,
    /// What it is when nothing is said; `None` for keys that are then absent.
    pub default: Option<Value>,
    /// What it does.
    pub does: String,
    /// Since when it does so.
    pub since: Since,
}

/// A key, or a value of one, that is set although this release does not act on it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// The key's path.
    pub path: String,
    /// What it is set to.
    pub value: String,
    /// The release that will act on it.
    pub release: &'static str,
}

impl fmt::Display for KeyStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            value,
            release,
        } = self;
        write!(
            out,
            "{path}: `{value}` does nothing in this release; planned for {release}"
        )
    }
}

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let mut leaves = Vec::new();
    gather(schema::root(), "", &mut leaves);
    let described = status::KEYS.iter().filter_map(|(path, since)| {
        let (_, schema) = leaves.iter().find(|(leaf, _)| leaf == path)?;
        Some(describe(path, schema, *since))
    });
    described.collect()
});

/// Every key of the file, in the order of the reference.
pub fn keys() -> &'static [Key] {
    &KEYS
}

impl GatewayConfig {
    /// The keys that differ from their default although this release does not act on them yet.
    pub fn unimplemented_keys_set(&self) -> Vec<KeyStatus> {
        let values = serde_json::to_value(self).unwrap_or_default();
        let defaults = serde_json::to_value(Self::default()).unwrap_or_default();
        let mut set = Vec::new();
        for (path, since) in status::KEYS {
            let Since::Planned(release) = since else {
                continue;
            };
            let (value, default) = (lookup(&values, path), lookup(&defaults, path));
            if value != default {
                set.push(KeyStatus {
                    path: (*path).to_owned(),
                    value: show(value),
                    release,
                });
            }
        }
        for (path, word, release) in status::VALUES {
            if mentions(lookup(&values, path), word) {
                set.push(KeyStatus {
                    path: (*path).to_owned(),
                    value: (*word).to_owned(),
                    release,
                });
            }
        }
        set
    }
}

/// All leaves below a schema, with their paths.
pub(crate) fn gather<'a>(schema: &'a Value, path: &str, leaves: &mut Vec<(String, &'a Value)>) {
    let fields = schema.get("properties").and_then(Value::as_object);
    match fields.filter(|_| schema.get("x-wsc-leaf").is_none()) {
        Some(fields) => {
            for (key, schema) in fields {
                gather(schema, &join(path, key), leaves);
            }
        }
        None => leaves.push((path.to_owned(), schema)),
    }
}

pub(crate) fn lookup<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}

fn mentions(value: Option<&Value>, word: &str) -> bool {
    match value {
        Some(Value::String(text)) => text == word,
        Some(Value::Object(fields)) => fields.values().any(|value| value == word),
        _ => false,
    }
}

fn describe(path: &str, schema: &Value, since: Since) -> Key {
    let does = schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Key {
        path: path.to_owned(),
        kind: kind(schema),
        default: schema.get("default").cloned(),
        does: does.replace('\n', " "),
        since,
    }
}

/// What values a key takes, with the unit and the bounds.
fn kind(schema: &Value) -> String {
    let text = |name| schema.get(name).and_then(Value::as_str);
    if text("x-wsc-leaf").is_some() {
        return "Secret key `{name, key}`".to_owned();
    }
    if let Some(unit) = text("x-wsc-unit") {
        let what = if unit.ends_with("seconds") {
            "duration"
        } else {
            "size"
        };
        let bounds = range(text("x-wsc-min"), text("x-wsc-max"));
        return format!("{what}; integer: {unit}{bounds}");
    }
    match text("type") {
        Some("string") if text("x-wsc-syntax") == Some("ip") => "IP address".to_owned(),
        Some("string") => schema
            .get("enum")
            .map_or_else(|| "string".to_owned(), words),
        Some("array") => list(schema),
        Some("object") => map(schema),
        Some("boolean") => "boolean".to_owned(),
        Some(number) => {
            let bound = |name| schema.get(name).map(Value::to_string);
            format!(
                "{number}{}",
                range(bound("minimum").as_deref(), bound("maximum").as_deref())
            )
        }
        None => "any".to_owned(),
    }
}

fn range(min: Option<&str>, max: Option<&str>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!(", {min} to {max}"),
        _ => String::new(),
    }
}

fn words(words: &Value) -> String {
    let words = words
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    words
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn list(schema: &Value) -> String {
    let item = schema
        .get("items")
        .and_then(|items| items.get("x-wsc-syntax"))
        .and_then(Value::as_str);
    let of_objects = schema
        .get("items")
        .and_then(|items| items.get("properties"));
    let what = match item {
        None if of_objects.is_some() => "objects",
        Some("cidr") => "address ranges",
        Some("origin") => "origins",
        Some(_) | None => "strings",
    };
    let most = schema
        .get("maxItems")
        .map(Value::to_string)
        .unwrap_or_default();
    format!("list of {what}, at most {most}")
}

fn map(schema: &Value) -> String {
    let values = schema
        .get("additionalProperties")
        .and_then(|values| values.get("enum"));
    format!("map to {}", values.map(words).unwrap_or_default())
}

fn show(value: Option<&Value>) -> String {
    match value {
        None => "absent".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// The tables of the reference, each with what its section is about.
pub(crate) fn sections() -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    for key in keys() {
        let name = section(&key.path);
        if !sections.iter().any(|(known, _)| *known == name) {
            let schema = schema::at(name.split('.'));
            let does = schema
                .and_then(|schema| schema.get("description"))
                .and_then(Value::as_str);
            sections.push((name, does.unwrap_or_default().replace('\n', " ")));
        }
    }
    sections
}

/// The table that a key stands in: `http`, `wsc`, `wsc.redis`.
pub(crate) fn section(path: &str) -> String {
    let parts: Vec<&str> = path.split('.').collect();
    match parts.as_slice() {
        ["wsc", section, _, ..] => format!("wsc.{section}"),
        [section, ..] => (*section).to_owned(),
        [] => String::new(),
    }
}

/// Whether a default is worth printing.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields == &Map::new(),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::SlowConsumerPolicy;

    fn statuses(change: impl FnOnce(&mut GatewayConfig)) -> Vec<String> {
        let mut config = GatewayConfig::default();
        change(&mut config);
        config
            .unimplemented_keys_set()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn every_line_of_the_status_table_names_one_key() {
        let mut leaves = Vec::new();
        gather(schema::root(), "", &mut leaves);
        let leaves: BTreeSet<&str> = leaves.iter().map(|(path, _)| path.as_str()).collect();
        let lines: BTreeSet<&str> = status::KEYS.iter().map(|(path, _)| *path).collect();
        assert_eq!(
            leaves, lines,
            "left: keys of the schema; right: lines of status.rs"
        );
        assert_eq!(
            lines.len(),
            status::KEYS.len(),
            "a key has two lines in status.rs"
        );
    }

    #[test]
    fn every_planned_value_is_one_of_a_key_that_works() {
        for (path, word, _) in status::VALUES {
            let key = keys().iter().find(|key| key.path == *path).unwrap();
            assert!(
                matches!(key.since, Since::Implemented(_)) && key.kind.contains(word),
                "{path}: {word}"
            );
        }
    }

    #[test]
    fn defaults_set_nothing_that_waits() {
        assert_eq!(GatewayConfig::default().unimplemented_keys_set(), []);
    }

    #[test]
    fn keys_that_work_are_not_named() {
        let set = statuses(|config| {
            config.wsc.node_port = 9000;
            config
                .wsc
                .slow_consumer_policy
                .insert("agent".into(), SlowConsumerPolicy::DropOldest);
            config.drain.jitter = 0.5;
        });
        assert_eq!(set, Vec::<String>::new());
    }
}
