//! `Settled`: differences that the API server makes itself, such as `1000m` written as `1`.
//!
//! After an apply whose answer still differs, the pair (asked for, answered) is remembered. As long as both stay what
//! they were, the difference is settled and nothing is written. Losing this memory costs one apply that changes nothing.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use serde_json::Value;

use crate::digest;

/// An object, and the gateway under which it is forgotten again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The namespace of both.
    pub namespace: String,
    /// The gateway.
    pub gateway: String,
    /// Kind and name.
    pub object: String,
}

type Pairs = BTreeMap<String, (String, String)>;

/// What was asked for and answered, by gateway and object.
#[derive(Default)]
pub struct Settled(Mutex<HashMap<(String, String), Pairs>>);

impl Settled {
    /// Whether this very difference was answered to this very request.
    pub fn knows(&self, place: &Place, desired: &Value, live: &Value) -> bool {
        let pairs = self.0.lock();
        pairs
            .get(&(place.namespace.clone(), place.gateway.clone()))
            .and_then(|pairs| pairs.get(&place.object))
            .is_some_and(|(asked, answered)| {
                *asked == digest::of_json(desired) && *answered == of_live(live)
            })
    }

    /// Remembers an answer.
    pub fn learn(&self, place: Place, desired: &Value, answer: &Value) {
        let pair = (digest::of_json(desired), of_live(answer));
        self.0
            .lock()
            .entry((place.namespace, place.gateway))
            .or_default()
            .insert(place.object, pair);
    }

    /// Forgets a gateway.
    pub fn forget(&self, namespace: &str, gateway: &str) {
        self.0
            .lock()
            .remove(&(namespace.to_owned(), gateway.to_owned()));
    }
}

/// A digest of what a person or a program could have changed by intent.
fn of_live(live: &Value) -> String {
    let mut live = live.clone();
    if let Some(object) = live.as_object_mut() {
        object.remove("status");
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for changes_by_itself in ["resourceVersion", "generation", "managedFields"] {
                metadata.remove(changes_by_itself);
            }
        }
    }
    digest::of_json(&live)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_is_settled_until_one_side_changes() {
        let place = Place {
            namespace: "default".to_owned(),
            gateway: "chat".to_owned(),
            object: "Deployment/chat".to_owned(),
        };
        let settled = Settled::default();
        let (asked, answered) = (json!({"cpu": "1000m"}), json!({"cpu": "1"}));
        assert!(!settled.knows(&place, &asked, &answered));
        settled.learn(place.clone(), &asked, &answered);
        assert!(settled.knows(&place, &asked, &answered));
        assert!(settled.knows(&place, &asked, &json!({"cpu": "1", "status": {"x": 1}})));
        assert!(!settled.knows(&place, &asked, &json!({"cpu": "2"})));
        assert!(!settled.knows(&place, &json!({"cpu": "2000m"}), &answered));
        settled.forget("default", "chat");
        assert!(!settled.knows(&place, &asked, &answered));
    }
}
