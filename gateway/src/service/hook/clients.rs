//! `HookClients`: what hooks are connected to by: connections that hooks share, and how a hook's certificate is judged: by
//! the machine's authorities or those of its own, and nobody beside them.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::plan::{HookPlan, HookPlanError};
use crate::tls::{AuthorityError, client_config};

pub(super) type Connector = HttpsConnector<HttpConnector>;
pub(super) type HttpClient = Client<Connector, Full<Bytes>>;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(in crate::service) struct HookClients(Arc<OnceLock<HttpClient>>);

/// Which protocol is spoken over the connection.
#[derive(Clone, Copy)]
enum Protocol {
    Http1,
    Http2,
}

impl HookClients {
    /// The client for HTTP/1.1. It follows no redirects and goes through no proxy. A hook with a word of its own about
    /// certificates shares it with nobody.
    pub(super) fn http(&self, plan: &HookPlan) -> Result<HttpClient, HookPlanError> {
        if plan.ca().is_some() || plan.server_name().is_some() {
            return client(plan);
        }
        if let Some(client) = self.0.get() {
            return Ok(client.clone());
        }
        let client = client(plan)?;
        Ok(self.0.get_or_init(|| client).clone())
    }

    /// What gRPC connects by.
    pub(super) fn grpc(plan: &HookPlan) -> Result<Connector, HookPlanError> {
        connector(plan, Protocol::Http2)
    }
}

fn client(plan: &HookPlan) -> Result<HttpClient, HookPlanError> {
    let connector = connector(plan, Protocol::Http1)?;
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

fn connector(plan: &HookPlan, protocol: Protocol) -> Result<Connector, HookPlanError> {
    let tls = tls(plan.ca()).map_err(|why| plan.no_tls(&why))?;
    let mut builder = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http();
    if let Some(name) = plan.server_name() {
        let name = ServerName::try_from(name.to_owned()).map_err(|why| plan.no_tls(&why))?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    Ok(match protocol {
        Protocol::Http1 => builder.enable_http1().build(),
        Protocol::Http2 => builder.enable_http2().build(),
    })
}

fn tls(ca: Option<&str>) -> Result<ClientConfig, String> {
    client_config(ca).map_err(|why| match why {
        AuthorityError::Empty => "caSecretRef: there is no certificate in PEM form".to_owned(),
        AuthorityError::Pem(_) | AuthorityError::Tls(_) => why.to_string(),
    })
}
