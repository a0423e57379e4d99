//! `serve_grpc`: the listener, with every limit that HTTP/2 needs against a peer that means no good.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use super::super::serve::{GRACE, MAX_AGE, let_in};
use super::socket::Socket;
use crate::admission::Door;
use crate::tls::ListenerTls;
use crate::transport::Carrier;

/// Calls at a time on one connection; more wait at the client.
const MAX_STREAMS: u32 = 256;
/// The headers of one call, before and after decompression.
const MAX_HEADER_LIST_BYTES: u32 = 16 * 1024;
/// Streams that were opened and reset before anyone looked at them (CVE-2023-44487); one more closes the connection.
const MAX_PENDING_RESETS: usize = 64;
/// Streams that the server itself reset on one connection, likewise.
const MAX_LOCAL_RESETS: usize = 256;
/// How often a quiet connection is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long it has to answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer may take for the preface, before which keep-alive does not watch it.
const PREFACE_DEADLINE: Duration = Duration::from_secs(10);

/// Serves until cancelled, then lets running calls end, for a bounded time: a health watch never ends by itself.
pub async fn serve_grpc(
    (listener, door): (TcpListener, Door),
    routes: Routes,
    tls: Option<Arc<ListenerTls>>,
    cancel: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let routes = routes.into_axum_router().layer(from_fn(note_peer));
    let serving = Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
        .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_LOCAL_RESETS))
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        // Told then; cut, if it carries no session, by its socket.
        .max_connection_age(MAX_AGE)
        .add_routes(Routes::from(routes))
        .serve_with_incoming_shutdown(incoming((listener, door), tls), cancel.cancelled());
    let too_long = async {
        cancel.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = serving => ended,
        () = too_long => Ok(()),
    }
}

/// Notes the other end where every listener does.
async fn note_peer(mut request: Request, next: Next) -> Response {
    let carrier = request.extensions().get::<Arc<Carrier>>();
    if let Some(peer) = carrier.and_then(|carrier| carrier.peer()) {
        request.extensions_mut().insert(ConnectInfo(peer));
    }
    next.run(request).await
}

fn incoming(
    listener: (TcpListener, Door),
    tls: Option<Arc<ListenerTls>>,
) -> impl Stream<Item = Result<Socket, Infallible>> {
    unfold((listener, tls), |((listener, door), tls)| async {
        let ((socket, peer), guest) = let_in(&listener, &door).await?;
        let carrier = Carrier::new(Some(peer), guest, MAX_AGE + GRACE);
        let socket = Socket::new(socket, tls.as_ref(), carrier, PREFACE_DEADLINE);
        Some((Ok(socket), ((listener, door), tls)))
    })
}
