//! The routes of the admin port: each one asks the source one question and writes down the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

use super::{AdminSource, Phase};
use crate::telemetry::Metrics;

type Source = State<Arc<dyn AdminSource>>;

/// How long somebody who waits for the end of a drain waits for its beginning: both are told at the same time.
const BEGINS_WITHIN: Duration = Duration::from_secs(3);

/// `/livez`, `/readyz`, `/status`, `/metrics` and `POST /drain`; for the kubelet, which can only GET, `/prestop` and `/drained`.
pub fn admin_router(source: Arc<dyn AdminSource>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .route("/drain", post(drain))
        .route("/prestop", get(drain))
        .route("/drained", get(drained))
        .with_state(source)
}

async fn livez(State(source): Source) -> Response {
    let live = source.live();
    (yes_or_unavailable(live), Json(json!({ "live": live }))).into_response()
}

async fn readyz(State(source): Source) -> Response {
    let readiness = source.readiness();
    let mut checks = json!({
        "phase": readiness.phase,
        "redis": readiness.redis,
        "fenced": readiness.fenced,
    });
    if let (Some(etcd), Some(checks)) = (readiness.etcd, checks.as_object_mut()) {
        checks.insert("etcd".to_owned(), json!(etcd));
    }
    let body = json!({
        "ready": readiness.ready,
        "checks": checks,
        "problems": readiness.problems,
    });
    (yes_or_unavailable(readiness.ready), Json(body)).into_response()
}

async fn status(State(source): Source) -> Response {
    Json(source.status()).into_response()
}

async fn metrics(State(source): Source) -> Response {
    if !source.shows_metrics() {
        let why = "wsc.performance.enableMetrics is false";
        return (StatusCode::NOT_FOUND, why).into_response();
    }
    match source.metrics() {
        Ok(text) => ([(CONTENT_TYPE, Metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn drain(State(source): Source) -> Response {
    source.request_drain();
    (StatusCode::ACCEPTED, Json(json!({ "draining": true }))).into_response()
}

/// Answers when the drain is over, or soon if there is none: what an application waits for that ends with its gateway.
async fn drained(State(source): Source) -> Response {
    let mut phase = source.phase();
    let leaves = |phase: &Phase| matches!(phase, Phase::Draining | Phase::Stopped);
    // An error means that the gateway is gone altogether.
    let begun = async { phase.wait_for(leaves).await.is_ok() };
    let drained = tokio::time::timeout(BEGINS_WITHIN, begun).await == Ok(true);
    if drained {
        while *phase.borrow_and_update() != Phase::Stopped && phase.changed().await.is_ok() {}
    }
    Json(json!({ "drained": drained })).into_response()
}

fn yes_or_unavailable(yes: bool) -> StatusCode {
    if yes {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}
