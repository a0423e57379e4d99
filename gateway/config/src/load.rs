//! `Layers`: file, environment and flags on top of each other, remembering where each value came from.
//!
//! Values are merged before any type is looked at: objects key by key, everything else as a whole. What is unknown or
//! wrong is collected and reported at the end, all of it, so that one start shows everything there is to fix. Used by
//! [`GatewayConfig::load`] alone.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::check::{check, join, unknown};
use crate::problems::{Fault, Problem, Problems, Source};
use crate::tree::{self, Sources};
use crate::{GatewayConfig, schema};

/// What every variable that is meant begins with.
const PREFIX: &str = "WSC__";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not YAML.
    #[error("file line {line}, column {column}: not valid YAML")]
    Syntax {
        /// The line, from 1; 0 where the parser cannot tell.
        line: u64,
        /// The column, from 1; 0 where the parser cannot tell.
        column: u64,
        /// What the parser says.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// Keys or values are wrong.
    #[error("{0}")]
    Invalid(Problems),
    /// The configuration could not be written as YAML.
    #[error("the configuration cannot be written as YAML")]
    Write(#[source] Box<serde_saphyr::SerializeError>),
}

/// Values from all sources so far, later ones over earlier ones.
#[derive(Default)]
pub(crate) struct Layers {
    value: Map<String, Value>,
    sources: Sources,
    problems: Problems,
}

impl Layers {
    /// Puts the keys of a YAML text on top.
    pub(crate) fn file(&mut self, text: &str) -> Result<(), ConfigError> {
        let (value, sources) = tree::read(text).map_err(|error| {
            let place = error.location();
            let (line, column) = place.map_or((0, 0), |place| (place.line(), place.column()));
            ConfigError::Syntax {
                line,
                column,
                source: Box::new(error),
            }
        })?;
        match value {
            Value::Object(fields) => merge(&mut self.value, fields),
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                self.problems
                    .invalid("configuration", "must be an object of keys");
            }
        }
        self.sources = sources;
        Ok(())
    }

    /// Puts the variables that begin with `WSC__` on top.
    pub(crate) fn environment(&mut self, env: impl IntoIterator<Item = (String, String)>) {
        // Sorted, so that the outcome does not depend on the order of the environment; a section given whole comes
        // before its keys.
        let env: BTreeMap<String, String> = env
            .into_iter()
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        for (name, text) in env {
            let words: Vec<&str> = name
                .strip_prefix(PREFIX)
                .unwrap_or(&name)
                .split("__")
                .collect();
            self.put(
                &words,
                &text,
                Spelling::Screaming,
                Source::Environment(name.clone()),
            );
        }
    }

    /// Puts `key.path=value` flags on top, in their order.
    pub(crate) fn flags(&mut self, sets: &[String]) {
        for set in sets {
            let Some((path, text)) = set.split_once('=') else {
                self.problems.push(Problem {
                    path: set.clone(),
                    fault: Fault::Invalid("wants a value, as in `key.path=value`".to_owned()),
                    source: Some(Source::Flag(set.clone())),
                });
                continue;
            };
            let words: Vec<&str> = path.split('.').collect();
            self.put(&words, text, Spelling::Camel, Source::Flag(path.to_owned()));
        }
    }

    /// Turns the merged values into a configuration, or says all that is wrong with them.
    pub(crate) fn finish(self) -> Result<GatewayConfig, ConfigError> {
        let Self {
            value,
            sources,
            mut problems,
        } = self;
        let value = Value::Object(value);
        check(schema::root(), &value, "", &mut problems);
        let config = match serde_json::from_value::<GatewayConfig>(value) {
            Ok(config) => {
                config.rules(&mut problems);
                Some(config)
            }
            Err(error) => {
                // The schema names the key; the types alone could not.
                if problems.is_empty() {
                    problems.invalid("configuration", error.to_string());
                }
                None
            }
        };
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError::Invalid(
                problems.locate(|path| origin(&sources, path)),
            )),
        }
    }

    /// Puts one value on top, read as what the schema says the key is.
    fn put(&mut self, words: &[&str], text: &str, spelling: Spelling, source: Source) {
        match resolve(words, spelling) {
            Ok((path, schema)) => {
                let dotted = path.join(".");
                self.sources.retain(|known, _| !is_within(known, &dotted));
                self.sources.insert(dotted, source);
                merge(&mut self.value, nest(&path, typed(schema, text)));
            }
            Err(problem) => self.problems.push(Problem {
                source: Some(source),
                ..problem
            }),
        }
    }
}

/// How the keys of a source are written.
#[derive(Clone, Copy)]
enum Spelling {
    /// `nodePort`
    Camel,
    /// `NODE_PORT`
    Screaming,
}

impl Spelling {
    /// The key as the schema has it, given a word of the source.
    fn key(self, word: &str, schema: &Value) -> String {
        let known = schema.get("properties").and_then(Value::as_object);
        match (self, known) {
            (Self::Camel, _) => word.to_owned(),
            (Self::Screaming, None) => word.to_ascii_lowercase(),
            (Self::Screaming, Some(known)) => {
                let same = known.keys().find(|key| screaming(key) == word);
                same.cloned().unwrap_or_else(|| camel(word))
            }
        }
    }
}

/// The path of a key and its schema.
fn resolve(words: &[&str], spelling: Spelling) -> Result<(Vec<String>, &'static Value), Problem> {
    let empty = Map::new();
    let mut schema = schema::root();
    let mut path: Vec<String> = Vec::new();
    for word in words {
        let key = spelling.key(word, schema);
        let whole = join(&path.join("."), &key);
        let Some(next) = schema::child(schema, &key).filter(|_| !key.is_empty()) else {
            let known = schema
                .get("properties")
                .and_then(Value::as_object)
                .unwrap_or(&empty);
            return Err(unknown(known, &key, &whole));
        };
        schema = next;
        path.push(key);
    }
    Ok((path, schema))
}

/// A text as the schema's type. What does not fit stays a string, and `check` says so.
fn typed(schema: &Value, text: &str) -> Value {
    let parsed = match schema.get("type").and_then(Value::as_str) {
        Some("boolean") => text.parse().ok().map(Value::Bool),
        Some("integer") => text.parse::<i64>().ok().map(Value::from),
        Some("number") => text.parse::<f64>().ok().map(Value::from),
        Some("array") if !text.trim_start().starts_with('[') => {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            Some(items.map(Value::from).collect())
        }
        Some("array" | "object") => tree::read(text).ok().map(|(value, _)| value),
        _ => None,
    };
    parsed.unwrap_or_else(|| Value::from(text))
}

/// `{a: {b: value}}` for the path `a.b`.
fn nest(path: &[String], value: Value) -> Map<String, Value> {
    let mut fields = Map::new();
    if let Some((key, rest)) = path.split_first() {
        let value = if rest.is_empty() {
            value
        } else {
            Value::Object(nest(rest, value))
        };
        fields.insert(key.clone(), value);
    }
    fields
}

/// Objects key by key, everything else as a whole.
fn merge(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Object(base)), Value::Object(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// Where a key's value came from, or the nearest section around it that came from anywhere.
fn origin(sources: &Sources, path: &str) -> Option<Source> {
    let mut path = path;
    loop {
        if let Some(source) = sources.get(path) {
            return Some(source.clone());
        }
        path = path.rsplit_once(['.', '[']).map(|(parent, _)| parent)?;
    }
}

/// Whether `path` is `parent` or something in it.
fn is_within(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// `nodePort` as `NODE_PORT`.
fn screaming(key: &str) -> String {
    let mut word = String::new();
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            word.push('_');
        }
        word.push(letter.to_ascii_uppercase());
    }
    word
}

/// `NODE_PORT` as `nodePort`.
fn camel(word: &str) -> String {
    let mut key = String::new();
    for (index, part) in word.split('_').enumerate() {
        let lower = part.to_ascii_lowercase();
        let mut letters = lower.chars();
        match letters.next() {
            Some(first) if index > 0 => key.extend(first.to_uppercase().chain(letters)),
            Some(_) | None => key.push_str(&lower),
        }
    }
    key
}
