//! The gateway's HTTP ports as a backend or a probe uses them: one request on one connection to one chosen pod.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use kube::Client;
use serde_json::Value;

use crate::forward::{self, PodPort};

/// Longest an answer may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// A request to a port of a pod.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which pod and port.
    pub to: PodPort,
    /// Method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Sent as `Authorization: Bearer`.
    pub bearer: Option<String>,
    /// Sent as JSON.
    pub body: Option<Value>,
}

/// Makes the request and gives status and body as text.
pub async fn request(client: &Client, call: Call) -> Result<(StatusCode, String)> {
    let what = format!(
        "{} {} at {}/{}",
        call.method, call.path, call.to.namespace, call.to.pod
    );
    tokio::time::timeout(DEADLINE, exchange(client, call))
        .await
        .with_context(|| format!("{what}: no answer within {DEADLINE:?}"))?
        .context(what)
}

/// Makes the request, expects success, and gives the body as JSON.
pub async fn request_json(client: &Client, call: Call) -> Result<Value> {
    let what = format!("{} {} at {}", call.method, call.path, call.to.pod);
    let (status, body) = request(client, call).await?;
    if !status.is_success() {
        bail!("{what}: {status}: {body}");
    }
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&body).with_context(|| format!("{what}: the answer is not JSON: {body}"))
}

async fn exchange(client: &Client, call: Call) -> Result<(StatusCode, String)> {
    let mut request = Request::builder()
        .method(call.method)
        .uri(call.path)
        .header("host", &call.to.pod);
    if let Some(key) = call.bearer {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let body = match call.body {
        Some(json) => {
            request = request.header("content-type", "application/json");
            Bytes::from(serde_json::to_vec(&json)?)
        }
        None => Bytes::new(),
    };
    let stream = forward::open(client, &call.to).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request.body(Full::new(body))?).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::pin!(answer);
    // The connection does the reading and writing; the answer ends the exchange.
    tokio::select! {
        answered = &mut answer => answered,
        closed = connection => { closed?; answer.await }
    }
}
