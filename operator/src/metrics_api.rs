//! `external.metrics.k8s.io/v1beta1`: what a `HorizontalPodAutoscaler` asks how many connections a gateway has.
//!
//! The API server passes requests on to here (an `APIService`, aggregation); so whoever connects must show its front
//! proxy's certificate, may then say for whom it asks, and a `SubjectAccessReview` decides. Every replica answers, from its
//! own census: there is nobody to wait for when one dies. A number that is not known is refused, never made up. Health is
//! all that a stranger sees. Started by `run` where the chart asks for it; writes the certificate's Secret and the
//! `caBundle` of the `APIService`, nothing else.

mod answer;
mod authorizer;
mod caller;
mod front_proxy;
mod listener;
mod question;
mod refusal;
mod registration;
mod selector;
mod server;

use std::sync::Arc;

use kube::Client;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use self::authorizer::Authorizer;
use self::registration::Registration;
use self::server::Server;
use crate::admin::Check;
use crate::certificate::{self, Telling, Wanted};
use crate::counting::Counting;
use crate::listener::serve;
use crate::metrics::Metrics;
use crate::stopping::Stopping;

/// The API group.
pub const GROUP: &str = "external.metrics.k8s.io";

/// Its version.
pub const VERSION: &str = "v1beta1";

/// What registers it with the API server.
pub const API_SERVICE: &str = "v1beta1.external.metrics.k8s.io";

/// Namespace and name of the `ConfigMap` in which the API server says by what its front proxy is known.
pub const FRONT_PROXY: (&str, &str) = ("kube-system", "extension-apiserver-authentication");

/// The metric: how many connections a gateway has, on all its pods together.
pub const CONNECTIONS: &str = "wsc_gateway_connections";

/// How the API is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The operator's namespace.
    pub namespace: String,
    /// The Service that the `APIService` names; the Secret of the certificate is called the same.
    pub service: String,
}

/// What the API is made of.
pub struct MetricsApi {
    /// The API server.
    pub client: Client,
    /// Where it is reached.
    pub place: Place,
    /// Where numbers come from.
    pub counting: Vec<Counting>,
    /// Numbers for monitoring.
    pub metrics: Arc<Metrics>,
}

impl MetricsApi {
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
            counting,
            metrics,
        } = self;
        let wanted = Wanted::of_service(&place.namespace, &place.service);
        let (front_proxy, believed) = front_proxy::Keeper::new(client.clone());
        let registration = Registration::new(client.clone(), place);
        let over = &stopping.over;
        let telling = certificate::keep(client.clone(), wanted, registration, tracker, over);
        let tls = listener::tls(telling.shown.clone())?;
        let check = missing(telling, believed.clone(), counting.clone());
        let server = Server {
            front_proxy: believed,
            authorizer: Authorizer::new(client),
            counting,
            metrics,
        };
        tracker.spawn(front_proxy.run(over.clone()));
        let (limits, host) = (listener::LIMITS, Arc::new(server));
        tracker.spawn(serve(listener, tls, limits, host, stopping.clone()));
        Ok(check)
    }
}

/// Why a replica cannot answer yet.
fn missing(telling: Telling, believed: front_proxy::Current, counting: Vec<Counting>) -> Check {
    Arc::new(move || {
        if telling.shown.borrow().is_none() {
            return Some("the metrics API has no certificate yet");
        }
        if !*telling.believed.borrow() {
            return Some("the API server has not been told whom to believe at the metrics API");
        }
        if believed.borrow().is_none() {
            return Some("the metrics API does not know the API server's front proxy");
        }
        let uncounted = counting.iter().any(|part| !part.census.has_counted());
        uncounted.then_some("gateways have not been asked how many connections they have")
    })
}
