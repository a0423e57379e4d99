//! The metrics API's way in: per connection HTTP/1.1 or HTTP/2 by what was agreed on in the handshake.
//!
//! Any client certificate passes the handshake, which only shows that its holder has the key: whether it is the front
//! proxy's is judged at each request, so that a refusal is a Status and not a broken connection, and a replaced authority
//! counts at once. The front proxy has places of its own; strangers have few seconds and few places each, so that they
//! cannot keep the API server out.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::refusal::Refusal;
use super::server::Server;
use crate::certificate::Current;
use crate::listener::{self, Host, Limits, Visitor};

/// An API server has a handful of connections, and is a stranger until its handshake is done.
pub(super) const LIMITS: Limits = Limits {
    strangers: 64,
    of_one_address: 32,
    known: 64,
    visit: Duration::from_secs(10),
};

/// How long an answer may take: the review of the access has ten seconds of it.
const ANSWER: Duration = Duration::from_secs(15);

/// What the listener shows and asks for.
pub(super) fn tls(shown: Current) -> Result<TlsAcceptor, rustls::Error> {
    let holder = Holder::new(&rustls::crypto::ring::default_provider());
    listener::tls(shown, &[b"h2", b"http/1.1"], Arc::new(holder))
}

impl Host for Server {
    const NAME: &'static str = "metrics API";
    type Answer = Full<Bytes>;

    fn knows(&self, chain: &[CertificateDer<'_>]) -> bool {
        self.knows(chain).is_ok()
    }

    fn turned_away(&self) {
        self.metrics.metrics_api_turned_away();
    }

    async fn answer(&self, visitor: Visitor, request: Request<Incoming>) -> Response<Full<Bytes>> {
        // No question has a body.
        let (parts, _) = request.into_parts();
        let answered = timeout(ANSWER, self.respond(&parts, &visitor.chain)).await;
        answered.unwrap_or_else(|_| self.refuse(&Refusal::Late))
    }
}

/// Takes any certificate whose key the client holds, and none; see the module.
#[derive(Debug)]
struct Holder(WebPkiSupportedAlgorithms);

impl Holder {
    fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ClientCertVerifier for Holder {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
