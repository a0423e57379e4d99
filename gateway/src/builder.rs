//! The Gateway API layer: one chain of calls from nothing to a running gateway.
//!
//! `with_*` says what it goes by, `on_*` who wants to know, `use_*` who stands around requests and messages. Nothing
//! happens before [`GatewayBuilder::start`].

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use axum::response::IntoResponse;
use axum::routing::Route;
use tower::{Layer, Service};
use wsc_config::GatewayConfig;

use crate::app::{Gateway, Options, StartError};
use crate::protocol::Disconnect;
use crate::service::{
    Client, Doorkeeper, Event, EventFilterError, Fault, Gatekeeper, Incoming, Interceptor,
    Outbound, Rejection, Sent,
};

/// A gateway that is being put together.
#[derive(Default)]
#[must_use = "nothing happens before `start`"]
pub struct GatewayBuilder {
    config: GatewayConfig,
    options: Options,
    /// The first mistake; told by `start`, so that the chain is not interrupted.
    mistake: Option<EventFilterError>,
}

impl Gateway {
    /// Begins a gateway with the default configuration.
    pub fn builder() -> GatewayBuilder {
        GatewayBuilder::default()
    }
}

impl GatewayBuilder {
    /// Goes by this configuration.
    pub fn with_config(mut self, config: GatewayConfig) -> Self {
        self.config = config;
        self
    }

    /// Is called this among its peers; the default is a name that nobody else has.
    pub fn with_node(mut self, node: &str) -> Self {
        node.clone_into(&mut self.options.node);
        self
    }

    /// Checks tokens with this key.
    pub fn with_jwt_key(mut self, key: &str) -> Self {
        self.options.secrets.jwt_key = Some(key.to_owned());
        self
    }

    /// Asks this key of backends.
    pub fn with_api_key(mut self, key: &str) -> Self {
        self.options.secrets.api_key = Some(key.to_owned());
        self
    }

    /// Goes by this password at Redis.
    pub fn with_redis_password(mut self, password: &str) -> Self {
        self.options.secrets.redis_password = Some(password.to_owned());
        self
    }

    /// Holds sessions on so many threads; 0: one per core.
    pub fn with_shards(mut self, shards: usize) -> Self {
        self.options.shards = shards;
        self
    }

    /// Serves further pages on the WebSocket listener.
    pub fn with_pages(mut self, pages: axum::Router) -> Self {
        self.options.pages = Some(pages);
        self
    }

    /// How callbacks send once the gateway runs.
    pub fn outbound(&self) -> Outbound {
        self.options.extensions.outbound()
    }

    /// Adds a callback for clients that connect. An error refuses the session.
    pub fn on_client_connect<F, R>(mut self, callback: F) -> Self
    where
        F: Fn(Client) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Rejection>> + Send + 'static,
    {
        self.options.extensions.on_client_connect(callback);
        self
    }

    /// Adds a callback for clients that are gone, with the reason.
    pub fn on_client_disconnect<F, R>(mut self, callback: F) -> Self
    where
        F: Fn(Client, Disconnect) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Rejection>> + Send + 'static,
    {
        self.options.extensions.on_client_disconnect(callback);
        self
    }

    /// Adds a callback for clients' messages, before anything is done with them. An error refuses the message.
    pub fn on_message_received<F, R>(mut self, callback: F) -> Self
    where
        F: Fn(Client, Arc<Incoming>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Rejection>> + Send + 'static,
    {
        self.options.extensions.on_message_received(callback);
        self
    }

    /// Adds a callback for clients' messages that were accepted.
    pub fn on_message_sent<F, R>(mut self, callback: F) -> Self
    where
        F: Fn(Sent) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Rejection>> + Send + 'static,
    {
        self.options.extensions.on_message_sent(callback);
        self
    }

    /// Adds a callback for what goes wrong.
    pub fn on_error<F, R>(mut self, callback: F) -> Self
    where
        F: Fn(Fault) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Rejection>> + Send + 'static,
    {
        self.options.extensions.on_error(callback);
        self
    }

    /// Adds a handler for events of this name, of a family (`client.*`) or of all (`*`).
    pub fn on_event<F, R>(mut self, name: &str, handler: F) -> Self
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        if let Err(mistake) = self.options.extensions.on_event(name, handler) {
            self.mistake.get_or_insert(mistake);
        }
        self
    }

    /// Adds a layer around each message.
    pub fn use_interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.options.extensions.use_interceptor(interceptor);
        self
    }

    /// Adds someone who decides about clients that connect, and may note attributes about them.
    pub fn use_gatekeeper(mut self, gatekeeper: impl Gatekeeper) -> Self {
        self.options.extensions.use_gatekeeper(gatekeeper);
        self
    }

    /// Adds someone who decides about clients that want to join groups of which their tokens say nothing.
    pub fn use_doorkeeper(mut self, doorkeeper: impl Doorkeeper) -> Self {
        self.options.extensions.use_doorkeeper(doorkeeper);
        self
    }

    /// Adds a tower layer around the request that begins a session: an upgrade, an event stream, a call of
    /// `wsc.v1.Sessions/Open`; and around what clients of event streams post. The first added is the outermost.
    pub fn use_middleware<L>(mut self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request<Body>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<Body>>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request<Body>>>::Error: Into<std::convert::Infallible> + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
    {
        self.options.extensions.use_middleware(layer);
        self
    }

    /// Serves on every port, or fails and leaves nothing behind. Must be called on a multi-threaded tokio runtime.
    pub async fn start(mut self) -> Result<Arc<Gateway>, StartError> {
        if let Some(mistake) = self.mistake {
            return Err(mistake.into());
        }
        if self.options.node.is_empty() {
            self.options.node = format!("wsc-{}", uuid::Uuid::new_v4().simple());
        }
        // A start is large and happens once: it does not have to lie on its caller's stack.
        Box::pin(Gateway::start(self.config, self.options)).await
    }

    /// Starts, serves until `end` resolves (or somebody asks for a drain on the admin port), and leaves.
    pub async fn run<T>(self, end: impl Future<Output = T>) -> Result<(), StartError> {
        let gateway = self.start().await?;
        tokio::select! {
            _ = end => {}
            () = gateway.drain_requested() => {}
        }
        gateway.drain().await;
        Ok(())
    }
}
