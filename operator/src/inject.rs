//! The webhook that puts gateways into pods of applications (`mode: Sidecar`), asked by the API server for each pod that
//! is made with the label `wsc.dev/gateway`.
//!
//! `review` answers; `lookup` finds what is to be injected, which a reconcile has applied as a `PodTemplate`; `patch` says,
//! purely, what the pod lacks of it; `pod` is as much of a pod as that takes. Every replica answers, whether it leads or not: nothing but the API server is asked.
//! Writes the certificate's Secret and the `caBundle` of its own configuration, nothing else. Started by `run` where the
//! chart asks for it.

mod listener;
mod lookup;
mod patch;
mod pod;
mod refusal;
mod registration;
mod review;

use std::sync::Arc;

use kube::Client;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::admin::Check;
use crate::certificate::{self, Wanted};
use crate::listener::serve;
use crate::metrics::Metrics;
use crate::stopping::Stopping;

use self::registration::Registration;

pub use lookup::Failure;
pub use patch::patch;
pub use pod::Pod;
pub use refusal::Refusal;
pub use review::{Reviewer, router};

/// How the webhook is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The operator's namespace.
    pub namespace: String,
    /// The Service that the API server calls; the Secret of the certificate is called the same.
    pub service: String,
    /// The `MutatingWebhookConfiguration` that says so.
    pub configuration: String,
}

/// What the webhook is made of.
pub struct Injector {
    /// The API server.
    pub client: Client,
    /// Where it is reached.
    pub place: Place,
    /// Numbers for monitoring.
    pub metrics: Arc<Metrics>,
}

impl Injector {
    /// Serves until nobody is sent here any more; the check says what is missing until it can.
    pub fn start(
        self,
        listener: TcpListener,
        tracker: &TaskTracker,
        stopping: &Stopping,
    ) -> Result<Check, rustls::Error> {
        let Self {
            client,
            place,
            metrics,
        } = self;
        let wanted = Wanted::of_service(&place.namespace, &place.service);
        let registration = Registration::new(client.clone(), place);
        let over = &stopping.over;
        let telling = certificate::keep(client.clone(), wanted, registration, tracker, over);
        let tls = listener::tls(telling.shown.clone())?;
        let host = Arc::new(listener::Webhook {
            router: router(Reviewer::new(client, Arc::clone(&metrics))),
            metrics,
        });
        let limits = listener::LIMITS;
        tracker.spawn(serve(listener, tls, limits, host, stopping.clone()));
        Ok(Arc::new(move || {
            if telling.shown.borrow().is_none() {
                return Some("the webhook has no certificate yet");
            }
            // Until then the API server refuses every pod that asks for a gateway.
            let believed = *telling.believed.borrow();
            (!believed).then_some("the API server has not been told whom to believe at the webhook")
        }))
    }
}
