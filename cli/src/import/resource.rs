//! Writes the resource: what was given and nothing else, so that later defaults hold for the rest.

use serde_json::{Map, Value, json};

use super::carry::Carried;
use super::values::put;
use super::{Identity, Imported, Note};
use crate::Failure;
use crate::output::printable;

/// Ports below it need privileges that pods do not have.
const FIRST_PORT: u64 = 1024;

/// What the Redis that the operator runs has no use for.
const OF_ANOTHER_REDIS: [&str; 3] = [
    "wsc.redis.username",
    "wsc.redis.passwordSecretRef",
    "wsc.redis.tls.enabled",
];

/// Where a key of the file stands in the resource.
fn place(path: &str) -> Option<String> {
    let (section, rest) = path.split_once('.')?;
    match (section, rest) {
        ("wsc" | "gateway" | "drain" | "rebalance" | "telemetry", _) => Some(path.to_owned()),
        ("http", "port") | ("grpc", "port" | "reflection") => Some(format!("listeners.{path}")),
        ("log", "level") => Some("logLevel".to_owned()),
        _ => None,
    }
}

pub(super) fn resource(carried: Carried, identity: &Identity) -> Result<Imported, Failure> {
    let Carried {
        config,
        given,
        mut notes,
    } = carried;
    if identity.replicas > 1 && !config.wsc.distributed.enabled {
        return Err(Failure::Usage(format!(
            "--replicas {}: more than one pod needs wsc.distributed.enabled: true in the file",
            identity.replicas
        )));
    }
    let own_redis = !["host", "sentinel.enabled", "cluster.enabled"]
        .iter()
        .any(|key| given.contains_key(&format!("wsc.redis.{key}")));
    let values = serde_json::to_value(&config).map_err(|error| {
        Failure::failed(format!("the configuration cannot be written: {error}"))
    })?;
    let mut spec = Map::new();
    spec.insert("replicas".to_owned(), identity.replicas.into());
    for (path, written) in given {
        let value = path
            .split('.')
            .try_fold(&values, |value, key| value.get(key));
        match (place(&path), value) {
            (Some(_), Some(value)) if is_privileged(&path, value) => notes.push(Note {
                path: written,
                why: "must be 1024 or more: pods run without privileges".to_owned(),
            }),
            (Some(_), Some(_)) if own_redis && OF_ANOTHER_REDIS.contains(&path.as_str()) => {
                notes.push(Note {
                    path: written,
                    why:
                        "is for a Redis of your own, and the file names none: the operator runs one"
                            .to_owned(),
                });
            }
            (Some(place), Some(value)) => put(&mut spec, &place, value.clone()),
            (Some(_), None) => {}
            (None, _) => notes.push(Note {
                path: written,
                why: "the operator decides this in a cluster".to_owned(),
            }),
        }
    }
    notes.sort();
    notes.dedup();
    let mut metadata = json!({ "name": identity.name });
    if let Some(namespace) = &identity.namespace {
        put_in(&mut metadata, "namespace", namespace);
    }
    let resource = json!({
        "apiVersion": "wsc.dev/v1alpha1",
        "kind": "WebSocketGateway",
        "metadata": metadata,
        "spec": spec,
    });
    Ok(Imported { resource, notes })
}

fn is_privileged(path: &str, value: &Value) -> bool {
    let port = matches!(path, "wsc.nodePort" | "http.port" | "grpc.port");
    port && value.as_u64().is_some_and(|port| port < FIRST_PORT)
}

fn put_in(object: &mut Value, name: &str, text: &str) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), text.into());
    }
}

impl Imported {
    /// The resource as a file, with what was left behind at its head.
    pub fn yaml(&self) -> Result<String, Failure> {
        let mut text = "# Made by `wscctl import`.\n".to_owned();
        if !self.notes.is_empty() {
            text.push_str("# Not carried over:\n");
        }
        for Note { path, why } in &self.notes {
            text.push_str(&printable(&format!("#   {path}: {why}")));
            text.push('\n');
        }
        let body = serde_saphyr::to_string(&self.resource)
            .map_err(|error| Failure::failed(format!("the resource cannot be written: {error}")))?;
        Ok(text + &body)
    }
}
