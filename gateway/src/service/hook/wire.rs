//! `Wire`: how a hook is spoken to, and everything that can go wrong with it. Deadlines and repetitions are the caller's.

use std::sync::{Arc, OnceLock};

use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use wsc_config::HookTransport;

use super::ask::{Ask, Reply};
use super::grpc::GrpcWire;
use super::http::HttpWire;
use super::plan::{HookPlan, HookPlanError};
use crate::service::Event;

/// The longest answer: a message's content may be part of it.
pub(super) const MAX_ANSWER: usize = 1024 * 1024;

/// Why a hook did not decide or take an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HookError {
    /// It is taken to be down.
    #[error("the circuit is open")]
    Open,
    /// It took too long.
    #[error("no answer within the deadline")]
    Deadline,
    /// There was no answer.
    #[error("not reachable: {0}")]
    Unreachable(String),
    /// It answered with an error.
    #[error("answered with status {0}")]
    Status(u16),
    /// Its answer means nothing.
    #[error("the answer cannot be used: {0}")]
    Unreadable(String),
}

impl HookError {
    /// Whether it is the target that is down.
    pub(super) const fn is_down(&self) -> bool {
        match self {
            Self::Deadline | Self::Unreachable(_) => true,
            Self::Status(status) => *status >= 500,
            Self::Open | Self::Unreadable(_) => false,
        }
    }

    /// Whether another attempt at once may end better.
    pub(super) const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Status(status) => *status >= 500 || *status == 429,
            Self::Open | Self::Deadline | Self::Unreadable(_) => false,
        }
    }

    /// Whether events are to be tried again.
    pub(super) const fn is_worth_repeating(&self) -> bool {
        match self {
            Self::Open | Self::Deadline => true,
            Self::Unreachable(_) | Self::Status(_) | Self::Unreadable(_) => self.is_passing(),
        }
    }
}

pub(super) type Connector = HttpsConnector<HttpConnector>;
pub(super) type HttpClient = Client<Connector, Full<bytes::Bytes>>;

/// What hooks of a process share: connections, and the authorities that certificates are judged by.
#[derive(Clone, Debug, Default)]
pub(in crate::service) struct HookClients(Arc<OnceLock<HttpClient>>);

impl HookClients {
    /// The client for HTTP/1.1. It follows no redirects and goes through no proxy.
    pub(super) fn http(&self) -> Result<HttpClient, rustls::Error> {
        if let Some(client) = self.0.get() {
            return Ok(client.clone());
        }
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls()?);
        let connector = connector.https_or_http().enable_http1().build();
        let make = || Client::builder(TokioExecutor::new()).build(connector);
        Ok(self.0.get_or_init(make).clone())
    }

    /// What gRPC connects by.
    pub(super) fn grpc() -> Result<Connector, rustls::Error> {
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls()?);
        Ok(connector.https_or_http().enable_http2().build())
    }
}

/// Certificates are judged by the machine's authorities.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    Ok(config
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// See the module.
pub(super) enum Wire {
    Http(Box<HttpWire>),
    Grpc(Box<GrpcWire>),
}

impl Wire {
    pub(super) fn new(plan: &HookPlan, clients: &HookClients) -> Result<Self, HookPlanError> {
        match plan.config().transport {
            HookTransport::Http => {
                let wire = HttpWire::new(plan, clients)?;
                Ok(Self::Http(Box::new(wire)))
            }
            HookTransport::Grpc => {
                let wire = GrpcWire::new(plan)?;
                Ok(Self::Grpc(Box::new(wire)))
            }
        }
    }

    pub(super) async fn ask(&self, ask: &Ask) -> Result<Reply, HookError> {
        match self {
            Self::Http(wire) => wire.ask(ask).await,
            Self::Grpc(wire) => wire.ask(ask).await,
        }
    }

    pub(super) async fn tell(&self, events: &[Event]) -> Result<(), HookError> {
        match self {
            Self::Http(wire) => wire.tell(events).await,
            Self::Grpc(wire) => wire.tell(events).await,
        }
    }
}
