//! Every property of the resource, by the CRD's own schema: set to something else, changed, unset again, set to something wrong.
//!
//! What is a value of a property the API server says: candidates are tried until it takes one. Back without the property
//! everything is what it was; what is wrong is refused, or told in a condition, and the configuration and the keys that
//! serve stay. A property that takes none of the candidates by itself, such as one that needs another beside it, is named in
//! what is printed; golden files have those.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};
use wsc_operator::api::crd;

use crate::failpoints::settled;
use crate::ground::Ground;
use crate::operator::Operator;
use crate::snapshot::{Snapshot, difference, snapshot};

const WITHIN: Duration = Duration::from_secs(60);
const SETTLED_WITHIN: Duration = Duration::from_secs(10);

/// Namespaces that are walked in at a time, each with an operator of its own.
const WALKERS: usize = 4;

/// Texts that some property or other takes.
const TEXTS: [&str; 16] = [
    "31s",
    "45s",
    "2m",
    "2MiB",
    "other",
    "/other",
    "10.0.0.0/8",
    "other.example.org",
    "http://other:8080",
    "other:6379",
    "200m",
    "2Gi",
    "Etcd",
    "20%",
    "RS256",
    "https://other.example.org/keys",
];

/// A property and its schema.
#[derive(Clone)]
struct Property {
    path: Vec<String>,
    schema: Value,
}

impl Property {
    fn name(&self) -> String {
        self.path.join(".")
    }

    /// A spec with it beside what is there.
    fn within(&self, base: &Value, value: Value) -> Value {
        let mut spec = base.clone();
        let mut place = &mut spec;
        for key in &self.path {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[key.as_str()];
        }
        *place = value;
        spec
    }

    fn candidates(&self) -> Vec<Value> {
        let mut found = Vec::new();
        if let Some(all) = self.schema["enum"].as_array() {
            found.extend(all.clone());
        }
        let default = &self.schema["default"];
        let texts = TEXTS.map(Value::from);
        match self.schema["type"].as_str() {
            Some("boolean") => found.push(json!(!default.as_bool().unwrap_or(false))),
            Some("integer" | "number") => {
                let near = default
                    .as_i64()
                    .or(self.schema["minimum"].as_i64())
                    .unwrap_or(1);
                found.extend([near + 1, near - 1, near * 2, 8443].map(Value::from));
                found.push(json!(0.5));
            }
            Some("string") => found.extend(texts),
            Some("array") => {
                found.extend(texts.map(|text| json!([text])));
                found.extend([
                    json!([{"name": "other"}]),
                    json!([{"namespaceSelector": {}}]),
                ]);
            }
            Some("object") => found.extend([
                json!({"other": "other"}),
                json!({"name": "other", "key": "other"}),
            ]),
            _ => found.extend(texts.into_iter().chain([json!(2)])),
        }
        found.retain(|value| value != default);
        found
    }

    /// What is of no type that it has.
    fn wrong(&self) -> Value {
        match self.schema["type"].as_str() {
            Some("string") => json!({"wrong": true}),
            Some("object") => json!("wrong"),
            Some(_) => json!({"wrong": "wrong"}),
            None => json!([["wrong"]]),
        }
    }
}

/// The leaves of a schema: what has no properties of its own.
fn leaves(path: &[String], schema: &Value, found: &mut Vec<Property>) {
    let Some(properties) = schema["properties"].as_object() else {
        found.push(Property {
            path: path.to_vec(),
            schema: schema.clone(),
        });
        return;
    };
    for (name, schema) in properties {
        let path = [path, std::slice::from_ref(name)].concat();
        leaves(&path, schema, found);
    }
}

fn properties() -> Vec<Property> {
    let crd = serde_json::to_value(crd()).unwrap();
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut found = Vec::new();
    leaves(&[], spec, &mut found);
    found
}

fn base() -> Value {
    // The policy of Redis goes with a rollout, which nobody does here: so it is there from the start.
    json!({
        "replicas": 2, "wsc": {"distributed": {"enabled": true}}, "networkPolicy": {"enabled": true},
    })
}

/// Objects without how often they were changed, and without the resource.
pub async fn served(ground: &Ground) -> Snapshot {
    let mut found = snapshot(ground).await;
    found.retain(|name, _| !name.starts_with("WebSocketGateway/"));
    for object in found.values_mut() {
        object["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("generation");
    }
    found
}

/// What configures and opens: it stays when a resource is refused.
fn keys_and_files(all: &Snapshot) -> Snapshot {
    let kept = all
        .iter()
        .filter(|(name, _)| name.starts_with("ConfigMap/") || name.starts_with("Secret/"));
    kept.map(|(name, object)| (name.clone(), object.clone()))
        .collect()
}

/// What became of one property.
#[derive(Debug, Default)]
struct Count {
    changed: usize,
    /// Of those with effect and without: they took a second value as well.
    changed_again: usize,
    without_effect: usize,
    rejected: usize,
    alone_refused: Vec<String>,
    not_as_before: Vec<String>,
}

/// What is not as it was before, when it has had time to be: what a watch has yet to tell of goes with the next reconcile.
async fn what_is_left(ground: &Ground, before: &Snapshot) -> Vec<String> {
    let began = Instant::now();
    loop {
        let mut left = difference(before, &served(ground).await);
        // A key that was drawn stays: what it sealed could not be read without it.
        left.retain(|line| !(line.starts_with("Secret/") && line.contains(": null / ")));
        if left.is_empty() || began.elapsed() > SETTLED_WITHIN {
            return left;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Whether the API server takes one of the next values; it is set then.
async fn one_is_taken(
    ground: &Ground,
    property: &Property,
    candidates: &mut impl Iterator<Item = Value>,
) -> bool {
    for value in candidates {
        let spec = property.within(&base(), value);
        if ground.try_apply("chat", &spec).await.is_ok() {
            return true;
        }
    }
    false
}

/// Sets, changes, unsets and spoils each of these.
async fn walk(number: usize, properties: Vec<Property>) -> Count {
    let ground = Ground::new(&format!("walk-{number}")).await;
    ground.apply("chat", &base()).await;
    let operator = Operator::start(&ground, "operator").await;
    settled(&ground, &operator).await;
    let before = served(&ground).await;
    let mut count = Count::default();
    for property in properties {
        let name = property.name();
        let wrong = property.within(&base(), property.wrong());
        let refusal = ground.try_apply("chat", &wrong).await;
        let refusal = refusal.expect_err(&name).to_string();
        assert!(
            refusal.contains(&format!("spec.{name}")),
            "{name}: {refusal}"
        );
        let mut candidates = property.candidates().into_iter();
        if !one_is_taken(&ground, &property, &mut candidates).await {
            count.alone_refused.push(name);
            continue;
        }
        // And changed once more, on the heels of the first.
        if one_is_taken(&ground, &property, &mut candidates).await {
            count.changed_again += 1;
        }
        let seen = ground.observed("chat", WITHIN).await;
        let with = served(&ground).await;
        let is_accepted = seen
            .status
            .iter()
            .flat_map(|status| &status.conditions)
            .any(|found| found.type_ == "Accepted" && found.status == "True");
        if !is_accepted {
            let differs = difference(&keys_and_files(&before), &keys_and_files(&with));
            assert!(
                differs.is_empty(),
                "{name} was rejected, and changed {differs:#?}"
            );
            count.rejected += 1;
        } else if difference(&before, &with).is_empty() {
            count.without_effect += 1;
        } else {
            count.changed += 1;
        }
        ground.apply("chat", &base()).await;
        ground.observed("chat", WITHIN).await;
        let left = what_is_left(&ground, &before).await;
        if !left.is_empty() {
            count.not_as_before.push(format!("{name}: {left:?}"));
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_property_can_be_set_and_taken_back_and_what_is_wrong_changes_nothing() {
    let all = properties();
    let total = all.len();
    assert!(total > 150, "only {total} properties");
    let walkers = (0..WALKERS).map(|number| {
        let part = all.iter().skip(number).step_by(WALKERS).cloned().collect();
        walk(number, part)
    });
    let mut sum = Count::default();
    for count in join_all(walkers).await {
        sum.changed += count.changed;
        sum.changed_again += count.changed_again;
        sum.without_effect += count.without_effect;
        sum.rejected += count.rejected;
        sum.alone_refused.extend(count.alone_refused);
        sum.not_as_before.extend(count.not_as_before);
    }
    sum.alone_refused.sort();
    println!("{total} properties, each refused where its type is wrong: {sum:#?}");
    assert!(sum.not_as_before.is_empty(), "not as before");
    let alone_refused = sum.alone_refused.len();
    assert!(
        alone_refused * 3 < total,
        "{alone_refused} are not walked over"
    );
    assert!(sum.changed * 2 > total, "hardly any was set");
    assert!(sum.changed_again * 3 > total, "hardly any was changed");
    let idle = sum.without_effect;
    assert!(idle * 8 < total, "{idle} had no effect");
}
