//! The webhook's listener: TLS with the operator's own certificate, and HTTP/1.1, which is all that the API server needs.
//!
//! Whoever reaches it may ask: it answers what would be injected, which is no secret in itself, and changes nothing.
//! Connections are bounded, and those that keep silent are short.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::certificate::{Current, Shown};

/// How long a handshake may take, and the head of a request, on a connection that is kept as well.
const PATIENCE: Duration = Duration::from_secs(30);

/// After so long a connection is ended: one that asks nothing more must not keep its place.
const MAX_AGE: Duration = Duration::from_mins(5);

/// How long what is being answered may take when a connection is to end.
const GOODBYE: Duration = Duration::from_secs(5);

/// After a failure to accept, such as too many open files.
const BREATH: Duration = Duration::from_millis(100);

/// Connections at a time: an API server has a handful. Further ones wait to be accepted.
const CONNECTIONS: usize = 128;

/// What the listener shows.
pub(super) fn tls(shown: Current) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shown(shown)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until the token says stop, then lets connections end.
pub(super) async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    router: Router,
    token: CancellationToken,
) {
    let tracker = TaskTracker::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = token.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((socket, place)) = accepted else {
            tokio::time::sleep(BREATH).await;
            continue;
        };
        let visit = Visit {
            tls: tls.clone(),
            router: router.clone(),
            token: token.clone(),
        };
        tracker.spawn(visit.run(socket, place));
    }
    tracker.close();
    if timeout(GOODBYE, tracker.wait()).await.is_err() {
        debug!("connections to the webhook were cut off");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    // Closed it never is.
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, _)) => Some((socket, place)),
        Err(error) => {
            warn!(%error, "a connection to the webhook was not accepted");
            None
        }
    }
}

/// One connection.
struct Visit {
    tls: TlsAcceptor,
    router: Router,
    token: CancellationToken,
}

impl Visit {
    async fn run(self, socket: TcpStream, _place: OwnedSemaphorePermit) {
        let stream = match timeout(PATIENCE, self.tls.accept(socket)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!(%error, "a handshake with the webhook failed"),
            Err(_) => return debug!("a handshake with the webhook took too long"),
        };
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.router));
        let mut serving = std::pin::pin!(serving);
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            _ = timeout(MAX_AGE, self.token.cancelled()) => {
                serving.as_mut().graceful_shutdown();
                match timeout(GOODBYE, serving).await {
                    Ok(ended) => ended,
                    Err(_) => return debug!("a review did not end in time"),
                }
            }
        };
        if let Err(error) = ended {
            debug!(%error, "a connection to the webhook ended");
        }
    }
}
