//! The file as leaves: each with the path as it is written and in the one form in which the three spellings are the same.
//!
//! The reference reads keys without regard to case, so that form is small letters without separators.

use serde_json::Value;

use super::names;
use crate::Failure;

/// One value of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Leaf {
    /// The path as the file writes it.
    pub(super) written: String,
    /// The path in small letters without separators, from the root of a whole configuration.
    pub(super) plain: String,
    /// The value.
    pub(super) value: Value,
}

/// Sections that only a whole configuration has.
const WHOLE: [&str; 4] = ["wsc", "gateway", "http", "grpc"];

/// Reads a file: a whole configuration, or what stands under `wsc` in one.
pub(super) fn read(text: &str) -> Result<Vec<Leaf>, Failure> {
    // Without a snippet: what stands around a mistake may be a password.
    let value: Value = serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location();
        let place =
            place.map(|place| format!(" (line {}, column {})", place.line(), place.column()));
        Failure::failed(format!(
            "the file is not YAML, or has a key twice{}",
            place.unwrap_or_default()
        ))
    })?;
    let Value::Object(fields) = &value else {
        return Err(Failure::failed("the file has no keys"));
    };
    let whole = fields
        .keys()
        .any(|key| WHOLE.contains(&plain(key).as_str()));
    let mut leaves = Vec::new();
    gather(&value, "", if whole { "" } else { "wsc" }, &mut leaves);
    for leaf in &mut leaves {
        leaf.plain = unwrap(&leaf.plain);
    }
    Ok(leaves)
}

/// `gateway` may hold the whole configuration, too.
fn unwrap(path: &str) -> String {
    let inner = path.strip_prefix("gateway.");
    let inner = inner.filter(|inner| {
        let section = inner.split('.').next().unwrap_or_default();
        inner.contains('.') && section != "gateway"
    });
    inner.unwrap_or(path).to_owned()
}

fn gather(value: &Value, written: &str, path: &str, leaves: &mut Vec<Leaf>) {
    match value {
        // Nothing is said, and nothing is lost.
        Value::Null => {}
        Value::Object(fields) if !names::is_one_value(path) => {
            for (key, value) in fields {
                gather(value, &join(written, key), &join(path, &plain(key)), leaves);
            }
        }
        Value::Object(_)
        | Value::Array(_)
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_) => {
            leaves.push(Leaf {
                written: written.to_owned(),
                plain: path.to_owned(),
                value: value.clone(),
            });
        }
    }
}

/// `node_port`, `node-port`, `nodePort` and `NodePort` as `nodeport`.
pub(super) fn plain(key: &str) -> String {
    let letters = key.chars().filter(|c| !matches!(c, '_' | '-'));
    letters.flat_map(char::to_lowercase).collect()
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        read(text)
            .unwrap()
            .into_iter()
            .map(|leaf| leaf.plain)
            .collect()
    }

    #[test]
    fn three_spellings_are_one_key() {
        for text in [
            "wsc: {node_port: 1}",
            "wsc: {node-port: 1}",
            "wsc: {nodePort: 1}",
            "WSC: {NodePort: 1}",
        ] {
            assert_eq!(paths(text), ["wsc.nodeport"], "{text}");
        }
    }

    #[test]
    fn a_file_of_the_module_alone_is_what_stands_under_wsc() {
        assert_eq!(
            paths("node-port: 1\nack: {enabled: true}"),
            ["wsc.ack.enabled", "wsc.nodeport"]
        );
        assert_eq!(
            paths("gateway: {name: a, wsc: {path: /x}}"),
            ["gateway.name", "wsc.path"]
        );
    }

    #[test]
    fn what_is_wrong_with_the_file_is_told_without_its_contents() {
        let wrong = read("wsc:\n  redis: {password: hunter2\n  x")
            .unwrap_err()
            .to_string();
        assert!(
            wrong.contains("line") && !wrong.contains("hunter2"),
            "{wrong}"
        );
        let twice = read("wsc: {a: hunter2, a: hunter2}")
            .unwrap_err()
            .to_string();
        assert!(!twice.contains("hunter2"), "{twice}");
        assert!(read("[1, 2]").is_err());
    }
}
