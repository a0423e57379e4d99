//! `Socket`: a connection that must say something soon.
//!
//! HTTP/2 keep-alive begins after the client's preface; a peer that connects and stays silent would hold its place for
//! ever. The deadline ends with the preface's 24 bytes; from then on keep-alive watches. How long a connection may live
//! depends on what it carries.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tonic::transport::server::Connected;

use super::super::serve::GRACE;
use crate::tls::{ListenerTls, MaybeTls};
use crate::transport::Carrier;

/// The client's connection preface (RFC 9113 §3.4).
const PREFACE_BYTES: usize = 24;
/// How often a connection is asked whether it may still be there.
const LOOK: Duration = Duration::from_secs(10);

/// A connection and what it carries.
pub(super) struct Socket {
    stream: MaybeTls,
    carrier: Arc<Carrier>,
    /// When to look next whether it may still be there.
    look: Pin<Box<Sleep>>,
    /// What is left to wait for, and until when; nothing once the preface is here.
    preface: Option<(usize, Pin<Box<Sleep>>)>,
}

impl Socket {
    /// The preface must be here within `deadline`, the handshake of TLS before it included.
    pub(super) fn new(
        socket: TcpStream,
        tls: Option<&Arc<ListenerTls>>,
        carrier: Arc<Carrier>,
        deadline: Duration,
    ) -> Self {
        Self {
            carrier,
            look: Box::pin(tokio::time::sleep(LOOK)),
            stream: MaybeTls::new(socket, tls),
            preface: Some((PREFACE_BYTES, Box::pin(tokio::time::sleep(deadline)))),
        }
    }

    /// Resolves when nothing gives the connection a right to be there any more.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.look.as_mut().poll(cx));
            let now = Instant::now();
            if self.carrier.is_over(now, GRACE) {
                return Poll::Ready(());
            }
            self.look.as_mut().reset(now + LOOK);
        }
    }

    fn received(&mut self, bytes: usize) {
        match &mut self.preface {
            Some((left, _)) if bytes < *left => *left -= bytes,
            _ => self.preface = None,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
            self.received(buffer.filled().len() - before);
            return Poll::Ready(result);
        }
        match &mut self.preface {
            Some((_, deadline)) => ready!(deadline.as_mut().poll(cx)),
            None => ready!(self.poll_over(cx)),
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for Socket {
    type ConnectInfo = Arc<Carrier>;

    fn connect_info(&self) -> Arc<Carrier> {
        Arc::clone(&self.carrier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Door;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Both ends of a connection whose preface must be here within 20 ms.
    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, peer) = tokio::join!(listener.accept(), TcpStream::connect(address));
        let door = Door::new(1);
        let room = door.room().await.unwrap();
        let guest = door.enter(room, [127, 0, 0, 1].into()).unwrap();
        let carrier = Carrier::new(None, guest, Duration::from_secs(60));
        let deadline = Duration::from_millis(20);
        let socket = Socket::new(accepted.unwrap().0, None, carrier, deadline);
        (socket, peer.unwrap())
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_or_too_little_is_cut() {
        let (mut socket, mut peer) = pair().await;
        peer.write_all(&[b'x'; PREFACE_BYTES - 1]).await.unwrap();
        let mut taken = [0; PREFACE_BYTES - 1];
        socket.read_exact(&mut taken).await.unwrap();
        let error = socket.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn after_the_preface_a_peer_may_be_silent() {
        let (mut socket, mut peer) = pair().await;
        peer.write_all(&[b'x'; PREFACE_BYTES]).await.unwrap();
        let mut taken = [0; PREFACE_BYTES];
        socket.read_exact(&mut taken).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(60), socket.read_u8()).await;
        assert!(
            waited.is_err(),
            "cut although the preface was there: {waited:?}"
        );
    }
}
