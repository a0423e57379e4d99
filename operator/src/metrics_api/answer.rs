//! The documents that are answered: discovery, descriptions, and the values of the metric. Pure.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{CONNECTIONS, GROUP, VERSION};
use crate::census::Reading;
use crate::names::GATEWAY_LABEL;

/// Which groups there are.
pub(super) fn groups() -> Value {
    let mut group = versions();
    if let Some(fields) = group.as_object_mut() {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]})
}

/// Which versions the group has.
pub(super) fn versions() -> Value {
    let version = json!({"groupVersion": format!("{GROUP}/{VERSION}"), "version": VERSION});
    json!({
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": GROUP,
        "versions": [version],
        "preferredVersion": version,
    })
}

/// Which metrics there are.
pub(super) fn resources() -> Value {
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": format!("{GROUP}/{VERSION}"),
        "resources": [{
            "name": CONNECTIONS,
            "singularName": "",
            "namespaced": true,
            "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }],
    })
}

/// What the API server merges into its own `OpenAPI`. It asks for that again and again where there is none; nothing that it
/// would say of one list is worth more than that it is there.
pub(super) fn swagger() -> Value {
    json!({"swagger": "2.0", "info": info(), "paths": {}})
}

/// Where the same is in the third form.
pub(super) fn descriptions() -> Value {
    let name = format!("apis/{GROUP}/{VERSION}");
    let place = format!("/openapi/v3/{name}");
    json!({"paths": {name: {"serverRelativeURL": place}}})
}

/// The same in the third form.
pub(super) fn description() -> Value {
    json!({"openapi": "3.0.0", "info": info(), "paths": {}})
}

fn info() -> Value {
    json!({"title": GROUP, "version": VERSION})
}

/// The values of gateways.
pub(super) fn values(found: &[(String, Reading)]) -> Value {
    let items: Vec<Value> = found
        .iter()
        .map(|(gateway, reading)| {
            json!({
                "metricName": CONNECTIONS,
                "metricLabels": {GATEWAY_LABEL: gateway},
                "timestamp": whole_second(reading.at).to_string(),
                "value": reading.connections.to_string(),
            })
        })
        .collect();
    json!({
        "kind": "ExternalMetricValueList",
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "metadata": {},
        "items": items,
    })
}

/// Times in Kubernetes have whole seconds.
fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quantities_with_their_gateway_and_the_time_of_the_round() {
        let reading = Reading {
            connections: 12_345,
            at: Timestamp::from_millisecond(1_800_000_000_987).unwrap(),
        };
        let list = values(&[("chat".to_owned(), reading)]);
        assert_eq!(
            list["items"],
            json!([{
                "metricName": "wsc_gateway_connections",
                "metricLabels": {"wsc.dev/gateway": "chat"},
                "timestamp": "2027-01-15T08:00:00Z",
                "value": "12345",
            }])
        );
        assert_eq!(groups()["groups"][0]["name"], GROUP);
        assert_eq!(groups()["groups"][0].get("kind"), None);
    }
}
