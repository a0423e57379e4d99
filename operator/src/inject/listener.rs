//! The webhook's way in: HTTP/1.1, which is all that the API server needs, and the same caps and deadlines as for the
//! metrics API.
//!
//! Whoever reaches it may ask: it answers what would be injected, which is no secret in itself, and changes nothing. The
//! API server shows webhooks no certificate unless its administrator configures one, so it has no places of its own; no
//! address gets more than a part of them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use crate::certificate::Current;
use crate::listener::{self, Host, Limits, Visitor};
use crate::metrics::Metrics;

/// An API server has a connection for each review that it waits for; all of one behind a proxy come from one address.
pub(super) const LIMITS: Limits = Limits {
    strangers: 128,
    of_one_address: 64,
    known: 0,
    visit: Duration::from_mins(5),
};

/// What the listener shows.
pub(super) fn tls(shown: Current) -> Result<TlsAcceptor, rustls::Error> {
    let nothing_asked = WebPkiClientVerifier::no_client_auth();
    listener::tls(shown, &[b"http/1.1"], nothing_asked)
}

/// The webhook's routes, for whoever comes in.
pub(super) struct Webhook {
    pub(super) router: Router,
    pub(super) metrics: Arc<Metrics>,
}

impl Host for Webhook {
    const NAME: &'static str = "webhook";
    type Answer = Body;

    fn knows(&self, _: &[CertificateDer<'_>]) -> bool {
        false
    }

    fn turned_away(&self) {
        self.metrics.injector_turned_away();
    }

    async fn answer(&self, visitor: Visitor, mut request: Request<Incoming>) -> Response<Body> {
        request.extensions_mut().insert(visitor);
        let router = TowerToHyperService::new(self.router.clone());
        let Ok(response) = router.call(request).await;
        response
    }
}
