//! The admin port: `/livez`, `/readyz`, `/metrics`. Not for users; no authentication, nothing secret.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::RwLock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

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

/// What this replica is doing; written by `run`, read by the probes.
#[derive(Clone, Default)]
pub struct Health(Arc<RwLock<Part>>);

impl Health {
    /// Takes note of what the replica does now.
    pub fn is(&self, part: Part) {
        *self.0.write() = part;
    }

    /// Why the replica is not ready, if it is not.
    fn missing(&self) -> Option<String> {
        match &*self.0.read() {
            Part::Starting => Some("the API server has not answered yet".to_owned()),
            Part::Standby => None,
            Part::Leading(scopes) => scopes
                .iter()
                .find_map(Stores::behind)
                .map(|kind| format!("the watch of {kind} has not caught up")),
        }
    }
}

#[derive(Clone)]
struct Shared {
    health: Health,
    metrics: Arc<Metrics>,
}

/// The routes.
fn router(health: Health, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .with_state(Shared { health, metrics })
}

/// Binds the port; what cannot be bound fails the start.
pub async fn bind(port: u16) -> anyhow::Result<TcpListener> {
    let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match TcpListener::bind(everywhere).await {
        Ok(listener) => Ok(listener),
        // A machine without IPv6.
        Err(_) => TcpListener::bind(("0.0.0.0", port))
            .await
            .with_context(|| format!("cannot listen on admin port {port}")),
    }
}

/// Serves until the token says stop.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Arc<Metrics>,
    token: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, router(health, metrics))
        .with_graceful_shutdown(token.cancelled_owned())
        .await
}

async fn readyz(State(shared): State<Shared>) -> Response {
    match shared.health.missing() {
        None => "ok".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

async fn metrics_text(State(shared): State<Shared>) -> Response {
    const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match shared.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, KIND)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    async fn code(health: &Health, path: &str) -> StatusCode {
        let router = router(health.clone(), Arc::default());
        let request = Request::get(path).body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap().status()
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
}
