//! What the API server calls comes in here: one accept loop, with TLS, places and deadlines, for the webhook and for the
//! metrics API. What is answered is the business of a [`Host`].
//!
//! Anybody who reaches the Service may dial. So connections are bounded, in all and of one address, and who is one too
//! many is closed at once and counted; a handshake, the head of a request and a stranger's whole visit have deadlines. A
//! body's deadline is the host's, who knows whether it reads one.

mod places;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, rt};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::certificate::{Current, Shown};
use crate::stopping::Stopping;

pub(crate) use places::{Place, Places};

/// How long a handshake may take, and the head of a request, on a connection that is kept as well.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a silent connection of HTTP/2 is asked whether it lives.
const ALIVE: Duration = Duration::from_secs(30);

/// How long what is being answered may take when a connection is to end.
const GOODBYE: Duration = Duration::from_secs(5);

/// After a failure to accept, such as too many open files.
const BREATH: Duration = Duration::from_millis(100);

/// How much of a request is read before somebody asks for it. The head of one of the API server's is a tenth of it.
const READ_AHEAD: usize = 64 * 1024;

/// How many requests of one connection of HTTP/2 are answered at a time; Go's client begins with a hundred before it was
/// told.
const STREAMS: u32 = 256;

/// Who dialled.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    /// From where.
    pub(crate) address: SocketAddr,
    /// What certificates it showed; that it has their key is proved.
    pub(crate) chain: Arc<[CertificateDer<'static>]>,
}

/// How many may come, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections of strangers.
    pub(crate) strangers: usize,
    /// Those of one address.
    pub(crate) of_one_address: usize,
    /// Connections of those whom the host knows.
    pub(crate) known: usize,
    /// How long a stranger's visit may be.
    pub(crate) visit: Duration,
}

/// Who answers.
pub(crate) trait Host: Send + Sync + 'static {
    /// What is visited, for the log.
    const NAME: &'static str;
    /// Of the answers.
    type Answer: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;

    /// Whether these certificates are of somebody who has places apart from strangers.
    fn knows(&self, chain: &[CertificateDer<'_>]) -> bool;

    /// A connection was closed because there were too many.
    fn turned_away(&self);

    /// Answers a request.
    fn answer(
        &self,
        visitor: Visitor,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Answer>> + Send;
}

/// What is shown, which protocols are spoken, best first, and what is asked of clients.
pub(crate) fn tls(
    shown: Current,
    protocols: &[&[u8]],
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(Shown(shown)));
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Accepts until nobody is sent here any more, then lets connections end.
pub(crate) async fn serve<H: Host>(
    listener: TcpListener,
    tls: TlsAcceptor,
    limits: Limits,
    host: Arc<H>,
    stopping: Stopping,
) {
    let tracker = TaskTracker::new();
    let strangers = Arc::new(Places::new(limits.strangers, limits.of_one_address));
    let known = Arc::new(Places::new(limits.known, limits.known));
    loop {
        let accepted = tokio::select! {
            () = stopping.over.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection to the {} was not accepted", H::NAME);
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let Some(place) = strangers.take(address.ip()) else {
            host.turned_away();
            continue;
        };
        let visit = Visit {
            tls: tls.clone(),
            host: Arc::clone(&host),
            address,
            known: Arc::clone(&known),
            longest: limits.visit,
            stopping: stopping.clone(),
            tracker: tracker.clone(),
        };
        tracker.spawn(visit.run(socket, place));
    }
    tracker.close();
    if timeout(GOODBYE, tracker.wait()).await.is_err() {
        debug!("connections to the {} were cut off", H::NAME);
    }
}

/// One connection.
struct Visit<H> {
    tls: TlsAcceptor,
    host: Arc<H>,
    address: SocketAddr,
    known: Arc<Places>,
    longest: Duration,
    stopping: Stopping,
    tracker: TaskTracker,
}

impl<H: Host> Visit<H> {
    async fn run(self, socket: TcpStream, place: Place) {
        let stream = match timeout(PATIENCE, self.tls.accept(socket)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!(%error, "a handshake with the {} failed", H::NAME),
            Err(_) => return debug!("a handshake with the {} took too long", H::NAME),
        };
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let chain: Arc<[CertificateDer<'static>]> = shown.to_vec().into();
        let over = self.stopping.over.clone();
        if !self.host.knows(&chain) {
            let longest = self.longest;
            let until = async move {
                let _ = timeout(longest, over.cancelled()).await;
            };
            return self.converse(stream, chain, until).await;
        }
        let Some(_place) = self.known.take(self.address.ip()) else {
            return self.host.turned_away();
        };
        drop(place);
        let until = async move { over.cancelled().await };
        self.converse(stream, chain, until).await;
    }

    /// Answers requests until one side has enough.
    async fn converse(
        &self,
        stream: TlsStream<TcpStream>,
        chain: Arc<[CertificateDer<'static>]>,
        until: impl Future<Output = ()> + Send,
    ) {
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let visitor = Visitor {
            address: self.address,
            chain,
        };
        let service = service_fn(move |request: Request<Incoming>| {
            let (host, visitor) = (Arc::clone(&self.host), visitor.clone());
            let asked = self.stopping.asked.clone();
            async move {
                let mut response = host.answer(visitor, request).await;
                // Who keeps a connection asks somebody else next, before this one closes under a question.
                if !is_http2 && asked.is_cancelled() {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let io = TokioIo::new(stream);
        let ended = if is_http2 {
            let serving = http2::Builder::new(Tracked(self.tracker.clone()))
                .timer(TokioTimer::new())
                .keep_alive_interval(ALIVE)
                .keep_alive_timeout(PATIENCE)
                .max_concurrent_streams(STREAMS)
                .serve_connection(io, service);
            finish(serving, until, http2::Connection::graceful_shutdown).await
        } else {
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_buf_size(READ_AHEAD)
                .serve_connection(io, service);
            finish(serving, until, http1::Connection::graceful_shutdown).await
        };
        match ended {
            Some(Ok(())) => {}
            Some(Err(error)) => debug!(%error, "a connection to the {} ended", H::NAME),
            None => debug!("a connection to the {} did not end in time", H::NAME),
        }
    }
}

/// Serves until somebody has enough; then what is being answered has a moment. `None` when that was too short.
async fn finish<C: Future<Output = hyper::Result<()>>>(
    serving: C,
    until: impl Future<Output = ()>,
    end: fn(std::pin::Pin<&mut C>),
) -> Option<hyper::Result<()>> {
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        ended = serving.as_mut() => Some(ended),
        () = until => {
            end(serving.as_mut());
            timeout(GOODBYE, serving).await.ok()
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
