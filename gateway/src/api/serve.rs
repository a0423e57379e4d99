//! `serve_http`: connections of a listener, each held to limits, until told to stop.
//!
//! `axum::serve` sets no deadline for headers and spawns tasks nobody waits for; both matter on a port that the whole
//! cluster can reach. Used by the HTTP API and, on its own runtime, by the admin port.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::{Extension, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::admission::{Door, Guest};
use crate::tls::{ListenerTls, MaybeTls};

/// Connections at a time. Backends keep a few each; more wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 1024;
/// From the accepted socket to the first request's head, the handshake of TLS included.
const FIRST_HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// From one answer to the next request's head: how long an idle connection is kept.
const HEADER_DEADLINE: Duration = Duration::from_secs(30);
/// The request line and all headers; more is answered with 431.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// How long requests may go on after the stop. Longer than any request's own deadline would serve nobody.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// How long a connection may live. Callers with pools meet new pods, and one that never reads gives its place back.
pub(super) const MAX_AGE: Duration = Duration::from_mins(10);
/// Pause after a failed accept: out of file descriptors does not get better by spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until cancelled, then lets running requests end.
pub async fn serve_http(
    (listener, door): (TcpListener, Door),
    router: Router,
    tls: Option<Arc<ListenerTls>>,
    cancel: CancellationToken,
) {
    let tracker = TaskTracker::new();
    while let Some(((socket, peer), guest)) = next(&listener, &door, &cancel).await {
        let socket = MaybeTls::new(socket, tls.as_ref());
        let connected = (socket, peer);
        tracker.spawn(connection(connected, router.clone(), cancel.clone(), guest));
    }
    drop(listener);
    tracker.close();
    tracker.wait().await;
}

async fn next(
    listener: &TcpListener,
    door: &Door,
    cancel: &CancellationToken,
) -> Option<(Accepted, Guest)> {
    tokio::select! {
        () = cancel.cancelled() => None,
        accepted = let_in(listener, door) => accepted,
    }
}

/// The next connection that is let in; others are closed.
pub(super) async fn let_in(listener: &TcpListener, door: &Door) -> Option<(Accepted, Guest)> {
    loop {
        let room = door.room().await?;
        let (socket, peer) = accept(listener).await;
        if let Some(guest) = door.enter(room, peer.ip()) {
            return Some(((socket, peer), guest));
        }
        tracing::debug!(%peer, "too many connections from this address");
    }
}

/// A connection, and its other end.
pub(super) type Accepted = (TcpStream, SocketAddr);

/// The next connection, however long it takes; failures are logged and waited out.
async fn accept(listener: &TcpListener) -> Accepted {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                // Small answers: waiting to fill a packet only adds delay. A socket that is already gone refuses.
                let _ = socket.set_nodelay(true);
                return (socket, peer);
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

async fn connection(
    (socket, peer): (MaybeTls, SocketAddr),
    router: Router,
    cancel: CancellationToken,
    _guest: Guest,
) {
    let asked = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&asked);
    let service = router.layer(Extension(ConnectInfo(peer))).map_request(
        move |request: Request<Incoming>| {
            heard.store(true, Relaxed);
            request
        },
    );
    let service = TowerToHyperService::new(service);
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(socket), service);
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = silent(&asked) => return tracing::debug!(%peer, "no request came in time"),
        () = cancelled_or_old(&cancel) => {
            serving.as_mut().graceful_shutdown();
            match tokio::time::timeout(GRACE, serving).await {
                Ok(ended) => ended,
                Err(_) => return tracing::debug!("a request did not end within the grace"),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended with an error");
    }
}

/// Resolves when the first request is not there in time.
async fn silent(asked: &AtomicBool) {
    tokio::time::sleep(FIRST_HEAD_DEADLINE).await;
    if asked.load(Relaxed) {
        std::future::pending::<()>().await;
    }
}

async fn cancelled_or_old(cancel: &CancellationToken) {
    // Too old is told the same way as a stop: the next answer says `Connection: close`.
    let _ = tokio::time::timeout(MAX_AGE, cancel.cancelled()).await;
}
