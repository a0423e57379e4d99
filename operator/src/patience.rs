//! The client for the API server: one that waits when it is told to, and leaves every other failure to whoever asked.
//!
//! What `kube` does by itself, fifteen tries whose pauses double from five milliseconds, asks a server in need many times in
//! the first second, and one that was away for minutes not again for as long. Reconciles and watches have a backoff of their own
//! (`backoff`), whose bound is how late the operator notices that the API server is back.

use std::time::Duration;

use anyhow::Context as _;
use http_body_util::BodyExt;
use hyper::header::RETRY_AFTER;
use hyper::{Request, Response, StatusCode};
use kube::client::Body;
use kube::{Client, Config};
use tracing::debug;

use crate::backoff::jittered;

/// A longer wait than this is no request's any more: whoever asked tries again when it is time.
const LONGEST: Duration = Duration::from_secs(10);

/// How often one request waits.
const WAITS: usize = 3;

/// A client by the environment: a kubeconfig, or the account of the pod.
pub async fn client() -> anyhow::Result<Client> {
    let mut config = Config::infer().await.context("no way to the API server")?;
    config.default_retry = false;
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).context("no way to the API server")?;
    let service = tower::service_fn(move |request| ask(client.clone(), request));
    Ok(Client::new(service, namespace))
}

/// One request, sent again each time its answer says when.
async fn ask(client: Client, request: Request<Body>) -> kube::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    // Short, and complete: nothing is streamed to an API server.
    let body = body.collect().await?.to_bytes();
    let mut waits = 0;
    loop {
        let request = Request::from_parts(parts.clone(), Body::from(body.clone()));
        let response = client.send(request).await?;
        let Some(after) = told_when(&response).filter(|_| waits < WAITS) else {
            return Ok(response);
        };
        debug!(?after, "told to come later");
        waits += 1;
        // A little later, so that not all come back at once.
        tokio::time::sleep(after + jittered(after / 10)).await;
    }
}

/// How long an API server wants to be left alone, if that is why it refused.
fn told_when(response: &Response<Body>) -> Option<Duration> {
    let is_told = matches!(
        response.status(),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    let after = response.headers().get(RETRY_AFTER).filter(|_| is_told)?;
    let seconds = after.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds)).filter(|after| *after <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16, after: &str) -> Option<Duration> {
        let response = Response::builder().status(code).header(RETRY_AFTER, after);
        told_when(&response.body(Body::empty()).unwrap())
    }

    #[test]
    fn only_a_refusal_that_says_when_is_waited_for_and_not_for_minutes() {
        let told = Some(Duration::from_secs(3));
        assert_eq!([answered(429, "3"), answered(503, "3")], [told, told]);
        assert_eq!(answered(503, "11"), None);
        assert_eq!(answered(500, "3"), None);
        assert_eq!(answered(429, "Sat, 28 Nov 2026 13:00:00 GMT"), None);
    }
}
