//! `FirstWord`: a socket under hyper, which answers by itself what it cannot read as a request: too long a head, too many
//! lines, nonsense. Its answers have no body; here they get the one that every refusal has.
//!
//! What hyper writes before any request has been handed on is such an answer, and its last word.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What has become of the request so far; shared with whoever serves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Heard {
    /// None is there yet.
    #[default]
    Nothing,
    /// It was handed on: the answer is somebody else's.
    Request,
    /// It was refused, with this status.
    Refused(StatusCode),
}

/// See the module.
pub(super) struct FirstWord<S> {
    socket: S,
    heard: Rc<Cell<Heard>>,
    /// What is yet to be written instead of hyper's answer.
    own: Vec<u8>,
}

impl<S> FirstWord<S> {
    pub(super) fn new(socket: S, heard: Rc<Cell<Heard>>) -> Self {
        Self {
            socket,
            heard,
            own: Vec::new(),
        }
    }

    pub(super) fn into_inner(self) -> S {
        self.socket
    }
}

/// The status of an answer's head.
fn status(head: &[u8]) -> StatusCode {
    let code = head.get(9..12).map(StatusCode::from_bytes);
    code.and_then(Result::ok).unwrap_or(StatusCode::BAD_REQUEST)
}

/// A whole answer.
fn refusal(status: StatusCode) -> Vec<u8> {
    let (code, message) = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
            "head_too_large",
            "the head of a request may have 16 KiB and 64 lines",
        ),
        StatusCode::URI_TOO_LONG => ("uri_too_long", "the path with its query is too long"),
        _ => ("bad_request", "this is not a request of HTTP/1.1"),
    };
    let body = serde_json::json!({"error": {"code": code, "message": message}}).to_string();
    let (number, reason) = (
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
    );
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {number} {reason}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    (head + &body).into_bytes()
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstWord<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstWord<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match this.heard.get() {
            Heard::Request => return Pin::new(&mut this.socket).poll_write(cx, bytes),
            Heard::Nothing => {
                let status = status(bytes);
                this.heard.set(Heard::Refused(status));
                this.own = refusal(status);
            }
            Heard::Refused(_) => {}
        }
        while !this.own.is_empty() {
            let written = ready!(Pin::new(&mut this.socket).poll_write(cx, &this.own))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.own.drain(..written);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What the peer reads when hyper writes this.
    async fn read(heard: Heard, written: &[u8]) -> (String, Heard) {
        let (near, mut far) = tokio::io::duplex(16);
        let heard = Rc::new(Cell::new(heard));
        let mut socket = FirstWord::new(near, Rc::clone(&heard));
        let write = async {
            socket.write_all(written).await.unwrap();
            socket.shutdown().await.unwrap();
        };
        let mut read = String::new();
        let ((), _) = tokio::join!(write, far.read_to_string(&mut read));
        (read, heard.get())
    }

    #[tokio::test]
    async fn what_hyper_says_before_any_request_gets_a_body() {
        let own = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";
        let (answer, heard) = read(Heard::Nothing, own).await;
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        assert_eq!(heard, Heard::Refused(status));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], "head_too_large");
    }

    #[tokio::test]
    async fn the_answer_to_a_request_passes() {
        let answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\nand what follows";
        let (read, heard) = read(Heard::Request, answer).await;
        assert_eq!((read.as_bytes(), heard), (&answer[..], Heard::Request));
    }
}
