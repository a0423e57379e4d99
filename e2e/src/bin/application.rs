//! An application for tests of gateways beside it: a hook on localhost that answers `whoami` with the user and its pod.
//!
//!   wsc-application PORT
//!
//! It ends when it is told to, as a good application does; until then it answers.

// JSON alone is indexed here, and it answers `null` for what is not there.
#![allow(clippy::indexing_slicing)]

use std::convert::Infallible;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;

#[tokio::main]
async fn main() -> Result<()> {
    let port = std::env::args()
        .nth(1)
        .context("usage: wsc-application PORT")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse::<u16>()?)).await?;
    let mut told = signal(SignalKind::terminate())?;
    let connections = TaskTracker::new();
    println!("listening");
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            _ = told.recv() => break,
        };
        connections.spawn(async move {
            let service =
                service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
            let serving = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            if let Err(error) = serving.await {
                eprintln!("a connection ended: {error}");
            }
        });
    }
    println!("told to end");
    Ok(())
}

/// A question that cannot be read is no question of a gateway's: it is let pass, and the test misses its answer.
async fn answer(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let body = request.into_body().collect().await;
    let body = body
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let reply = if asked["message"]["type"] == "whoami" {
        let pod = std::env::var("HOSTNAME").unwrap_or_default();
        let user = &asked["client"]["user"];
        json!({"action": "answer", "answer": {"type": "you", "content": user, "data": {"pod": pod}}})
    } else if asked["kind"] == "connect" {
        json!({"action": "allow"})
    } else {
        json!({"action": "pass"})
    };
    let mut response = Response::new(Full::new(Bytes::from(reply.to_string())));
    let json = hyper::header::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, json);
    response
}
