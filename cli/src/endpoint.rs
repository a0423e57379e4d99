//! `Endpoint`: a place to speak to, and the way there, in the clear or by TLS. HTTP and WebSocket both come through here.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::Failure;

/// How long a connection may take to be there, TLS included.
const CONNECT: Duration = Duration::from_secs(5);

/// A socket, whatever is around it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A place to speak to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    tls: bool,
    host: String,
    port: u16,
    /// Without a slash at its end.
    path: String,
    /// What is spoken, as TLS names it (RFC 7301).
    protocol: &'static str,
    ca_file: Option<PathBuf>,
}

/// Which schemes an address may have.
#[derive(Clone, Copy)]
pub(crate) enum Scheme {
    /// `http` or `https`.
    Http,
    /// `ws` or `wss`.
    WebSocket,
    /// `http` or `https`, over HTTP/2.
    Grpc,
}

impl Endpoint {
    /// Reads an address.
    pub(crate) fn parse(
        text: &str,
        scheme: Scheme,
        ca_file: Option<&Path>,
    ) -> Result<Self, Failure> {
        let (plain, sealed, protocol) = match scheme {
            Scheme::Http => ("http", "https", "http/1.1"),
            Scheme::WebSocket => ("ws", "wss", "http/1.1"),
            Scheme::Grpc => ("http", "https", "h2"),
        };
        let wrong = || {
            let text = crate::output::printable(text);
            Failure::Usage(format!(
                "`{text}` is not an address such as {plain}://host:port or {sealed}://host:port"
            ))
        };
        let uri = Uri::from_str(text).map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some(found) if found == plain => false,
            Some(found) if found == sealed => true,
            Some(_) | None => return Err(wrong()),
        };
        let host = uri.host().ok_or_else(wrong)?;
        let authority = uri.authority().map(hyper::http::uri::Authority::as_str);
        if uri.query().is_some() || authority.is_some_and(|text| text.contains('@')) {
            return Err(Failure::Usage(format!(
                "an address has no query and no password: they would show in logs ({plain}://host:port)"
            )));
        }
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: uri.path().trim_end_matches('/').to_owned(),
            ca_file: ca_file.map(Path::to_owned),
            protocol,
        })
    }

    /// What the header `Host` says.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The path, before what is asked for.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether the way is by TLS.
    pub(crate) const fn is_tls(&self) -> bool {
        self.tls
    }

    /// Goes there.
    pub(crate) async fn connect(&self) -> Result<Box<dyn Stream>, Failure> {
        match timeout(CONNECT, self.dial()).await {
            Ok(done) => done,
            Err(_) => Err(self.unreachable("no answer in time")),
        }
    }

    /// The failure of a place that did not answer.
    pub(crate) fn unreachable(&self, why: impl std::fmt::Display) -> Failure {
        Failure::Unreachable(format!("{}: {why}", self.authority()))
    }

    async fn dial(&self) -> Result<Box<dyn Stream>, Failure> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let socket = TcpStream::connect((host, self.port)).await;
        let socket = socket.map_err(|error| self.unreachable(error))?;
        let _ = socket.set_nodelay(true);
        if !self.tls {
            return Ok(Box::new(socket));
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| Failure::Usage(format!("{host}: {error}")))?;
        let connector = TlsConnector::from(Arc::new(self.tls_config()?));
        let socket = connector.connect(name, socket).await;
        Ok(Box::new(socket.map_err(|error| {
            self.unreachable(format!("TLS: {error}"))
        })?))
    }

    fn tls_config(&self) -> Result<ClientConfig, Failure> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::failed(format!("TLS: {error}")))?;
        let mut config = builder
            .with_root_certificates(self.roots()?)
            .with_no_client_auth();
        config.alpn_protocols = vec![self.protocol.as_bytes().to_vec()];
        Ok(config)
    }

    /// The certificates of `--ca-file` alone, else those of this machine.
    fn roots(&self) -> Result<RootCertStore, Failure> {
        let mut roots = RootCertStore::empty();
        let Some(file) = &self.ca_file else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return Ok(roots);
        };
        let wrong = |why: String| Failure::Usage(format!("--ca-file {}: {why}", file.display()));
        let found =
            CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
        for certificate in found {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            let added = roots.add(certificate);
            added.map_err(|error| wrong(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("holds no certificate".to_owned()));
        }
        Ok(roots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(text: &str) -> Result<Endpoint, Failure> {
        Endpoint::parse(text, Scheme::Http, None)
    }

    #[test]
    fn an_address_has_a_scheme_a_host_and_perhaps_a_port_and_a_path() {
        let endpoint = http("https://gw.example/base/").unwrap();
        assert_eq!(
            (
                endpoint.authority().as_str(),
                endpoint.path(),
                endpoint.is_tls()
            ),
            ("gw.example:443", "/base", true)
        );
        assert_eq!(http("http://[::1]:8080").unwrap().authority(), "[::1]:8080");
        for wrong in [
            "",
            "localhost:8080",
            "ws://a",
            "http://",
            "http://u:p@a",
            "http://a/?k=v",
        ] {
            let refused = http(wrong).unwrap_err();
            assert_eq!(refused.exit_code(), 2, "{wrong}");
            assert!(!refused.to_string().contains("u:p"), "{refused}");
        }
    }
}
