//! The listener: TLS, and per connection HTTP/1.1 or HTTP/2 by what was agreed on in the handshake.
//!
//! Any client certificate passes the handshake, which only shows that its holder has the key: whether it is the front
//! proxy's is judged at each request, so that a refusal is a Status and not a broken connection, and a replaced authority
//! counts at once. Connections are bounded. Strangers have places of their own and few seconds, so that they cannot keep
//! the API server out for long.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, rt};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::refusal::Refusal;
use super::server::Server;
use crate::certificate::{Current, Shown};

/// How long a handshake may take, a request's head, and a stranger's whole visit.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long an answer may take: the review of the access has ten seconds of it.
const ANSWER: Duration = Duration::from_secs(15);

/// How often a silent connection of HTTP/2 is asked whether it lives.
const ALIVE: Duration = Duration::from_secs(30);

/// How long connections may take to end when the operator stops.
const GOODBYE: Duration = Duration::from_secs(5);

/// After a failure to accept, such as too many open files.
const BREATH: Duration = Duration::from_millis(100);

/// How many strangers there may be at a time; further connections are closed and counted.
const STRANGERS: usize = 64;

/// How many connections of the front proxy; an API server has a handful.
const PROXIES: usize = 64;

/// How many requests of one connection are answered at a time; Go's client begins with a hundred before it was told.
const STREAMS: u32 = 256;

/// What the listener shows and asks for.
pub(super) fn tls(shown: Current) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(Holder::new(&provider)))
        .with_cert_resolver(Arc::new(Shown(shown)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Accepts until the token says stop, then lets connections end.
pub(super) async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    server: Arc<Server>,
    token: CancellationToken,
) {
    let tracker = TaskTracker::new();
    let doors = Arc::new(Doors::default());
    loop {
        let accepted = tokio::select! {
            () = token.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                warn!(%error, "a connection to the metrics API was not accepted");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let visit = Visit {
            tls: tls.clone(),
            server: Arc::clone(&server),
            doors: Arc::clone(&doors),
            token: token.clone(),
            tracker: tracker.clone(),
        };
        tracker.spawn(visit.run(socket));
    }
    tracker.close();
    if timeout(GOODBYE, tracker.wait()).await.is_err() {
        debug!("connections to the metrics API were cut off");
    }
}

/// Who may come in.
struct Doors {
    strangers: Semaphore,
    proxies: Semaphore,
}

impl Default for Doors {
    fn default() -> Self {
        Self {
            strangers: Semaphore::new(STRANGERS),
            proxies: Semaphore::new(PROXIES),
        }
    }
}

/// One connection.
struct Visit {
    tls: TlsAcceptor,
    server: Arc<Server>,
    doors: Arc<Doors>,
    token: CancellationToken,
    tracker: TaskTracker,
}

impl Visit {
    async fn run(self, socket: TcpStream) {
        let doors = Arc::clone(&self.doors);
        let Ok(place) = doors.strangers.try_acquire() else {
            self.server.metrics.metrics_api_turned_away();
            return;
        };
        let stream = match timeout(PATIENCE, self.tls.accept(socket)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!(%error, "a handshake with the metrics API failed"),
            Err(_) => return debug!("a handshake with the metrics API took too long"),
        };
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        if self.server.knows(shown).is_err() {
            let _ = timeout(PATIENCE, self.serve(stream)).await;
            return;
        }
        let Ok(_place) = doors.proxies.try_acquire() else {
            self.server.metrics.metrics_api_turned_away();
            return;
        };
        drop(place);
        self.serve(stream).await;
    }

    async fn serve(&self, stream: TlsStream<TcpStream>) {
        let (_, session) = stream.get_ref();
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        let shown = session.peer_certificates().unwrap_or_default();
        let chain: Arc<[CertificateDer<'static>]> = shown.to_vec().into();
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, chain) = (Arc::clone(&self.server), Arc::clone(&chain));
            async move {
                let (parts, _) = request.into_parts();
                let answered = timeout(ANSWER, server.respond(&parts, &chain)).await;
                Ok::<_, std::convert::Infallible>(
                    answered.unwrap_or_else(|_| server.refuse(&Refusal::Late)),
                )
            }
        });
        let io = TokioIo::new(stream);
        let ended = if is_http2 {
            let tracked = Tracked(self.tracker.clone());
            let connection = http2::Builder::new(tracked)
                .timer(TokioTimer::new())
                .keep_alive_interval(ALIVE)
                .keep_alive_timeout(PATIENCE)
                .max_concurrent_streams(STREAMS)
                .serve_connection(io, service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = self.token.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        } else {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(io, service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = self.token.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        };
        if let Err(error) = ended {
            debug!(%error, "a connection to the metrics API ended");
        }
    }
}

/// Runs what HTTP/2 does beside on the tracker.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> rt::Executor<F> for Tracked
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, work: F) {
        self.0.spawn(work);
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
