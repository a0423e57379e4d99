//! A pod as far as the webhook reads it, and the review around it.
//!
//! Whoever reaches the webhook may send it anything, and a whole `Pod` takes a hundred times the memory of its text. So
//! nothing is kept but what is looked at, and no list is longer than a pod's may be.

use std::marker::PhantomData;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};

/// Elements of a list. What an API server takes for a pod ends long before: some applications have a thousand ports.
const MOST: usize = 4096;

/// What the API server asks.
#[derive(Debug, Deserialize)]
pub(super) struct Review {
    pub(super) request: Question,
}

/// A pod that is being made.
#[derive(Debug, Deserialize)]
pub(super) struct Question {
    pub(super) uid: String,
    pub(super) namespace: Option<String>,
    pub(super) object: Option<Pod>,
}

/// A pod.
#[derive(Debug, Default, Deserialize)]
pub struct Pod {
    #[serde(default)]
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: Option<String>,
    pub(super) generate_name: Option<String>,
    pub(super) labels: Option<Labels>,
    pub(super) annotations: Option<IgnoredAny>,
}

/// Those that decide.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Labels {
    #[serde(rename = "wsc.dev/gateway")]
    pub(super) gateway: Option<String>,
    #[serde(rename = "app.kubernetes.io/managed-by")]
    pub(super) managed_by: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) init_containers: Option<Few<Container>>,
    #[serde(default)]
    pub(super) containers: Few<Container>,
    pub(super) volumes: Option<Few<Named>>,
    pub(super) image_pull_secrets: Option<Few<Named>>,
    pub(super) termination_grace_period_seconds: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) restart_policy: Option<IgnoredAny>,
    pub(super) ports: Option<Few<Port>>,
    pub(super) lifecycle: Option<Lifecycle>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Port {
    pub(super) container_port: i32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Lifecycle {
    pub(super) pre_stop: Option<IgnoredAny>,
}

/// What has a name: a volume, or a Secret of a registry.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    #[serde(default)]
    pub(super) name: String,
}

/// A list that is not longer than a pod's may be.
#[derive(Debug)]
pub(super) struct Few<T>(Vec<T>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(OneByOne(PhantomData))
    }
}

struct OneByOne<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneByOne<T> {
    type Value = Few<T>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "a list of at most {MOST} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Few<T>, A::Error> {
        let mut found = Vec::new();
        while let Some(element) = seq.next_element()? {
            if found.len() == MOST {
                return Err(A::Error::invalid_length(MOST + 1, &self));
            }
            found.push(element);
        }
        Ok(Few(found))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_labels_that_decide_are_those_of_the_names_table() {
        let labels = json!({
            crate::names::GATEWAY_LABEL: "chat",
            crate::names::MANAGED_BY_LABEL: "Helm",
            "another": "one",
        });
        let labels: Labels = serde_json::from_value(labels).unwrap();
        assert_eq!(labels.gateway.as_deref(), Some("chat"));
        assert_eq!(labels.managed_by.as_deref(), Some("Helm"));
    }

    #[test]
    fn a_list_longer_than_any_pods_is_refused_with_the_bound() {
        let pod = |count: usize| {
            let volumes = vec![json!({"name": "v"}); count];
            serde_json::from_value::<Pod>(json!({"spec": {"volumes": volumes}}))
        };
        let longest = pod(MOST).unwrap();
        assert_eq!(longest.spec.volumes.unwrap().len(), MOST);
        let refused = pod(MOST + 1).unwrap_err().to_string();
        assert!(refused.contains("at most 4096"), "{refused}");
    }

    #[test]
    fn what_is_null_is_as_what_is_not_there() {
        let pod = json!({"metadata": {"labels": null}, "spec": {"volumes": null, "containers": [
            {"name": "app", "ports": null, "lifecycle": {"preStop": null}},
        ]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        assert!(pod.metadata.labels.is_none() && pod.spec.volumes.is_none());
        let lifecycle = pod.spec.containers[0].lifecycle.as_ref().unwrap();
        assert!(lifecycle.pre_stop.is_none());
    }
}
