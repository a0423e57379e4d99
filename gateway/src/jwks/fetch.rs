//! `Source`: one address, and one GET of it: no redirects, no more than [`MAX_BYTES`], a connection for each.

use std::sync::Arc;

use axum::http::header::{ACCEPT, HOST, USER_AGENT};
use axum::http::{Request, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls::client_config;

/// The longest document that is read.
const MAX_BYTES: usize = 256 * 1024;

/// Why a document was not got. Where it is stands beside it.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address cannot be one.
    #[error("wsc.security.jwt.jwks.url: `{0}` is no address")]
    Address(String),
    /// The certificates to judge by cannot be read.
    #[error("jwt-jwks-ca: {0}")]
    Authority(String),
    /// No connection, or no TLS.
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    /// What came is no answer.
    #[error("no HTTP answer")]
    Http(#[source] hyper::Error),
    /// Another answer than 200.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// The document is too long, or broke off.
    #[error("the answer is longer than {MAX_BYTES} bytes, or broke off")]
    Body,
}

/// See the module.
pub(super) struct Source {
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Source {
    pub(super) fn new(url: &str, ca: Option<&str>) -> Result<Self, FetchError> {
        let wrong = || FetchError::Address(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let host = uri.host().ok_or_else(wrong)?;
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let secure = uri.scheme_str() == Some("https");
        let tls = if secure {
            let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
            Some((connector(ca)?, name))
        } else {
            None
        };
        Ok(Self {
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            uri,
            host,
            tls,
        })
    }

    /// Gets the document. The caller sets the deadline.
    pub(super) async fn get(&self) -> Result<Bytes, FetchError> {
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await;
        let socket = socket.map_err(FetchError::Connect)?;
        match &self.tls {
            None => self.ask(socket).await,
            Some((connector, name)) => {
                let socket = connector.connect(name.clone(), socket).await;
                self.ask(socket.map_err(FetchError::Connect)?).await
            }
        }
    }

    async fn ask<S>(&self, socket: S) -> Result<Bytes, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let io = TokioIo::new(socket);
        let (mut sender, connection) = http1::handshake(io).await.map_err(FetchError::Http)?;
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let host = self.uri.authority().map_or("", |host| host.as_str());
        let request = Request::get(path)
            .header(HOST, host)
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .header(
                USER_AGENT,
                concat!("wsc-gateway/", env!("CARGO_PKG_VERSION")),
            )
            .body(Empty::<Bytes>::new());
        let request = request.map_err(|_| FetchError::Address(self.uri.to_string()))?;
        let exchange = async {
            let answer = sender.send_request(request).await;
            let answer = answer.map_err(FetchError::Http)?;
            if answer.status() != StatusCode::OK {
                return Err(FetchError::Status(answer.status()));
            }
            let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
            Ok(body.map_err(|_| FetchError::Body)?.to_bytes())
        };
        // The connection turns in this very task, so that nothing of it outlives the answer.
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            answer = exchange.as_mut() => answer,
            ended = connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(FetchError::Http(error)),
            },
        }
    }
}

fn connector(ca: Option<&str>) -> Result<TlsConnector, FetchError> {
    let config = client_config(ca).map_err(|why| FetchError::Authority(why.to_string()))?;
    Ok(TlsConnector::from(Arc::new(config)))
}
