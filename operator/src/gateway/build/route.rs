//! The routes of Gateway API: clients to WebSocket and SSE, backends to the APIs where that is asked for.
//!
//! Clients' routes have no timeout of a request: a connection that lives for days is one request to a proxy, and who is
//! silent for too long is cut by the gateway itself. A `GRPCRoute` knows no timeouts.
//!
//! What the API server would fill in is said, so that it is noticed when somebody says otherwise.

use kube::api::ObjectMeta;
use serde_json::{Value, json};

use crate::api::{ApiRouteSpec, ParentRef, RouteSpec};
use crate::gateway::validate::Validated;
use crate::names::Component;
use crate::owned::{Kind, Object};

/// The paths of the HTTP API begin with it.
const HTTP_API: &str = "/v1/";

/// The group of Gateways.
const GATEWAYS: &str = "gateway.networking.k8s.io";

/// In Gateway API: no timeout.
const NEVER: &str = "0s";

/// The routes that are asked for.
pub(super) fn build(input: &Validated) -> Result<Vec<Object>, serde_json::Error> {
    let RouteSpec {
        enabled,
        parent_refs,
        hostnames,
        http,
        grpc,
    } = &input.route;
    let mut routes = Vec::with_capacity(3);
    if !enabled {
        return Ok(routes);
    }
    let own = (parent_refs.as_slice(), hostnames.as_slice());
    if input.config.wsc.enabled {
        let spec = spec(own, &clients(input));
        routes.push(Object::extension(
            Kind::HttpRoute,
            &meta(input, input.names.gateway()),
            &spec,
        )?);
    }
    if http.enabled {
        let spec = spec(among(http, own), &http_api(input));
        let meta = meta(input, &input.names.http_api());
        routes.push(Object::extension(Kind::HttpRoute, &meta, &spec)?);
    }
    if grpc.enabled {
        let rule = json!({"backendRefs": [backend(input, input.config.grpc.port)]});
        let spec = spec(among(grpc, own), &rule);
        let meta = meta(input, input.names.gateway());
        routes.push(Object::extension(Kind::GrpcRoute, &meta, &spec)?);
    }
    Ok(routes)
}

/// Parents and host names.
type Place<'a> = (&'a [ParentRef], &'a [String]);

/// Where the route of an API is: what it says itself goes before what `route` says.
fn among<'a>(api: &'a ApiRouteSpec, own: Place<'a>) -> Place<'a> {
    let ApiRouteSpec {
        enabled: _,
        parent_refs,
        hostnames,
    } = api;
    (
        if parent_refs.is_empty() {
            own.0
        } else {
            parent_refs
        },
        if hostnames.is_empty() {
            own.1
        } else {
            hostnames
        },
    )
}

fn meta(input: &Validated, name: &str) -> ObjectMeta {
    input.meta(name, Component::Gateway)
}

fn spec((parents, hostnames): Place<'_>, rule: &Value) -> Value {
    let parents: Vec<Value> = parents.iter().map(parent).collect();
    json!({ "parentRefs": parents, "hostnames": hostnames, "rules": [rule] })
}

fn parent(parent: &ParentRef) -> Value {
    let ParentRef {
        name,
        namespace,
        section_name,
        port,
    } = parent;
    let mut gateway = json!({ "group": GATEWAYS, "kind": "Gateway", "name": name });
    let given = [
        ("namespace", namespace.as_ref().map(|it| json!(it))),
        ("sectionName", section_name.as_ref().map(|it| json!(it))),
        ("port", port.map(|it| json!(it))),
    ];
    if let Some(fields) = gateway.as_object_mut() {
        let given = given.into_iter();
        fields.extend(given.filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    gateway
}

fn clients(input: &Validated) -> Value {
    let wsc = &input.config.wsc;
    json!({
        "matches": [prefix(&wsc.path), prefix(&wsc.sse.path)],
        "backendRefs": [backend(input, wsc.node_port)],
        "timeouts": { "request": NEVER, "backendRequest": NEVER },
    })
}

fn http_api(input: &Validated) -> Value {
    json!({
        "matches": [prefix(HTTP_API)],
        "backendRefs": [backend(input, input.config.http.port)],
    })
}

fn prefix(path: &str) -> Value {
    json!({ "path": { "type": "PathPrefix", "value": path } })
}

fn backend(input: &Validated, port: u16) -> Value {
    json!({ "group": "", "kind": "Service", "name": input.names.gateway(), "port": port, "weight": 1 })
}
