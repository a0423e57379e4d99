//! How a socket of the listener for clients begins, on the shard that owns it: the request is hyper's and axum's, the raw
//! socket comes back from them, and from then on the connection is one reading task and an outbox.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};
use tokio_rustls::server::TlsStream;

use super::acceptor::PENDING_MAX;
use super::events::Posted;
use super::first_word::{FirstWord, Heard};
use super::tls_socket::TlsSocket;
use super::upgrade::Accepted;
use super::{Socket, open, post, reader, sse};
use crate::admission::Place;
use crate::hub::{Shard, TurnedAway};
use crate::protocol::Transport;
use crate::session::Waiting;
use crate::telemetry::Limit;

/// The deadline of a handshake in a flood. Good clients need a fraction of it.
const HURRY: Duration = Duration::from_secs(1);
/// Bytes of request head hyper may hold.
const HEAD_MAX: usize = 16 * 1024;
/// Bytes taken from a client whose request was refused unread, so that it gets to read why.
const REST_MAX: u64 = 256 * 1024;
/// Header lines a request may have.
const HEADERS_MAX: usize = 64;

/// Takes a socket that another shard's acceptor handed over.
pub fn take_over(shard: &Rc<Shard>, socket: std::net::TcpStream, peer: SocketAddr, place: Place) {
    match TcpStream::from_std(socket) {
        Ok(socket) => accept(shard, socket, peer, place),
        Err(error) => {
            drop(Pending(Rc::clone(shard)));
            tracing::debug!(%peer, %error, "a socket was lost on the way to its shard");
        }
    }
}

/// Takes a socket that was accepted for this shard.
pub fn accept(shard: &Rc<Shard>, socket: TcpStream, peer: SocketAddr, place: Place) {
    let shard = Rc::clone(shard);
    tokio::task::spawn_local(async move {
        let began = Instant::now();
        let pending = Pending(Rc::clone(&shard));
        let deadline = pending.deadline();
        let arrival = Arrival {
            peer,
            began,
            room: Rc::new(Cell::new(Some((pending, place)))),
        };
        let handshake = Box::pin(handshake(Rc::clone(&shard), socket, arrival.clone()));
        let ended = in_time(deadline, &arrival, handshake).await;
        arrival.give_back();
        match ended {
            // Larger than all the rest, which is gone by now.
            Ok(Ok(Some(beginning))) => Box::pin(begin(shard, beginning, peer)).await,
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::debug!(%peer, %error, "handshake failed"),
            Err(_) => {
                shard.context().admission.met(Limit::HandshakeTime);
                tracing::debug!(%peer, ?deadline, "handshake took too long");
            }
        }
    });
}

/// A socket that has come.
#[derive(Clone)]
struct Arrival {
    peer: SocketAddr,
    began: Instant,
    /// What it takes of the room that handshakes have.
    room: Rc<Cell<Option<(Pending, Place)>>>,
}

impl Arrival {
    /// It is no handshake, or none any more.
    fn give_back(&self) {
        self.room.take();
    }

    fn is_handshake(&self) -> bool {
        let room = self.room.take();
        let is_handshake = room.is_some();
        self.room.set(room);
        is_handshake
    }
}

/// Bounds a handshake, and what turned out to be none: a message that was posted has the time that its answer may take.
async fn in_time<F: Future + Unpin>(
    deadline: Duration,
    arrival: &Arrival,
    mut handshake: F,
) -> Result<F::Output, Elapsed> {
    let ended = timeout(deadline, &mut handshake).await;
    if ended.is_err() && !arrival.is_handshake() {
        return timeout(post::PATIENCE + HURRY, handshake).await;
    }
    ended
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
    socket: TcpStream,
    arrival: Arrival,
) -> anyhow::Result<Option<Beginning>> {
    let Some(tls) = &shard.context().tls else {
        return serve(&shard, socket, arrival).await;
    };
    match tls.acceptor().accept(socket).await {
        Ok(socket) => serve(&shard, socket, arrival).await,
        Err(error) => {
            tls.failed();
            Err(error.into())
        }
    }
}

/// What hyper serves, and what a connection makes of it afterwards.
trait Served: AsyncRead + AsyncWrite + Unpin + 'static {
    fn into_socket(self) -> Socket;
}

impl Served for TcpStream {
    fn into_socket(self) -> Socket {
        Socket::Tcp(self)
    }
}

impl Served for TlsStream<TcpStream> {
    fn into_socket(self) -> Socket {
        let (socket, session) = self.into_inner();
        Socket::Tls(Box::new(TlsSocket::new(socket, session)))
    }
}

/// A socket whose request was answered, with what has come on it since, and what was agreed.
struct Beginning {
    socket: Socket,
    first: Vec<u8>,
    agreed: Agreed,
}

async fn serve<S: Served>(
    shard: &Rc<Shard>,
    socket: S,
    arrival: Arrival,
) -> anyhow::Result<Option<Beginning>> {
    let began = arrival.began;
    let agreed = Rc::new(RefCell::new(None));
    let heard = Rc::<Cell<Heard>>::default();
    let socket = FirstWord::new(socket, Rc::clone(&heard));
    let service = service_fn(|request| {
        heard.set(Heard::Request);
        let answer = answer(Rc::clone(shard), request, arrival.clone());
        Box::pin(settle(answer, Rc::clone(&agreed)))
    });
    // No time of hyper's own for the head: the whole handshake has one.
    let mut serving = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(socket), service);
    let served = std::future::poll_fn(|cx| {
        let ended = serving.poll_without_shutdown(cx);
        let is_ours = agreed.borrow().is_some();
        if is_ours { Poll::Ready(Ok(())) } else { ended }
    });
    let served = served.await;
    let parts = serving.into_parts();
    let mut socket = parts.io.into_inner().into_inner();
    if let Heard::Refused(status) = heard.get() {
        refused(shard, status);
        socket.shutdown().await?;
        // It may still be sending: cut under it, it would lose the answer.
        let (mut rest, mut nowhere) = (socket.take(REST_MAX), tokio::io::sink());
        let rest = tokio::io::copy(&mut rest, &mut nowhere);
        let _over = timeout(HURRY, rest).await;
        return Ok(None);
    }
    served?;
    let Some(agreed) = agreed.take() else {
        socket.shutdown().await?;
        return Ok(None);
    };
    shard.context().instruments.handshake(began.elapsed());
    // A copy of what little there is: hyper's own buffer would stay as long as the connection.
    let first = parts.read_buf.to_vec();
    let socket = socket.into_socket();
    Ok(Some(Beginning {
        socket,
        first,
        agreed,
    }))
}

/// Hyper could not read a request, and has said so.
fn refused(shard: &Shard, status: StatusCode) {
    let (why, limit) = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            (TurnedAway::RequestHead, Some(Limit::RequestHead))
        }
        StatusCode::URI_TOO_LONG => (TurnedAway::RequestUri, Some(Limit::RequestUri)),
        _ => (TurnedAway::BadRequest, None),
    };
    shard.count(|stats| stats.count_refused(why));
    if let Some(limit) = limit {
        shard.context().admission.met(limit);
    }
}

/// What a request was answered with that makes a connection of its socket.
struct Agreed {
    accepted: Accepted,
    /// The head of the answer, and what its body begins with. It goes out with the first frame, by one system call.
    head: Vec<u8>,
}

/// Has hyper answer a request, unless the answer never ends: that is written by the connection itself.
async fn settle(
    answer: impl Future<Output = (Response<Body>, Option<Agreed>)>,
    slot: Rc<RefCell<Option<Agreed>>>,
) -> Result<Response<Body>, Infallible> {
    let (response, agreed) = answer.await;
    if agreed.is_some() {
        slot.replace(agreed);
        std::future::pending::<()>().await;
    }
    Ok(response)
}

/// The head of an answer whose body is not the one that the handler gave it.
fn head(response: &Response<Body>) -> Vec<u8> {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"]
        .concat()
        .into_bytes();
    let ours = [CONTENT_LENGTH, TRANSFER_ENCODING];
    let theirs = response.headers().iter();
    for (name, value) in theirs.filter(|(name, _)| !ours.contains(name)) {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

async fn answer(
    shard: Rc<Shard>,
    mut request: Request<Incoming>,
    arrival: Arrival,
) -> (Response<Body>, Option<Agreed>) {
    let peer = arrival.peer;
    request.extensions_mut().insert(ConnectInfo(peer));
    let mut response = shard.context().upgrades.answer(request).await;
    let mut unsaid = TurnedAway::Other;
    if let Some(posted) = response.extensions_mut().remove::<Posted>() {
        unsaid = TurnedAway::Message;
        let client = client(posted.address, peer);
        // Read and judged, it must not keep others from their handshakes while its answer is waited for.
        if shard.asked() < PENDING_MAX {
            arrival.give_back();
        }
        post::answer(&shard, client, posted, &mut response).await;
    }
    let accepted = response.extensions_mut().remove::<Accepted>();
    let close = HeaderValue::from_static("close");
    match (accepted, response.status()) {
        (Some(accepted), StatusCode::SWITCHING_PROTOCOLS) => {
            let head = head(&response);
            return (response, Some(Agreed { accepted, head }));
        }
        (Some(accepted), StatusCode::OK) => {
            response.headers_mut().insert(CONNECTION, close);
            let mut head = head(&response);
            head.extend_from_slice(sse::first_lines().as_bytes());
            return (response, Some(Agreed { accepted, head }));
        }
        (_, status) if status.is_success() => {}
        (..) => {
            let said = response.extensions_mut().remove::<TurnedAway>();
            let why = said.unwrap_or(unsaid);
            shard.count(|stats| stats.count_refused(why));
        }
    }
    // Whoever was refused comes back on a new connection: no idle HTTP connection stays.
    response.headers_mut().insert(CONNECTION, close);
    (response, None)
}

/// Behind a proxy the port is the proxy's, and says nothing.
pub(super) fn client(address: IpAddr, peer: SocketAddr) -> SocketAddr {
    if address == peer.ip().to_canonical() {
        peer
    } else {
        SocketAddr::new(address, 0)
    }
}

/// From the answered request to the session.
async fn begin(shard: Rc<Shard>, beginning: Beginning, peer: SocketAddr) {
    let Beginning {
        socket,
        first,
        agreed: Agreed { accepted, head },
    } = beginning;
    let client = client(accepted.address, peer);
    let connection = shard.enter(socket, accepted.codec, client);
    // From here on the connection itself is counted.
    drop(accepted.place);
    if connection.transport() == Transport::Sse {
        connection
            .socket()
            .give_up_after(shard.settings().sse.timeout);
    }
    shard.push_anyway(&connection, Waiting::head(Rc::new(head.into())));
    let (identity, resume) = (accepted.identity, accepted.resume);
    open::begin(&shard, &connection, (identity, resume)).await;
    match connection.transport() {
        Transport::Sse => tokio::task::spawn_local(sse::serve(shard, connection)),
        Transport::WebSocket | Transport::Grpc | Transport::Http => {
            tokio::task::spawn_local(reader::serve(shard, connection, first))
        }
    };
}
