//! The `WebSocketGateway` resources the tests apply, as JSON: what a user would write, not the operator's types.
//!
//! Times are short, so that a drain or a dead pod costs seconds, and little is reserved, so that many fit on a small
//! machine; nothing else differs from the defaults.

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

/// A dead node's sessions are gone after so many seconds.
pub const NODE_TIMEOUT_SECONDS: u64 = 10;

/// The kind as the API server knows it.
pub fn kind() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("wsc.dev", "v1alpha1", "WebSocketGateway"),
        "websocketgateways",
    )
}

/// A resource called `chat` with `replicas` gateways and a Redis.
pub fn sample(replicas: u32) -> Value {
    json!({
        "apiVersion": "wsc.dev/v1alpha1",
        "kind": "WebSocketGateway",
        "metadata": {"name": "chat"},
        "spec": {
            "replicas": replicas,
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
            "drain": {"unreadyDelay": "2s", "window": "5s", "deadline": "20s"},
            "managedRedis": {
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
            },
            "wsc": {
                "distributed": {
                    "enabled": true,
                    "nodeTimeout": format!("{NODE_TIMEOUT_SECONDS}s"),
                    "nodeSyncInterval": "3s",
                    "healthCheckInterval": "2s",
                },
            },
        },
    })
}

/// `resource` with `patch` merged into it (RFC 7396).
#[must_use]
pub fn with(mut resource: Value, patch: &Value) -> Value {
    merge(&mut resource, patch);
    resource
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(fields) = target else {
        return;
    };
    for (key, value) in changes {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        let patched = with(
            json!({"a": {"b": 1, "c": 2}, "d": 3}),
            &json!({"a": {"b": 9, "c": null}, "e": {"f": 4}}),
        );
        assert_eq!(patched, json!({"a": {"b": 9}, "d": 3, "e": {"f": 4}}));
    }
}
