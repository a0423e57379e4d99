//! Moves the values over, then holds them against the rules of the configuration; what breaks one is left behind.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use wsc_config::{ConfigError, GatewayConfig};

use super::Note;
use super::names::{FateOf, fate, key};
use super::source::Leaf;
use super::values::{moved, put};
use crate::Failure;

/// What was carried over.
pub(super) struct Carried {
    /// The whole configuration, defaults included, with the values carried over.
    pub(super) config: GatewayConfig,
    /// The keys of ours that were given, each with how the file writes it.
    pub(super) given: BTreeMap<String, String>,
    /// What was left behind.
    pub(super) notes: Vec<Note>,
}

/// A value on its way.
struct Moving {
    order: usize,
    written: String,
    value: Value,
}

pub(super) fn carry(leaves: Vec<Leaf>) -> Result<Carried, Failure> {
    let mut notes = Vec::new();
    let mut given: BTreeMap<String, Moving> = BTreeMap::new();
    for leaf in leaves {
        match fate(&leaf.plain) {
            None => notes.push(note(&leaf.written, "there is no such key")),
            Some((_, FateOf::Left(why))) => {
                // What is off or empty is not missed.
                if !is_nothing(&leaf.value) {
                    notes.push(note(&leaf.written, &why));
                }
            }
            Some((order, FateOf::To(path, way))) => {
                let Some(key) = key(path) else {
                    continue;
                };
                let moved = moved(key, way, &leaf.value);
                notes.extend(moved.notes.iter().map(|why| note(&leaf.written, why)));
                for (path, value) in moved.values {
                    let moving = Moving {
                        order,
                        written: leaf.written.clone(),
                        value,
                    };
                    settle(&mut given, path, moving, &mut notes);
                }
            }
        }
    }
    judge(given, notes)
}

/// Of two keys that go to one place, the preferred one is taken; the other is named where it says something else.
fn settle(given: &mut BTreeMap<String, Moving>, path: &str, moving: Moving, notes: &mut Vec<Note>) {
    let Some(other) = given.remove(path) else {
        given.insert(path.to_owned(), moving);
        return;
    };
    let (taken, left) = if moving.order < other.order {
        (moving, other)
    } else {
        (other, moving)
    };
    if taken.value != left.value {
        let why = format!("{} says otherwise, and was taken", taken.written);
        notes.push(note(&left.written, &why));
    }
    given.insert(path.to_owned(), taken);
}

/// Leaves behind what the configuration does not take, until it takes the rest.
fn judge(mut given: BTreeMap<String, Moving>, mut notes: Vec<Note>) -> Result<Carried, Failure> {
    loop {
        let mut tree = Map::new();
        for (path, moving) in &given {
            put(&mut tree, path, moving.value.clone());
        }
        // In a cluster the operator names the Redis that it runs; a file would have to.
        let cluster = given.get("wsc.redis.cluster.enabled");
        let cluster = cluster.is_some_and(|moving| moving.value == true);
        if !given.contains_key("wsc.redis.host") && !cluster {
            put(&mut tree, "wsc.redis.host", "managed".into());
        }
        let text = serde_saphyr::to_string(&Value::Object(tree)).map_err(|error| {
            Failure::failed(format!("the configuration cannot be written: {error}"))
        })?;
        let problems = match GatewayConfig::load(Some(&text), [], &[]) {
            Ok(config) => {
                notes.sort();
                let given = given
                    .into_iter()
                    .map(|(path, moving)| (path, moving.written))
                    .collect();
                return Ok(Carried {
                    config,
                    given,
                    notes,
                });
            }
            Err(ConfigError::Invalid(problems)) => problems,
            Err(ConfigError::Syntax { .. } | ConfigError::Write(_)) => {
                return Err(Failure::failed(
                    "the configuration cannot be written as YAML",
                ));
            }
        };
        let before = given.len();
        for problem in problems.iter() {
            if let Some(moving) = remove(&mut given, &problem.path) {
                notes.push(note(
                    &moving.written,
                    "its value is not one that can be taken, alone or beside the others",
                ));
            }
        }
        if given.len() == before {
            return Err(Failure::failed(format!(
                "what is left is no configuration: {problems}"
            )));
        }
    }
}

/// Takes out the key that a problem is with; where that was not given, the switch of its section asks for too much.
fn remove(given: &mut BTreeMap<String, Moving>, path: &str) -> Option<Moving> {
    let path = path.split('[').next().unwrap_or(path);
    let (section, _) = path.rsplit_once('.')?;
    let inside = [
        path.to_owned(),
        section.to_owned(),
        format!("{section}.enabled"),
    ];
    inside.iter().find_map(|path| given.remove(path))
}

fn note(path: &str, why: &str) -> Note {
    Note {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Number(_) => false,
    }
}
