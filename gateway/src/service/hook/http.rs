//! A hook over HTTP: one POST for each question and each delivery of events, signed, with a JSON body.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};

use super::ask::{Ask, Reply};
use super::clients::{HookClients, HttpClient};
use super::cloud_event;
use super::plan::{HookPlan, HookPlanError};
use super::signer::{SIGNATURE, Signer, TIMESTAMP};
use super::wire::{HookError, MAX_ANSWER};
use crate::service::Event;

/// The header that names the hook.
const HOOK: &str = "wsc-hook";

const AGENT: &str = concat!("wsc-gateway/", env!("CARGO_PKG_VERSION"));

/// See the module.
pub(super) struct HttpWire {
    client: HttpClient,
    url: Uri,
    signer: Signer,
    name: String,
    source: String,
    /// Whether events are delivered one by one.
    single: bool,
}

impl HttpWire {
    pub(super) fn new(plan: &HookPlan, clients: &HookClients) -> Result<Self, HookPlanError> {
        let url = plan.url().parse::<Uri>();
        let url = url.map_err(|error| plan.no_target(&error))?;
        Ok(Self {
            client: clients.http(plan)?,
            url,
            signer: Signer::new(plan.keys()),
            name: plan.name().to_owned(),
            source: plan.source().to_owned(),
            single: plan.config().batch.max_events == 1,
        })
    }

    pub(super) async fn ask(&self, ask: &Ask) -> Result<Reply, HookError> {
        let body = serde_json::to_vec(ask).map_err(|error| unreadable(&error))?;
        let answer = self.post("application/json", body).await?;
        if answer.is_empty() {
            return Ok(Reply::default());
        }
        serde_json::from_slice(&answer).map_err(|error| unreadable(&error))
    }

    pub(super) async fn tell(&self, events: &[Event]) -> Result<(), HookError> {
        if !self.single {
            let body =
                cloud_event::batch(events, &self.source).map_err(|error| unreadable(&error))?;
            return self.post(cloud_event::BATCH, body).await.map(drop);
        }
        for event in events {
            let body =
                cloud_event::single(event, &self.source).map_err(|error| unreadable(&error))?;
            self.post(cloud_event::SINGLE, body).await?;
        }
        Ok(())
    }

    /// Posts and reads the answer, up to a bound. Anything but 2xx is an error, a redirect too.
    async fn post(&self, content: &'static str, body: Vec<u8>) -> Result<Bytes, HookError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static(content))
            .header(USER_AGENT, HeaderValue::from_static(AGENT))
            .header(HOOK, &self.name);
        if let Some(signed) = self.signer.sign(&body) {
            request = request
                .header(TIMESTAMP, signed.timestamp)
                .header(SIGNATURE, signed.signature);
        }
        let request = request
            .body(Full::from(body))
            .map_err(|error| unreadable(&error))?;
        let answer = self.client.request(request).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            HookError::Unreachable(cause.unwrap_or_else(|| error.to_string()))
        })?;
        let status = answer.status();
        if !status.is_success() {
            return Err(HookError::Status(status.as_u16()));
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| HookError::Unreadable(error.to_string()))?;
        Ok(body.to_bytes())
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> HookError {
    HookError::Unreadable(error.to_string())
}
