//! `Socket`: what a connection reads from and its outbox writes to, without waiting in either.

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;

use super::pipe::PipeWriter;
use super::tls_socket::TlsSocket;
use crate::protocol::Disconnect;
use crate::session::TryWrite;

/// `MSG_NOSIGNAL`: a closed peer is an error, not a signal.
pub(super) const NO_SIGNAL: i32 = 0x4000;

/// See the module.
#[derive(Debug)]
pub enum Socket {
    /// A plain TCP connection.
    Tcp(TcpStream),
    /// One by TLS; behind a pointer, so that plain ones stay small.
    Tls(Box<TlsSocket>),
    /// What somebody else writes to the client: tonic, or hyper. What the client says does not come by it.
    Pipe(PipeWriter),
}

impl Socket {
    /// Waits until there is something to read.
    pub async fn readable(&self) -> io::Result<()> {
        if let Self::Pipe(pipe) = self {
            pipe.until_over().await;
            return Ok(());
        }
        poll_fn(|cx| self.poll_readable(cx)).await
    }

    /// The same of a socket, for its one reading task: who waits so holds no place in a list of those who wait, which
    /// would be a quarter of what an idle connection's task takes.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_read_ready(cx),
            Self::Tls(socket) => socket.poll_readable(cx),
            Self::Pipe(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }

    /// Waits until something can be written.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.writable().await,
            Self::Tls(socket) => socket.writable().await,
            Self::Pipe(pipe) => pipe.writable().await,
        }
    }

    /// Reads what is there, `WouldBlock` when nothing is. `Ok(0)`: the peer has ended.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => read_tcp(socket, buffer),
            Self::Tls(socket) => socket.try_read(buffer),
            // It is readable when it is over, and for nothing else.
            Self::Pipe(_) => Ok(0),
        }
    }

    /// Ends both directions at once.
    pub fn cut(&self, why: Disconnect) {
        match self {
            // An error means the socket is cut already.
            Self::Tcp(socket) => drop(socket2::SockRef::from(socket).shutdown(Shutdown::Both)),
            Self::Tls(socket) => socket.cut(),
            Self::Pipe(pipe) => pipe.cut(why),
        }
    }

    /// Nothing more is written; what was still arrives.
    pub fn end(&self, why: Disconnect) {
        match self {
            // An error means the socket is cut already.
            Self::Tcp(socket) => drop(socket2::SockRef::from(socket).shutdown(Shutdown::Write)),
            Self::Tls(socket) => socket.end(),
            Self::Pipe(pipe) => pipe.end(why),
        }
    }

    /// Has the kernel give up a peer that takes nothing of what was written for so long.
    pub fn give_up_after(&self, timeout: Duration) {
        let socket = match self {
            Self::Tcp(socket) => socket,
            Self::Tls(socket) => socket.tcp(),
            Self::Pipe(_) => return,
        };
        let socket = socket2::SockRef::from(socket);
        if let Err(error) = socket.set_tcp_user_timeout(Some(timeout)) {
            tracing::debug!(%error, "a socket takes no deadline for its writes");
        }
    }
}

impl TryWrite for Socket {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => write_tcp(socket, bytes),
            Self::Tls(socket) => socket.try_write(bytes),
            Self::Pipe(pipe) => pipe.try_write(bytes),
        }
    }

    fn settle(&self) -> io::Result<bool> {
        match self {
            Self::Tcp(_) | Self::Pipe(_) => Ok(true),
            Self::Tls(socket) => socket.settle(),
        }
    }
}

pub(super) fn read_tcp(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut outcome = None;
    let tried = socket.try_io(Interest::READABLE, || {
        let read = io::Read::read(&mut &*socket2::SockRef::from(socket), buffer)?;
        outcome = Some(read);
        // A short read means an empty buffer: readiness is taken back without a second call that says so.
        if read > 0 && read < buffer.len() {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            Ok(())
        }
    });
    match (outcome, tried) {
        (Some(read), _) => Ok(read),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn write_tcp(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    let tried = socket.try_io(Interest::WRITABLE, || {
        written = socket2::SockRef::from(socket).send_with_flags(bytes, NO_SIGNAL)?;
        // A short write means a full buffer: readiness is taken back without a second call that says so.
        if written < bytes.len() {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            Ok(())
        }
    });
    match tried {
        Err(_) if written > 0 => Ok(written),
        Err(error) => Err(error),
        Ok(()) => Ok(written),
    }
}
