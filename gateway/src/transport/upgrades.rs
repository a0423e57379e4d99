//! `Upgrades`: what answers the requests of the listener for clients.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use super::refusal::Refused;
use super::upgrade::{self, UpgradeState, upgrade_router};
use crate::admission::Attempt;
use crate::service::MiddlewareStack;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Upgrades {
    router: Router,
    direct: Option<Direct>,
}

/// The one route that a storm of clients asks for. Around it nobody has put anything, so it needs no router: what axum's
/// layers allocate for a request is a fifth of all that a handshake does.
#[derive(Clone)]
struct Direct {
    path: Arc<str>,
    state: Arc<UpgradeState>,
}

impl Upgrades {
    /// The routes of sessions with the application's layers around them, and its own pages beside them.
    pub fn new(state: UpgradeState, middleware: &MiddlewareStack, pages: Option<Router>) -> Self {
        let state = Arc::new(state);
        let direct = middleware.is_empty().then(|| Direct {
            path: state.settings.load().path.as_str().into(),
            state: Arc::clone(&state),
        });
        let router = middleware.around(upgrade_router(state));
        Self {
            router: pages.into_iter().fold(router, Router::merge),
            direct,
        }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response {
        if let Some(direct) = &self.direct
            && request.method() == Method::GET
            && request.uri().path() == &*direct.path
        {
            return direct.answer(&request).await;
        }
        let Ok(response) = self.router.clone().oneshot(request.map(Body::new)).await;
        response
    }
}

impl Direct {
    async fn answer(&self, request: &Request<Incoming>) -> Response {
        let (uri, headers) = (request.uri(), request.headers());
        let admission = &self.state.admission;
        match admission.judge(request.extensions(), headers, Attempt::Token) {
            Ok(address) => upgrade::answer(&self.state, address, uri, headers).await,
            Err(turned) => Refused::from(turned).into_response(),
        }
    }
}

impl std::fmt::Debug for Direct {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Direct")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
