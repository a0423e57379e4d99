//! A bounded pipe of bytes from a shard to a task of any runtime, for transports whose socket belongs to somebody else: an
//! HTTP/2 stream, the body of an HTTP answer.
//!
//! The writing end is the connection's socket: it never waits, and a full pipe is a full socket. The reading end takes all
//! there is at once. An empty pipe owns no heap.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::protocol::Disconnect;

/// Bytes on their way: what a socket's buffer would hold. Beyond, the outbox and its bounds decide.
pub(super) const PIPE_MAX: usize = 16 * 1024;

/// A pipe.
pub(super) fn pipe() -> (PipeWriter, PipeReader) {
    let shared = Arc::new(Shared::default());
    (PipeWriter(Arc::clone(&shared)), PipeReader(shared))
}

/// The shard's end.
#[derive(Debug)]
pub struct PipeWriter(Arc<Shared>);

/// The other end. Dropping it breaks the pipe.
#[derive(Debug)]
pub(super) struct PipeReader(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is room again, or nobody reads any more.
    room: Notify,
    /// The shard has ended it.
    over: Notify,
}

#[derive(Debug, Default)]
struct State {
    bytes: BytesMut,
    end: Option<Disconnect>,
    is_broken: bool,
    reader: Option<Waker>,
}

impl State {
    const fn is_over(&self) -> bool {
        self.is_broken || self.end.is_some()
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl PipeWriter {
    /// Writes what fits; `WouldBlock` when nothing does.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        if state.is_over() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = PIPE_MAX.saturating_sub(state.bytes.len());
        let fits = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        if fits.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.bytes.extend_from_slice(fits);
        state.wake();
        Ok(fits.len())
    }

    /// Waits until something can be written.
    pub(super) async fn writable(&self) -> io::Result<()> {
        loop {
            let room = self.0.room.notified();
            {
                let state = self.0.state.lock();
                if state.is_over() {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                if state.bytes.len() < PIPE_MAX {
                    return Ok(());
                }
            }
            room.await;
        }
    }

    /// Waits until the shard has ended it.
    pub(super) async fn until_over(&self) {
        loop {
            let over = self.0.over.notified();
            if self.0.state.lock().end.is_some() {
                return;
            }
            over.await;
        }
    }

    /// Nothing more is written; what is on its way still arrives.
    pub(super) fn end(&self, why: Disconnect) {
        let mut state = self.0.state.lock();
        state.end.get_or_insert(why);
        state.wake();
        drop(state);
        self.0.room.notify_waiters();
        self.0.over.notify_waiters();
    }

    /// The same at once: what is on its way is dropped. After a proper end the reader may still be at the rest of it.
    pub(super) fn cut(&self, why: Disconnect) {
        let mut state = self.0.state.lock();
        if state.end.is_none() {
            state.bytes = BytesMut::new();
        }
        drop(state);
        self.end(why);
    }
}

impl PipeReader {
    /// All there is; `None` after the end.
    pub(super) fn poll_read(&self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.0.state.lock();
        if !state.bytes.is_empty() {
            let bytes = std::mem::take(&mut state.bytes).freeze();
            drop(state);
            self.0.room.notify_waiters();
            return Poll::Ready(Some(bytes));
        }
        if state.end.is_some() {
            return Poll::Ready(None);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The same, waiting.
    pub(super) async fn read(&self) -> Option<Bytes> {
        std::future::poll_fn(|cx| self.poll_read(cx)).await
    }

    /// Why the shard ended it, if it did.
    pub(super) fn end(&self) -> Option<Disconnect> {
        self.0.state.lock().end
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        self.0.state.lock().is_broken = true;
        self.0.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_written_arrives_in_order_and_then_the_end() {
        let (writer, reader) = pipe();
        writer.try_write(b"one ").unwrap();
        writer.try_write(b"two").unwrap();
        writer.end(Disconnect::Drain);
        assert!(writer.try_write(b"three").is_err());
        assert_eq!(reader.read().await.unwrap(), "one two");
        assert_eq!(reader.read().await, None);
        assert_eq!(reader.end(), Some(Disconnect::Drain));
    }

    #[tokio::test]
    async fn a_full_pipe_takes_nothing_until_it_is_read() {
        let (writer, reader) = pipe();
        let written = writer.try_write(&vec![0; PIPE_MAX + 1]).unwrap();
        assert_eq!(written, PIPE_MAX);
        let error = writer.try_write(b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(writer.writable().now_or_never().is_none());
        let (room, read) = tokio::join!(writer.writable(), reader.read());
        room.unwrap();
        assert_eq!(read.unwrap().len(), PIPE_MAX);
        assert_eq!(reader.0.state.lock().bytes.capacity(), 0, "idle");
    }

    #[tokio::test]
    async fn a_reader_that_has_gone_is_a_broken_socket() {
        let (writer, reader) = pipe();
        writer.try_write(&vec![0; PIPE_MAX]).unwrap();
        let (waited, ()) = tokio::join!(writer.writable(), async { drop(reader) });
        assert_eq!(waited.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(writer.try_write(b"x").is_err());
    }

    #[tokio::test]
    async fn a_cut_drops_what_was_on_its_way_and_is_noticed() {
        let (writer, reader) = pipe();
        writer.try_write(b"late").unwrap();
        tokio::join!(writer.until_over(), async {
            writer.cut(Disconnect::Timeout);
        });
        assert_eq!(reader.read().await, None);
        assert_eq!(reader.end(), Some(Disconnect::Timeout));
    }
}
