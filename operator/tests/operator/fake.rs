//! A fake API server: objects in memory, enough of GET, POST, PUT, PATCH and DELETE, a record of every request, and
//! failures on demand. Every request must be one that the table of permissions allows.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use wsc_operator::access;

/// One request that was answered.
#[derive(Clone, Debug)]
pub struct Seen {
    /// GET, POST, APPLY, MERGE, PUT or DELETE.
    pub verb: &'static str,
    /// Kind's plural and name: `deployments/chat`.
    pub object: String,
    /// The body.
    pub body: Value,
}

impl Seen {
    /// `APPLY deployments/chat`.
    pub fn line(&self) -> String {
        format!("{} {}", self.verb, self.object)
    }
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    seen: Vec<Seen>,
    failures: Vec<(String, u16)>,
    version: u64,
}

/// The fake API server.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<State>>);

/// A path taken apart.
struct Path {
    group: String,
    plural: String,
    name: Option<String>,
    subresource: Option<String>,
    /// The path of the object itself.
    object: String,
}

impl Fake {
    /// A client that speaks to it.
    pub fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { Ok::<_, Infallible>(fake.answer(request).await) }
        });
        Client::new(service, "default")
    }

    /// Puts an object there, as somebody else would.
    pub fn put(&self, path: &str, mut object: Value) {
        let mut state = self.0.lock();
        state.version += 1;
        let (uid, version) = (format!("uid-{}", state.version), state.version.to_string());
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.entry("uid").or_insert(json!(uid));
        metadata.insert("resourceVersion".to_owned(), json!(version));
        state.objects.insert(path.to_owned(), object);
    }

    /// Changes an object, as somebody else would.
    pub fn edit(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(path).unwrap();
        change(&mut object);
        self.put(path, object);
    }

    /// What is there.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.0.lock().objects.get(path).cloned()
    }

    /// Takes an object away, as somebody else would.
    pub fn remove(&self, path: &str) {
        assert!(self.0.lock().objects.remove(path).is_some(), "{path}");
    }

    /// Every object in a collection, which says of each no more of its kind than the API server does in a list.
    pub fn list(&self, collection: &str) -> Vec<Value> {
        let state = self.0.lock();
        let prefix = format!("{collection}/");
        let found = state
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with(&prefix));
        let mut found: Vec<Value> = found.map(|(_, object)| object.clone()).collect();
        for object in &mut found {
            let fields = object.as_object_mut().unwrap();
            fields.remove("apiVersion");
            fields.remove("kind");
        }
        found
    }

    /// The next request with this line is answered with this code.
    pub fn fail(&self, line: &str, code: u16) {
        self.0.lock().failures.push((line.to_owned(), code));
    }

    /// The requests since the last call.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock().seen)
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let kind = parts
            .headers
            .get("content-type")
            .map(|kind| kind.to_str().unwrap());
        let verb = match (parts.method, kind) {
            (Method::GET, _) => "GET",
            (Method::POST, _) => "POST",
            (Method::PUT, _) => "PUT",
            (Method::DELETE, _) => "DELETE",
            (Method::PATCH, Some("application/apply-patch+yaml")) => "APPLY",
            (Method::PATCH, Some("application/merge-patch+json")) => "MERGE",
            (method, kind) => panic!("{method} {kind:?}"),
        };
        let path = Path::of(parts.uri.path());
        path.check_permission(verb);
        let name = path.name.clone().or_else(|| {
            let name = body["metadata"]["name"].as_str();
            name.map(str::to_owned)
        });
        let mut object = format!("{}/{}", path.plural, name.unwrap_or_default());
        if let Some(subresource) = &path.subresource {
            object = format!("{object}/{subresource}");
        }
        let seen = Seen {
            verb,
            object,
            body: body.clone(),
        };
        let mut state = self.0.lock();
        state.seen.push(seen.clone());
        let line = seen.line();
        if let Some(at) = state
            .failures
            .iter()
            .position(|(failing, _)| *failing == line)
        {
            let (_, code) = state.failures.remove(at);
            return refuse(code, "as the test wants");
        }
        state.respond(verb, &path, body)
    }
}

impl State {
    fn respond(&mut self, verb: &str, path: &Path, body: Value) -> Response<Body> {
        let object = match verb {
            "POST" => format!(
                "{}/{}",
                path.object,
                body["metadata"]["name"].as_str().unwrap()
            ),
            _ => path.object.clone(),
        };
        let existing = self.objects.get(&object).cloned();
        let uid = body["metadata"]["uid"].as_str();
        if let (Some(uid), Some(existing)) = (uid, &existing)
            && existing["metadata"]["uid"] != uid
        {
            return refuse(409, "the uid is another");
        }
        let version = &body["metadata"]["resourceVersion"];
        if let ("MERGE", Some(existing)) = (verb, &existing)
            && !version.is_null()
            && existing["metadata"]["resourceVersion"] != *version
        {
            return refuse(409, "another version");
        }
        match (verb, existing) {
            ("GET", Some(existing)) => reply(&existing),
            ("DELETE", Some(_)) => {
                self.objects.remove(&object);
                reply(&json!({"kind": "Status", "status": "Success"}))
            }
            ("GET" | "DELETE" | "MERGE" | "PUT", None) => refuse(404, "not found"),
            ("POST", Some(_)) => refuse(409, "exists"),
            ("PUT", Some(existing)) => {
                if existing["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
                    return refuse(409, "another version");
                }
                self.store(&object, Some(existing), body)
            }
            ("POST" | "APPLY", None) => self.store(&object, None, body),
            (_, Some(existing)) => {
                let mut merged = existing.clone();
                overlay(&mut merged, &body);
                self.store(&object, Some(existing), merged)
            }
            (verb, None) => panic!("{verb}"),
        }
    }

    fn store(&mut self, path: &str, before: Option<Value>, mut object: Value) -> Response<Body> {
        normalise(&mut object);
        if before.as_ref() != Some(&object) {
            self.version += 1;
            let version = self.version.to_string();
            let metadata = object["metadata"].as_object_mut().unwrap();
            metadata
                .entry("uid")
                .or_insert(json!(format!("uid-{version}")));
            metadata.insert("resourceVersion".to_owned(), json!(version));
        }
        self.objects.insert(path.to_owned(), object.clone());
        reply(&object)
    }
}

/// What the API server makes of some values: amounts in their canonical form, texts of Secrets encoded.
fn normalise(object: &mut Value) {
    match object {
        Value::String(text) if text == "1000m" => "1".clone_into(text),
        Value::Object(fields) => {
            let texts = fields.remove("stringData");
            for (key, value) in texts
                .as_ref()
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                let encoded = STANDARD.encode(value.as_str().unwrap());
                let data = fields.entry("data").or_insert_with(|| json!({}));
                data.as_object_mut()
                    .unwrap()
                    .insert(key.clone(), json!(encoded));
            }
            fields.values_mut().for_each(normalise);
        }
        Value::Array(elements) => elements.iter_mut().for_each(normalise),
        _ => {}
    }
}

fn overlay(target: &mut Value, source: &Value) {
    match (target, source) {
        (Value::Object(target), Value::Object(source)) => {
            for (key, value) in source {
                // As a whole, as by the API server.
                if key == "selector" {
                    target.insert(key.clone(), value.clone());
                    continue;
                }
                overlay(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, Value::Object(source)) => {
            *target = Value::Object(Map::new());
            overlay(target, &Value::Object(source.clone()));
        }
        (target, source) => target.clone_from(source),
    }
}

impl Path {
    fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, rest) = match parts[..] {
            ["api", _, ref rest @ ..] => ("", rest),
            ["apis", group, _, ref rest @ ..] => (group, rest),
            _ => panic!("{path}"),
        };
        let ["namespaces", _, plural, ref rest @ ..] = rest[..] else {
            panic!("not namespaced: {path}")
        };
        let subresource = rest.get(1).map(|part| (*part).to_owned());
        let object = match &subresource {
            Some(subresource) => path.trim_end_matches(&format!("/{subresource}")),
            None => path,
        };
        Self {
            group: group.to_owned(),
            plural: plural.to_owned(),
            name: rest.first().map(|part| (*part).to_owned()),
            subresource,
            object: object.to_owned(),
        }
    }

    fn check_permission(&self, verb: &str) {
        let resource = match &self.subresource {
            Some(subresource) => format!("{}/{subresource}", self.plural),
            None => self.plural.clone(),
        };
        let needed: &[&str] = match verb {
            "GET" => &["get"],
            "POST" => &["create"],
            "PUT" => &["update"],
            "DELETE" => &["delete"],
            // An apply creates what is not there; a status is never created.
            "APPLY" if self.subresource.is_none() => &["patch", "create"],
            _ => &["patch"],
        };
        for verb in needed {
            assert!(
                access::allows(&self.group, &resource, verb),
                "the operator has no permission to {verb} {resource}"
            );
        }
    }
}

fn reply(object: &Value) -> Response<Body> {
    Response::new(Body::from(object.to_string().into_bytes()))
}

fn refuse(code: u16, message: &str) -> Response<Body> {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        422 => "Invalid",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code, "reason": reason, "message": message,
    });
    let mut response = reply(&status);
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}
