//! Everything that stands in a namespace, without what no two runs share: times, versions, ids, drawn keys.
//!
//! Names of hashes follow the order in which they are met, so that two places with one hash have one name in both runs.

use std::collections::BTreeMap;

use kube::Api;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Map, Value, json};
use wsc_operator::api::WebSocketGateway;
use wsc_operator::owned::Kind;

use crate::ground::Ground;

/// Objects by kind and name.
pub type Snapshot = BTreeMap<String, Value>;

/// What stands there now; all but events and leases.
pub async fn snapshot(ground: &Ground) -> Snapshot {
    let kinds = Kind::ALL
        .into_iter()
        .filter(|kind| kind.extension().is_none());
    let mut resources: Vec<ApiResource> = kinds.map(Kind::api_resource).collect();
    resources.push(ApiResource::erase::<k8s_openapi::api::core::v1::Secret>(&()));
    resources.push(ApiResource::erase::<WebSocketGateway>(&()));
    let mut found = Snapshot::new();
    for resource in resources {
        let api: Api<DynamicObject> =
            Api::namespaced_with(ground.client.clone(), &ground.namespace, &resource);
        for object in api.list(&ListParams::default()).await.unwrap() {
            let name = object.metadata.name.clone().unwrap();
            let named = name
                .split_inclusive("-accepted-")
                .next()
                .unwrap()
                .to_owned();
            let text = serde_json::to_string(&object).unwrap();
            // A revision is called after a digest of what is in it, with what was drawn.
            let text = text.replace(&name, &named);
            let object = text.replace(&ground.namespace, "NAMESPACE");
            let object = serde_json::from_str(&object).unwrap();
            found.insert(format!("{}/{named}", resource.kind), object);
        }
    }
    let mut hashes = Hashes::default();
    for (name, object) in &mut found {
        normalise(name, object, &mut hashes);
    }
    found
}

/// Only what the API server or a draw decides is taken out.
fn normalise(name: &str, object: &mut Value, hashes: &mut Hashes) {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for key in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
    ] {
        metadata.remove(key);
    }
    if name.starts_with("Service/") {
        let spec = object["spec"].as_object_mut().unwrap();
        let given = spec.remove("clusterIP");
        // A headless one stays headless.
        let is_headless = given == Some(json!("None"));
        spec.insert("clusterIP".to_owned(), json!(is_headless));
        spec.remove("clusterIPs");
    }
    if name.starts_with("Secret/") {
        for value in object["data"]
            .as_object_mut()
            .into_iter()
            .flat_map(Map::values_mut)
        {
            *value = json!(value.as_str().unwrap().len());
        }
    }
    walk(object, hashes);
}

fn walk(value: &mut Value, hashes: &mut Hashes) {
    match value {
        Value::Object(fields) => {
            fields.remove("lastTransitionTime");
            if fields.contains_key("kind") && fields.contains_key("controller") {
                fields.remove("uid");
            }
            for (key, value) in fields {
                let is_hash = key.ends_with("-hash") || key.ends_with("Hash");
                if let (true, Some(text)) = (is_hash, value.as_str()) {
                    *value = json!(hashes.name(text));
                }
                walk(value, hashes);
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|one| walk(one, hashes)),
        _ => {}
    }
}

#[derive(Default)]
struct Hashes(Vec<String>);

impl Hashes {
    fn name(&mut self, hash: &str) -> String {
        let known = self.0.iter().position(|known| known == hash);
        let at = known.unwrap_or_else(|| {
            self.0.push(hash.to_owned());
            self.0.len() - 1
        });
        format!("hash {at}")
    }
}

/// Where two snapshots differ, a line each.
pub fn difference(one: &Snapshot, other: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for name in one
        .keys()
        .chain(other.keys().filter(|name| !one.contains_key(*name)))
    {
        let (one, other) = (one.get(name), other.get(name));
        compare(
            name,
            one.unwrap_or(&Value::Null),
            other.unwrap_or(&Value::Null),
            &mut lines,
        );
    }
    lines
}

fn compare(path: &str, one: &Value, other: &Value, lines: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let more = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(more) {
                let path = format!("{path}.{key}");
                let (one, other) = (one.get(key), other.get(key));
                compare(
                    &path,
                    one.unwrap_or(&Value::Null),
                    other.unwrap_or(&Value::Null),
                    lines,
                );
            }
        }
        (one, other) if one != other => lines.push(format!("{path}: {one} / {other}")),
        _ => {}
    }
}
