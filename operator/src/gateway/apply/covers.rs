//! Whether a live object already says everything that a desired one does. Pure.
//!
//! What the API server and others added is not looked at: defaults, status, `rollout restart`'s annotation; where it may not
//! be is for `whole` to say. A field that is no longer wanted shows by the hash annotation, which is part of the desired object.

use serde_json::{Map, Value};

/// Whether `live` has every field of `desired` with the same value.
pub(super) fn covers(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired.iter().all(|(key, value)| {
            live.get(key)
                .map_or_else(|| is_left_out(key, value), |found| covers(value, found))
        }),
        (Value::Array(desired), Value::Array(live)) => covers_list(desired, live),
        _ => desired == live,
    }
}

/// Lists whose elements have a name are merged by it, as server-side apply does; others must be equal in length and order.
fn covers_list(desired: &[Value], live: &[Value]) -> bool {
    let keyed = !desired.is_empty() && desired.iter().all(|element| identity(element).is_some());
    if keyed {
        return desired.iter().all(|wanted| {
            live.iter()
                .find(|found| identity(found) == identity(wanted))
                .is_some_and(|found| covers(wanted, found))
        });
    }
    desired.len() == live.len()
        && desired
            .iter()
            .zip(live)
            .all(|(wanted, found)| covers(wanted, found))
}

/// What tells an element from its neighbours: mounts by path, owners by uid, everything else by name.
fn identity(element: &Value) -> Option<&Value> {
    let element: &Map<String, Value> = element.as_object()?;
    ["mountPath", "uid", "name"]
        .iter()
        .find_map(|key| element.get(*key))
}

/// The fields that the API server leaves out when they are false, and that are false when they are left out. Of others that
/// are not there the meaning may be true: `automountServiceAccountToken`.
const LEFT_OUT_WHEN_FALSE: [&str; 2] = ["paused", "publishNotReadyAddresses"];

/// Whether the API server may leave out a field with this value.
fn is_left_out(key: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(false) => LEFT_OUT_WHEN_FALSE.contains(&key),
        Value::Object(fields) => fields.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_added_does_not_matter() {
        let desired = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"containers": [{"name": "gateway", "env": []}]}});
        let live = json!({
            "metadata": {"labels": {"a": "1", "b": "2"}, "annotations": {"restartedAt": "now"}},
            "spec": {"containers": [{"name": "injected"}, {"name": "gateway", "image": "x"}], "restartPolicy": "Always"},
            "status": {},
        });
        assert!(covers(&desired, &live));
    }

    #[test]
    fn false_that_is_gone_shows_where_nothing_is_not_false() {
        let token = json!({"automountServiceAccountToken": false});
        assert!(!covers(&token, &json!({})));
        let security = json!({"securityContext": {"allowPrivilegeEscalation": false}});
        assert!(!covers(&security, &json!({"securityContext": {}})));
        let left_out = json!({"paused": false, "publishNotReadyAddresses": false});
        assert!(covers(&left_out, &json!({})));
        assert!(!covers(&left_out, &json!({"paused": true})));
    }

    #[test]
    fn a_changed_removed_or_reordered_value_shows() {
        let desired = json!({"spec": {"replicas": 3, "args": ["a", "b"], "ports": [{"name": "ws", "port": 1}]}});
        let with = |path: &str, value: Value| {
            let mut live = desired.clone();
            *live.pointer_mut(path).unwrap() = value;
            live
        };
        assert!(covers(&desired, &desired));
        assert!(!covers(&desired, &with("/spec/replicas", json!(2))));
        assert!(!covers(&desired, &with("/spec/args", json!(["b", "a"]))));
        assert!(!covers(&desired, &with("/spec/args", json!(["a"]))));
        assert!(!covers(&desired, &with("/spec/ports/0/port", json!(2))));
        assert!(!covers(&desired, &with("/spec/ports", json!([]))));
        assert!(!covers(&desired, &json!({"spec": {}})));
    }
}
