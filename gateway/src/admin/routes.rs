//! The routes of the admin port: each one asks the source one question and writes down the answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
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

/// `/livez`, `/readyz`, `/status`, `/metrics`, `POST /drain` from the pod itself, and `/drained` for who waits for its end.
pub fn admin_router(source: Arc<dyn AdminSource>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .route("/drain", post(drain))
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

async fn drain(State(source): Source, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Response {
    if !is_this_pod(peer.ip()) {
        let why =
            "only from the pod itself: by kubectl port-forward, or by `wsc-gateway drain` in it\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
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

/// Not every address of the loopback: a mesh's proxy hands on what comes from elsewhere by another one, such as 127.0.0.6.
fn is_this_pod(peer: IpAddr) -> bool {
    match peer.to_canonical() {
        IpAddr::V4(address) => address == Ipv4Addr::LOCALHOST,
        IpAddr::V6(address) => address == Ipv6Addr::LOCALHOST,
    }
}

fn yes_or_unavailable(yes: bool) -> StatusCode {
    if yes {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}
