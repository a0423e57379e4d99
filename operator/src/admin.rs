//! The admin port: `/livez`, `/readyz`, `/metrics`, and for KEDA `/connections/NAMESPACE/GATEWAY`. Not for users; no
//! authentication, nothing secret.
//!
//! Ready is who serves what is asked of it, since the Services of the webhook and of the metrics API lead to those who are. A
//! right that is missing takes neither away: `/readyz` and `/metrics` name it beside that.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use parking_lot::RwLock;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::counting::Counting;
use crate::metrics::Metrics;
use crate::stores::Stores;

/// What readiness depends on.
#[derive(Clone, Default)]
pub enum Part {
    /// The API server has not answered yet.
    #[default]
    Starting,
    /// Another replica leads; this one would take over.
    Standby,
    /// This replica leads, with the watches of each scope.
    Leading(Vec<Stores>),
}

/// What something else is missing before it can serve, if anything.
pub type Check = Arc<dyn Fn() -> Option<&'static str> + Send + Sync>;

/// What this replica is doing; written by `run`, read by the probes.
#[derive(Clone, Default)]
pub struct Health {
    part: Arc<RwLock<Part>>,
    checks: Arc<RwLock<Vec<Check>>>,
}

impl Health {
    /// Takes note of what the replica does now.
    pub fn is(&self, part: Part) {
        *self.part.write() = part;
    }

    /// Takes note of something else that has to be ready.
    pub fn needs(&self, check: Check) {
        self.checks.write().push(check);
    }

    /// Why the replica is not ready, if it is not.
    fn missing(&self) -> Option<String> {
        let other = self.checks.read().iter().find_map(|check| check());
        self.part_missing().or_else(|| other.map(str::to_owned))
    }

    fn part_missing(&self) -> Option<String> {
        match &*self.part.read() {
            Part::Starting => Some("the API server has not answered yet".to_owned()),
            Part::Standby => None,
            Part::Leading(scopes) => scopes
                .iter()
                .find_map(Stores::behind)
                .map(|kind| format!("the watch of {kind} has not caught up")),
        }
    }
}

/// What the operator may not see, in any scope.
fn unseen(counting: &[Counting]) -> BTreeSet<String> {
    let scopes = counting.iter();
    scopes.flat_map(|part| part.stores.unseen()).collect()
}

/// What is told.
#[derive(Clone)]
pub struct Shared {
    /// Whether the replica is ready.
    pub health: Health,
    /// Numbers for monitoring.
    pub metrics: Arc<Metrics>,
    /// Numbers of gateways.
    pub counting: Vec<Counting>,
}

/// The routes.
fn router(shared: Shared) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .route("/connections/{namespace}/{gateway}", get(connections))
        .with_state(shared)
}

/// Binds the port; what cannot be bound fails the start.
pub async fn bind(port: u16) -> anyhow::Result<TcpListener> {
    let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match TcpListener::bind(everywhere).await {
        Ok(listener) => Ok(listener),
        // A machine without IPv6.
        Err(_) => TcpListener::bind(("0.0.0.0", port))
            .await
            .with_context(|| format!("cannot listen on port {port}")),
    }
}

/// Serves until the token says stop.
pub async fn serve(
    listener: TcpListener,
    shared: Shared,
    token: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, router(shared))
        .with_graceful_shutdown(token.cancelled_owned())
        .await
}

async fn readyz(State(shared): State<Shared>) -> Response {
    if let Some(why) = shared.health.missing() {
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    }
    let unseen: Vec<String> = unseen(&shared.counting).into_iter().collect();
    if unseen.is_empty() {
        return "ok".into_response();
    }
    let what = unseen.join(", ");
    format!("ok, but the operator may not list and watch {what}").into_response()
}

/// How many connections a gateway has; a number that is not known is an error, never zero.
async fn connections(
    State(shared): State<Shared>,
    Path((namespace, gateway)): Path<(String, String)>,
) -> Response {
    let counted = shared
        .counting
        .iter()
        .find(|part| part.scope.has(&namespace));
    let Some(counted) = counted else {
        return (StatusCode::NOT_FOUND, "no such namespace is looked after").into_response();
    };
    match counted.census.reading(&namespace, &gateway, Instant::now()) {
        Ok(Some(reading)) => {
            Json(json!({"connections": reading.connections, "at": reading.at})).into_response()
        }
        Ok(None) => (StatusCode::NOT_FOUND, "the gateway has no pods").into_response(),
        Err(unknown) => (StatusCode::SERVICE_UNAVAILABLE, unknown.to_string()).into_response(),
    }
}

async fn metrics_text(State(shared): State<Shared>) -> Response {
    const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    shared.metrics.lacks(unseen(&shared.counting));
    match shared.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, KIND)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::scope::Scope;

    fn counting() -> Counting {
        Counting::new(Scope::Namespace("default".to_owned()))
    }

    async fn code(health: &Health, path: &str) -> StatusCode {
        answer(health, counting(), path).await.0
    }

    async fn answer(health: &Health, counting: Counting, path: &str) -> (StatusCode, String) {
        let router = router(Shared {
            health: health.clone(),
            metrics: Arc::default(),
            counting: vec![counting],
        });
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let code = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        (code, String::from_utf8(body.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_leader_is_ready_when_its_watches_are_and_a_standby_always() {
        let health = Health::default();
        assert_eq!(code(&health, "/livez").await, StatusCode::OK);
        assert_eq!(
            code(&health, "/readyz").await,
            StatusCode::SERVICE_UNAVAILABLE
        );
        health.is(Part::Standby);
        assert_eq!(code(&health, "/readyz").await, StatusCode::OK);
        health.is(Part::Leading(vec![Stores::default()]));
        assert_eq!(
            code(&health, "/readyz").await,
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(code(&health, "/metrics").await, StatusCode::OK);
    }

    #[tokio::test]
    async fn who_may_not_see_something_serves_all_the_same_and_names_the_right() {
        let (health, counting) = (Health::default(), counting());
        health.is(Part::Standby);
        let asked = async |path| answer(&health, counting.clone(), path).await;
        assert_eq!(asked("/readyz").await, (StatusCode::OK, "ok".to_owned()));
        assert!(!asked("/metrics").await.1.contains("missing_rights{"));

        assert!(counting.stores.pods().refused());
        assert!(counting.stores.owned(crate::owned::Kind::Ingress).refused());
        assert!(counting.stores.gateways().note());
        let (code, words) = asked("/readyz").await;
        assert_eq!(code, StatusCode::OK);
        assert_eq!(
            words,
            "ok, but the operator may not list and watch ingresses.networking.k8s.io, pods, websocketgateways.wsc.dev"
        );
        let (_, metrics) = asked("/metrics").await;
        let line = "wsc_operator_missing_rights{resource=\"ingresses.networking.k8s.io\"} 1";
        assert!(metrics.contains(line), "{metrics}");

        counting.stores.gateways().clear();
        let (_, words) = asked("/readyz").await;
        assert!(
            words.ends_with("ingresses.networking.k8s.io, pods"),
            "{words}"
        );
    }

    #[tokio::test]
    async fn connections_that_were_not_counted_are_an_error() {
        let health = Health::default();
        assert_eq!(
            code(&health, "/connections/default/chat").await,
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(
            code(&health, "/connections/elsewhere/chat").await,
            StatusCode::NOT_FOUND
        );
    }

    #[tokio::test]
    async fn what_else_is_needed_holds_readiness_up_and_nothing_more() {
        let health = Health::default();
        health.is(Part::Standby);
        let ready = Arc::new(AtomicBool::new(false));
        let there = Arc::clone(&ready);
        health.needs(Arc::new(move || {
            (!there.load(Ordering::SeqCst)).then_some("no certificate yet")
        }));
        assert_eq!(
            code(&health, "/readyz").await,
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(code(&health, "/livez").await, StatusCode::OK);
        ready.store(true, Ordering::SeqCst);
        assert_eq!(code(&health, "/readyz").await, StatusCode::OK);
    }
}
