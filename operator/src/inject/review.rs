//! An `AdmissionReview` of a pod that is being made, and what is answered.
//!
//! Who does not ask for a gateway is let through as it is. Who does gets it, or is refused with the reason: a pod without
//! the gateway that it asks for would look well and reach nobody. Nobody knows who sends a review, so few are read at a
//! time, and each within seconds.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use json_patch::Patch;
use kube::Client;
use kube::core::Status;
use kube::core::admission::AdmissionResponse;
use tokio::time::timeout;
use tracing::{info, warn};

use super::lookup::{Failure, template};
use super::patch::patch;
use super::pod::{Pod, Question, Review};
use super::refusal::Refusal;
use crate::listener::{Places, Visitor};
use crate::metrics::{Metrics, Reviewed};
use crate::names::MANAGER;

/// Shorter than what the API server waits for an answer, so that it hears the reason.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// More than the API server takes of a pod, with what stands around it in a review.
const LONGEST: usize = 4 * 1024 * 1024;

/// How long a review may take to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// Reviews that are read and answered at a time, and how many of them from one address. One takes milliseconds, and up to
/// twice [`LONGEST`] of memory.
const AT_A_TIME: usize = 8;
const OF_ONE_ADDRESS: usize = 4;

/// How long a further one waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(2);

/// Who answers.
pub struct Reviewer {
    client: Client,
    metrics: Arc<Metrics>,
    turns: Arc<Places>,
}

/// Why a review was not read.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("too many pods are being reviewed; try again")]
    TooMany,
    #[error("a review of more than {LONGEST} bytes is not read")]
    TooLong,
    #[error("the review did not arrive within {} seconds", ARRIVES_WITHIN.as_secs())]
    TooSlow,
    #[error("not an AdmissionReview of a pod: {0}")]
    Malformed(serde_json::Error),
}

impl Reviewer {
    /// Answers by what this API server has.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            metrics,
            turns: Arc::new(Places::new(AT_A_TIME, OF_ONE_ADDRESS)),
        }
    }

    /// Reads one review and answers it.
    async fn review(&self, body: Body, from: IpAddr) -> Result<AdmissionResponse, Unread> {
        // One that says at once that it is too long needs no turn.
        if body.size_hint().lower() > LONGEST as u64 {
            return Err(Unread::TooLong);
        }
        let turn = self.turns.take_within(from, TURN_WITHIN).await;
        let _turn = turn.ok_or(Unread::TooMany)?;
        let review = read(body).await?;
        Ok(self.answer(&review.request).await)
    }

    async fn answer(&self, request: &Question) -> AdmissionResponse {
        let response = allowed(&request.uid);
        let Some((pod, gateway)) = request.object.as_ref().and_then(asked_for) else {
            return response;
        };
        let namespace = request.namespace.as_deref().unwrap_or_default();
        let judged = match timeout(ANSWER_WITHIN, self.judge(pod, namespace, gateway)).await {
            Ok(judged) => judged,
            Err(_) => Err(Failure::Late),
        };
        match judged.and_then(|patch| response.clone().with_patch(patch).map_err(unreadable)) {
            Ok(patched) => {
                self.metrics.reviewed(Reviewed::Injected);
                info!(
                    namespace,
                    gateway,
                    pod = called(pod),
                    "a pod gets its gateway"
                );
                patched
            }
            Err(failure) => {
                self.metrics.reviewed(match failure {
                    Failure::Refused(_) => Reviewed::Refused,
                    Failure::Unknown(_) | Failure::Late => Reviewed::Failed,
                });
                warn!(namespace, gateway, pod = called(pod), %failure, "a pod is refused");
                response.deny(failure)
            }
        }
    }

    async fn judge(&self, pod: &Pod, namespace: &str, gateway: &str) -> Result<Patch, Failure> {
        let template = template(&self.client, namespace, gateway).await?;
        Ok(patch(pod, &template)?)
    }
}

/// Where the API server asks.
pub fn router(reviewer: Reviewer) -> Router {
    Router::new()
        .route("/inject", post(review))
        .with_state(Arc::new(reviewer))
}

async fn review(State(reviewer): State<Arc<Reviewer>>, request: Request) -> Response {
    // One that comes by no listener of ours has no address.
    let from = request.extensions().get::<Visitor>();
    let from = from.map_or(Ipv6Addr::UNSPECIFIED.into(), |from| from.address.ip());
    match reviewer.review(request.into_body(), from).await {
        Ok(response) => Json(response.into_review()).into_response(),
        Err(unread) => {
            reviewer.metrics.reviewed(Reviewed::TurnedAway);
            warn!(%from, %unread, "a review was not read");
            refuse(&unread)
        }
    }
}

/// The review in a body, of which nothing is kept but what is looked at.
async fn read(body: Body) -> Result<Review, Unread> {
    let arrived = timeout(ARRIVES_WITHIN, to_bytes(body, LONGEST)).await;
    // A connection that broke hears nothing of this.
    let bytes = arrived
        .map_err(|_| Unread::TooSlow)?
        .map_err(|_| Unread::TooLong)?;
    serde_json::from_slice(&bytes).map_err(Unread::Malformed)
}

fn refuse(unread: &Unread) -> Response {
    let code = match unread {
        Unread::TooMany => StatusCode::TOO_MANY_REQUESTS,
        Unread::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
        Unread::TooSlow => StatusCode::REQUEST_TIMEOUT,
        Unread::Malformed(_) => StatusCode::BAD_REQUEST,
    };
    let mut response = (code, unread.to_string()).into_response();
    if matches!(unread, Unread::TooMany) {
        let soon = header::HeaderValue::from_static("1");
        response.headers_mut().insert(header::RETRY_AFTER, soon);
    }
    response
}

/// That a pod may be made as it is.
fn allowed(uid: &str) -> AdmissionResponse {
    let mut response = AdmissionResponse::invalid("");
    uid.clone_into(&mut response.uid);
    response.allowed = true;
    response.result = Status::default();
    response
}

/// The pod and the gateway that it asks for. Pods of the operator's own carry the same label.
fn asked_for(pod: &Pod) -> Option<(&Pod, &str)> {
    let labels = pod.metadata.labels.as_ref()?;
    let is_ours = labels.managed_by.as_deref() == Some(MANAGER);
    let gateway = labels.gateway.as_deref().filter(|_| !is_ours)?;
    Some((pod, gateway))
}

/// A pod that a controller makes has no name yet, only what it begins with.
fn called(pod: &Pod) -> &str {
    let metadata = &pod.metadata;
    let name = metadata
        .name
        .as_deref()
        .or(metadata.generate_name.as_deref());
    name.unwrap_or_default()
}

fn unreadable(_: kube::core::admission::SerializePatchError) -> Failure {
    Refusal::Unreadable.into()
}
