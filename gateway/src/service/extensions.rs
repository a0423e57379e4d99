//! `Extensions`: what an application registers before the start. Taken by the gateway as a whole, never changed after.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::IntoResponse;
use axum::routing::Route;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tower::{Layer, Service};

use super::callbacks::Chain;
use super::{
    Client, Doorkeeper, Event, EventFilter, EventFilterError, Fault, Gatekeeper, Incoming,
    Interceptor, Outbound, Rejection, Sent,
};
use crate::protocol::Disconnect;

type OnEvent = Arc<dyn Fn(Event) -> BoxFuture<'static, ()> + Send + Sync>;
type Middleware = Arc<dyn Fn(Router) -> Router + Send + Sync>;

/// Everything an application has registered.
#[derive(Default)]
pub struct Extensions {
    pub(super) connected: Chain<Client, Rejection>,
    pub(super) received: Chain<(Client, Arc<Incoming>), Rejection>,
    pub(super) disconnected: Chain<(Client, Disconnect), Rejection>,
    pub(super) sent: Chain<Sent, Rejection>,
    pub(super) faults: Chain<Fault, Rejection>,
    interceptors: Vec<Arc<dyn Interceptor>>,
    pub(super) events: Vec<(EventFilter, String, OnEvent)>,
    gatekeepers: Vec<Arc<dyn Gatekeeper>>,
    doorkeepers: Vec<Arc<dyn Doorkeeper>>,
    middleware: MiddlewareStack,
    outbound: Outbound,
}

impl std::fmt::Debug for Extensions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.interceptors.iter().map(|one| one.name()).collect();
        let events: Vec<&String> = self.events.iter().map(|(_, name, _)| name).collect();
        out.debug_struct("Extensions")
            .field("interceptors", &names)
            .field("events", &events)
            .field("middleware", &self.middleware.0.len())
            .finish_non_exhaustive()
    }
}

impl Extensions {
    /// Adds a callback for clients that connect. An error refuses the session.
    pub fn on_client_connect<F, R>(&mut self, callback: F)
    where
        F: Fn(Client) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Rejection>> + Send + 'static,
    {
        self.connected.push(callback);
    }

    /// Adds a callback for clients that are gone, with the reason.
    pub fn on_client_disconnect<F, R>(&mut self, callback: F)
    where
        F: Fn(Client, Disconnect) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Rejection>> + Send + 'static,
    {
        self.disconnected
            .push(move |(client, why)| callback(client, why));
    }

    /// Adds a callback for messages that came from clients, before anything is done with them. An error refuses the
    /// message with an error frame.
    pub fn on_message_received<F, R>(&mut self, callback: F)
    where
        F: Fn(Client, Arc<Incoming>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Rejection>> + Send + 'static,
    {
        self.received
            .push(move |(client, message)| callback(client, message));
    }

    /// Adds a callback for clients' messages that were accepted: stored, or handed to whoever is there.
    pub fn on_message_sent<F, R>(&mut self, callback: F)
    where
        F: Fn(Sent) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Rejection>> + Send + 'static,
    {
        self.sent.push(callback);
    }

    /// Adds a callback for what goes wrong.
    pub fn on_error<F, R>(&mut self, callback: F)
    where
        F: Fn(Fault) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Rejection>> + Send + 'static,
    {
        self.faults.push(callback);
    }

    /// Adds a handler for events of this name, of a family (`client.*`) or of all (`*`).
    pub fn on_event<F, R>(&mut self, name: &str, handler: F) -> Result<(), EventFilterError>
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let filter = EventFilter::parse(name)?;
        let handler: OnEvent = Arc::new(move |event| handler(event).boxed());
        self.events.push((filter, name.to_owned(), handler));
        Ok(())
    }

    /// Adds a layer around each message.
    pub fn use_interceptor(&mut self, interceptor: impl Interceptor) {
        self.use_shared_interceptor(Arc::new(interceptor));
    }

    /// Adds a layer around each message that somebody else holds too.
    pub fn use_shared_interceptor(&mut self, interceptor: Arc<dyn Interceptor>) {
        self.interceptors.push(interceptor);
    }

    /// Adds someone who decides about clients that connect.
    pub fn use_gatekeeper(&mut self, gatekeeper: impl Gatekeeper) {
        self.use_shared_gatekeeper(Arc::new(gatekeeper));
    }

    /// Adds a gatekeeper that somebody else holds too.
    pub fn use_shared_gatekeeper(&mut self, gatekeeper: Arc<dyn Gatekeeper>) {
        self.gatekeepers.push(gatekeeper);
    }

    /// Adds someone who decides about clients that want to join groups.
    pub fn use_doorkeeper(&mut self, doorkeeper: impl Doorkeeper) {
        self.use_shared_doorkeeper(Arc::new(doorkeeper));
    }

    /// Adds a doorkeeper that somebody else holds too.
    pub fn use_shared_doorkeeper(&mut self, doorkeeper: Arc<dyn Doorkeeper>) {
        self.doorkeepers.push(doorkeeper);
    }

    /// How extensions send once the gateway runs.
    pub fn outbound(&self) -> Outbound {
        self.outbound.clone()
    }

    /// Adds a tower layer around the request that begins a session: an upgrade, an event stream, a call of
    /// `wsc.v1.Sessions/Open`; and around what clients of event streams post. The first added is the outermost.
    pub fn use_middleware<L>(&mut self, layer: L)
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request<Body>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<Body>>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request<Body>>>::Error: Into<std::convert::Infallible> + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
    {
        self.middleware
            .0
            .push(Arc::new(move |router| router.layer(layer.clone())));
    }

    /// The interceptors, outermost first.
    pub(super) fn interceptors(&self) -> Vec<Arc<dyn Interceptor>> {
        let mut all = self.interceptors.clone();
        // Stable: equal ones stay as they were registered.
        all.sort_by_key(|one| one.order());
        all
    }

    /// The gatekeepers, in the order they are asked.
    pub(super) fn gatekeepers(&self) -> Vec<Arc<dyn Gatekeeper>> {
        let mut all = self.gatekeepers.clone();
        all.sort_by_key(|one| one.order());
        all
    }

    /// The doorkeepers, in the order they are asked.
    pub(super) fn doorkeepers(&self) -> Vec<Arc<dyn Doorkeeper>> {
        let mut all = self.doorkeepers.clone();
        all.sort_by_key(|one| one.order());
        all
    }

    /// The middleware, to be put around the routes.
    pub fn middleware(&self) -> MiddlewareStack {
        self.middleware.clone()
    }
}

/// Tower layers around the requests that begin sessions, outermost first.
#[derive(Clone, Default)]
pub struct MiddlewareStack(Vec<Middleware>);

impl MiddlewareStack {
    /// Whether there are no layers.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The routes of sessions with the layers around them.
    pub fn around(&self, router: Router) -> Router {
        // A layer added later stands further out, so the first comes last.
        self.0
            .iter()
            .rev()
            .fold(router, |router, layer| layer(router))
    }
}
