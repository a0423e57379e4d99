//! An `AdmissionReview` of a pod that is being made, and what is answered.
//!
//! Who does not ask for a gateway is let through as it is. Who does gets it, or is refused with the reason: a pod without
//! the gateway that it asks for would look well and reach nobody.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use axum::{Json, Router};
use json_patch::Patch;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use tokio::time::timeout;
use tracing::{info, warn};

use super::lookup::{Failure, template};
use super::patch::patch;
use super::refusal::Refusal;
use crate::metrics::{Metrics, Reviewed};
use crate::names::{GATEWAY_LABEL, MANAGED_BY_LABEL, MANAGER};

/// Shorter than what the API server waits for an answer, so that it hears the reason.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// More than the API server takes of a pod, with what stands around it in a review.
const LONGEST: usize = 4 * 1024 * 1024;

/// Who answers.
pub struct Reviewer {
    client: Client,
    metrics: Arc<Metrics>,
}

impl Reviewer {
    /// Answers by what this API server has.
    pub const fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self { client, metrics }
    }

    async fn answer(&self, request: &AdmissionRequest<Pod>) -> AdmissionResponse {
        let response = AdmissionResponse::from(request);
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
        .layer(DefaultBodyLimit::max(LONGEST))
        .with_state(Arc::new(reviewer))
}

async fn review(
    State(reviewer): State<Arc<Reviewer>>,
    Json(review): Json<AdmissionReview<Pod>>,
) -> Json<AdmissionReview<DynamicObject>> {
    let request: Result<AdmissionRequest<Pod>, _> = review.try_into();
    let response = match request {
        Ok(request) => reviewer.answer(&request).await,
        Err(error) => AdmissionResponse::invalid(error),
    };
    Json(response.into_review())
}

/// The pod and the gateway that it asks for. Pods of the operator's own carry the same label.
fn asked_for(pod: &Pod) -> Option<(&Pod, &str)> {
    let labels = pod.metadata.labels.as_ref()?;
    let is_ours = labels.get(MANAGED_BY_LABEL).is_some_and(|by| by == MANAGER);
    let gateway = labels.get(GATEWAY_LABEL).filter(|_| !is_ours)?;
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
