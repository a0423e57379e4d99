//! `MaybeTls`: a connection of the HTTP or gRPC API, in the clear or by TLS.
//!
//! The handshake is done by whoever reads or writes first, under that one's deadline: the listener goes on accepting.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::Accept;
use tokio_rustls::server::TlsStream;

use super::ListenerTls;

/// See the module.
pub struct MaybeTls(State);

enum State {
    Plain(TcpStream),
    Shaking(Box<Accept<TcpStream>>, std::sync::Arc<ListenerTls>),
    Tls(Box<TlsStream<TcpStream>>),
    /// The handshake came to nothing.
    Failed,
}

impl MaybeTls {
    /// By TLS if the listener speaks it.
    pub fn new(socket: TcpStream, tls: Option<&std::sync::Arc<ListenerTls>>) -> Self {
        Self(match tls {
            None => State::Plain(socket),
            Some(tls) => State::Shaking(Box::new(tls.acceptor().accept(socket)), tls.clone()),
        })
    }

    /// Goes on with the handshake until it is over.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let State::Shaking(accept, tls) = &mut self.0 else {
            return Poll::Ready(Ok(()));
        };
        match ready!(Pin::new(accept.as_mut()).poll(cx)) {
            Ok(stream) => {
                self.0 = State::Tls(Box::new(stream));
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                tls.failed();
                self.0 = State::Failed;
                Poll::Ready(Err(error))
            }
        }
    }
}

fn closed<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for MaybeTls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_ready(cx))?;
        match &mut self.0 {
            State::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            State::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
            State::Shaking(..) | State::Failed => closed(),
        }
    }
}

impl AsyncWrite for MaybeTls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ready(cx))?;
        match &mut self.0 {
            State::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            State::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
            State::Shaking(..) | State::Failed => closed(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ready(cx))?;
        match &mut self.0 {
            State::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            State::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, slices),
            State::Shaking(..) | State::Failed => closed(),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ready(cx))?;
        match &mut self.0 {
            State::Plain(socket) => Pin::new(socket).poll_flush(cx),
            State::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            State::Shaking(..) | State::Failed => closed(),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            State::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            State::Shaking(..) | State::Failed => Poll::Ready(Ok(())),
        }
    }
}
