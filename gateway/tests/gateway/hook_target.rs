//! An application that is asked and told over HTTP: it writes down what comes and replies as it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

/// One request.
#[derive(Clone, Debug)]
pub struct Taken {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Taken {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// What a target replies.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub body: String,
    pub after: Duration,
    pub location: Option<String>,
}

pub fn says(body: &Value) -> Reply {
    Reply {
        status: 200,
        body: body.to_string(),
        after: Duration::ZERO,
        location: None,
    }
}

pub fn fails(status: u16) -> Reply {
    Reply {
        status,
        ..says(&json!({}))
    }
}

type Script = Arc<dyn Fn(&Value) -> Reply + Send + Sync>;

#[derive(Clone)]
pub struct Target {
    pub port: u16,
    taken: Arc<Mutex<Vec<Taken>>>,
    script: Arc<Mutex<Script>>,
    /// Requests under way, and the most there were.
    pub at_once: Arc<(AtomicUsize, AtomicUsize)>,
    _end: Arc<DropGuard>,
}

impl Target {
    pub async fn start(script: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let end = CancellationToken::new();
        let target = Self {
            port: listener.local_addr().unwrap().port(),
            taken: Arc::default(),
            script: Arc::new(Mutex::new(Arc::new(script))),
            at_once: Arc::default(),
            _end: Arc::new(end.clone().drop_guard()),
        };
        let (taken, script, at_once) = (
            target.taken.clone(),
            target.script.clone(),
            target.at_once.clone(),
        );
        let router = axum::Router::new().fallback(move |request: Request| {
            let (taken, script, at_once) = (taken.clone(), script.clone(), at_once.clone());
            async move {
                let now = at_once.0.fetch_add(1, Relaxed) + 1;
                at_once.1.fetch_max(now, Relaxed);
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
                let one = Taken {
                    headers: parts.headers,
                    body,
                };
                let script = script.lock().clone();
                let reply = script(&one.json());
                taken.lock().push(one);
                sleep(reply.after).await;
                at_once.0.fetch_sub(1, Relaxed);
                let mut response = Response::builder()
                    .status(StatusCode::from_u16(reply.status).unwrap())
                    .header("content-type", "application/json");
                if let Some(location) = reply.location {
                    response = response.header("location", location);
                }
                response.body(Body::from(reply.body)).unwrap()
            }
        });
        tokio::spawn(async move {
            let ended = end.cancelled_owned();
            axum::serve(listener, router)
                .with_graceful_shutdown(ended)
                .await
                .unwrap();
        });
        target
    }

    pub fn replies(&self, script: impl Fn(&Value) -> Reply + Send + Sync + 'static) {
        *self.script.lock() = Arc::new(script);
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().clone()
    }

    /// Every event it was told of, in order.
    pub fn events(&self) -> Vec<Value> {
        let taken = self.taken();
        let told = taken.iter().filter(|one| {
            one.header("content-type")
                .starts_with("application/cloudevents")
        });
        told.flat_map(|one| match one.json() {
            Value::Array(events) => events,
            event => vec![event],
        })
        .collect()
    }
}
