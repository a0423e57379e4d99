//! `TlsSocket`: a WebSocket's TCP connection and its TLS session, read and written without waiting.
//!
//! What the session holds is bounded: plain text is taken out before more is read from the socket, and nothing new is taken
//! in while sealed bytes wait for a full socket. An idle one holds the session's state and one read buffer of rustls, 4 KiB.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::task::{Context, Poll};

use rustls::ServerConnection;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::socket::{NO_SIGNAL, read_tcp};

/// Sealed bytes that may wait for a full socket: one record.
const UNSENT_MAX: usize = 16 * 1024;

/// Reads in a row that brought no data: key updates and empty records. Nobody needs many.
const IDLE_READS_MAX: usize = 32;

/// See the module.
pub struct TlsSocket {
    socket: TcpStream,
    session: RefCell<ServerConnection>,
    /// There may be plain text in the session, of which the socket would not tell.
    more: Cell<bool>,
}

impl TlsSocket {
    /// A session whose handshake is over.
    pub fn new(socket: TcpStream, mut session: ServerConnection) -> Self {
        session.set_buffer_limit(Some(UNSENT_MAX));
        Self {
            socket,
            session: RefCell::new(session),
            // What came together with the end of the handshake.
            more: Cell::new(true),
        }
    }

    /// Whether there is something to read; if not, the reading task is woken when there is.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.more.get() {
            return Poll::Ready(Ok(()));
        }
        self.socket.poll_read_ready(cx)
    }

    /// Waits until something can be written.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Reads what is there, `WouldBlock` when nothing is. `Ok(0)`: the peer has ended.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut session = self.session.borrow_mut();
        let read = read_session(&mut session, &self.socket, buffer);
        self.more
            .set(read.as_ref().is_ok_and(|read| *read == buffer.len()));
        // Answers of the session itself: alerts, new keys. What the socket does not take goes with the next frame.
        let _full = push_out(&mut session, &self.socket);
        read
    }

    /// Seals and writes what fits; `WouldBlock` when nothing does.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut session = self.session.borrow_mut();
        let mut taken = 0;
        while push_out(&mut session, &self.socket)? {
            let rest = bytes.get(taken..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(taken);
            }
            taken += session.writer().write(rest)?;
        }
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    /// Writes what was taken earlier; false when some of it still waits.
    pub fn settle(&self) -> io::Result<bool> {
        push_out(&mut self.session.borrow_mut(), &self.socket)
    }

    /// The socket below.
    pub const fn tcp(&self) -> &TcpStream {
        &self.socket
    }

    /// Nothing more is written, and the peer is told so.
    pub fn end(&self) {
        let mut session = self.session.borrow_mut();
        session.send_close_notify();
        let _full = push_out(&mut session, &self.socket);
        // An error means the socket is cut already.
        drop(socket2::SockRef::from(&self.socket).shutdown(Shutdown::Write));
    }

    /// Ends both directions at once, with the word that nothing was cut off if the socket takes it.
    pub fn cut(&self) {
        let mut session = self.session.borrow_mut();
        session.send_close_notify();
        let _full = push_out(&mut session, &self.socket);
        // An error means the socket is cut already.
        drop(socket2::SockRef::from(&self.socket).shutdown(Shutdown::Both));
    }
}

impl fmt::Debug for TlsSocket {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TlsSocket")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// Fills the buffer as far as what is there goes.
fn read_session(
    session: &mut ServerConnection,
    socket: &TcpStream,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let mut filled = 0;
    let mut idle = 0;
    loop {
        let room = buffer.get_mut(filled..).unwrap_or_default();
        if room.is_empty() {
            return Ok(filled);
        }
        let ended = match session.reader().read(room) {
            // The peer has said that it ends.
            Ok(0) => Some(Ok(0)),
            Ok(read) => {
                (filled, idle) = (filled + read, 0);
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => take_in(session, socket),
            Err(error) => Some(Err(error)),
        };
        match ended {
            None if idle < IDLE_READS_MAX => idle += 1,
            None => return Err(io::ErrorKind::InvalidData.into()),
            // What was read counts first; the end is met again by the next call.
            Some(_) if filled > 0 => return Ok(filled),
            Some(end) => return end,
        }
    }
}

/// Takes sealed bytes from the socket and opens them; says how it ended if there was nothing to take.
fn take_in(session: &mut ServerConnection, socket: &TcpStream) -> Option<io::Result<usize>> {
    match session.read_tls(&mut Raw(socket)) {
        Ok(0) => Some(Ok(0)),
        Ok(_) => {
            let opened = session.process_new_packets();
            let broken = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            opened.err().map(|error| Err(broken(error)))
        }
        Err(error) => Some(Err(error)),
    }
}

/// Writes the session's sealed bytes; false when the socket takes no more.
fn push_out(session: &mut ServerConnection, socket: &TcpStream) -> io::Result<bool> {
    while session.wants_write() {
        match session.write_tls(&mut Raw(socket)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// The socket as rustls wants it.
struct Raw<'a>(&'a TcpStream);

impl io::Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_tcp(self.0, buffer)
    }
}

impl io::Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut written = 0;
        let tried = self.0.try_io(Interest::WRITABLE, || {
            let socket = socket2::SockRef::from(self.0);
            // A frame is one record: `sendmsg` would cost it what it has for several.
            written = match slices {
                [record] => socket.send_with_flags(record, NO_SIGNAL)?,
                records => socket.send_vectored_with_flags(records, NO_SIGNAL)?,
            };
            // A short write means a full buffer: readiness is taken back without a second call that says so.
            if written < wanted {
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

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
