//! A WebSocket's beginning, on the shard that owns its socket: the handshake is hyper's and axum's, the raw socket comes
//! back from them, and from then on the connection is one reading task and an outbox.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;

use super::acceptor::PENDING_MAX;
use super::open::{Opening, open};
use super::tls_socket::TlsSocket;
use super::upgrade::Accepted;
use super::{Socket, reader};
use crate::admission::Place;
use crate::hub::Shard;

/// The deadline of a handshake in a flood. Good clients need a fraction of it.
const HURRY: Duration = Duration::from_secs(1);
/// Bytes of request head hyper may hold.
const HEAD_MAX: usize = 16 * 1024;
/// Header lines a request may have.
const HEADERS_MAX: usize = 64;

/// Takes a socket the acceptor handed over.
pub fn accept(shard: &Rc<Shard>, socket: std::net::TcpStream, peer: SocketAddr, place: Place) {
    let shard = Rc::clone(shard);
    tokio::task::spawn_local(async move {
        let began = Instant::now();
        let pending = Pending(Rc::clone(&shard));
        let deadline = pending.deadline();
        let handshake = Box::pin(handshake(Rc::clone(&shard), socket, peer, began));
        let ended = tokio::time::timeout(deadline, handshake).await;
        drop((pending, place));
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%peer, %error, "handshake failed"),
            Err(_) => tracing::debug!(%peer, ?deadline, "handshake took too long"),
        }
    });
}

/// A handshake under way, counted until it is over, however it ends.
struct Pending(Rc<Shard>);

impl Pending {
    /// How long it may take: as configured, but little when so many are under way that they look like a flood.
    fn deadline(&self) -> Duration {
        let configured = self.0.settings().handshake_timeout;
        let pending = self
            .0
            .handle()
            .map_or(0, |handle| handle.pending().load(Relaxed));
        if pending > PENDING_MAX / 4 {
            configured.min(HURRY)
        } else {
            configured
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(handle) = self.0.handle() {
            handle.pending().fetch_sub(1, Relaxed);
        }
    }
}

async fn handshake(
    shard: Rc<Shard>,
    socket: std::net::TcpStream,
    peer: SocketAddr,
    began: Instant,
) -> anyhow::Result<()> {
    let socket = TcpStream::from_std(socket)?;
    socket.set_nodelay(true)?;
    let Some(tls) = &shard.context().tls else {
        return serve(&shard, socket, (peer, began)).await;
    };
    match tls.acceptor().accept(socket).await {
        Ok(socket) => serve(&shard, socket, (peer, began)).await,
        Err(error) => {
            tls.failed();
            Err(error.into())
        }
    }
}

async fn serve<S>(shard: &Rc<Shard>, socket: S, from: (SocketAddr, Instant)) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let router = shard.context().upgrades.clone();
    let service = service_fn(|request| answer(shard, router.clone(), request, from));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shard.settings().handshake_timeout)
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades()
        .await?;
    Ok(())
}

async fn answer(
    shard: &Rc<Shard>,
    router: Router,
    mut request: Request<Incoming>,
    (peer, began): (SocketAddr, Instant),
) -> Result<Response<Body>, Infallible> {
    let upgrade = hyper::upgrade::on(&mut request);
    request.extensions_mut().insert(ConnectInfo(peer));
    let mut response = router.oneshot(request.map(Body::new)).await?;
    let accepted = response.extensions_mut().remove::<Accepted>();
    match accepted {
        Some(accepted) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            let shard = Rc::clone(shard);
            shard.context().instruments.handshake(began.elapsed());
            tokio::task::spawn_local(begin(shard, upgrade, accepted, peer));
        }
        _ => {
            shard.count(|stats| stats.count_refused(response.status().as_u16()));
            // Whoever was refused comes back on a new connection: no idle HTTP connection stays.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
    }
    Ok(response)
}

/// The raw socket, and what hyper read beyond the request: a copy, since its own buffer would stay as long as the connection.
fn take_back(upgraded: Upgraded) -> Option<(Socket, Vec<u8>)> {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return Some((Socket::Tcp(parts.io.into_inner()), parts.read_buf.to_vec())),
        Err(upgraded) => upgraded,
    };
    let parts = upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>().ok()?;
    let (socket, session) = parts.io.into_inner().into_inner();
    let socket = TlsSocket::new(socket, session);
    Some((Socket::Tls(Box::new(socket)), parts.read_buf.to_vec()))
}

/// From the answered handshake to the session.
async fn begin(shard: Rc<Shard>, upgrade: OnUpgrade, accepted: Accepted, peer: SocketAddr) {
    // An error means the client left before its answer was written.
    let Ok(upgraded) = upgrade.await else { return };
    let Some((socket, first)) = take_back(upgraded) else {
        tracing::error!("the upgraded socket is not the one that was served");
        return;
    };
    // Behind a proxy the port is the proxy's, and says nothing.
    let client = if accepted.address == peer.ip().to_canonical() {
        peer
    } else {
        SocketAddr::new(accepted.address, 0)
    };
    let connection = shard.enter(socket, accepted.codec, client);
    // From here on the connection itself is counted.
    drop(accepted.place);
    if shard.is_draining() {
        shard.send_away(&connection);
    } else if shard.settings().echo {
        connection.set_until(None);
    } else if let Some(identity) = accepted.identity {
        Box::pin(open(
            &shard,
            &connection,
            Opening {
                identity,
                resume: accepted.resume,
            },
        ))
        .await;
    }
    tokio::task::spawn_local(reader::serve(shard, connection, first));
}
