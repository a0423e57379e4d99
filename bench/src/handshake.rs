//! The request that opens a WebSocket, and what a server may answer.

use anyhow::{Context as _, bail};

/// The example of RFC 6455: a server cannot know that every client sends the same, and the answer needs no SHA-1 here.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What proves that a server has understood the key.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How a server agrees.
pub const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade";

/// How a member connects.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Path and query.
    pub path: String,
    /// The token shown, if any.
    pub token: Option<String>,
    /// Whether to offer permessage-deflate.
    pub deflate: Deflate,
}

/// Whether compression is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deflate {
    /// Not a word.
    #[default]
    No,
    /// Each message by itself, both ways.
    Offer,
}

impl Request {
    /// The request's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let Self {
            path,
            token,
            deflate,
        } = self;
        let mut head = format!(
            "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
        );
        if let Some(token) = token {
            head.extend(["Authorization: Bearer ", token, "\r\n"]);
        }
        if *deflate == Deflate::Offer {
            head.push_str(
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n",
            );
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// Where the answer's head ends; `None` when it is not all there yet.
pub fn answered(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
    let status = head.lines().next().context("an empty answer")?;
    if status.split(' ').nth(1) != Some("101") {
        bail!("the handshake was answered by {status:?}");
    }
    if !head.contains(ACCEPT) {
        bail!("the handshake's answer has a wrong Sec-WebSocket-Accept");
    }
    Ok(Some(end + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_whole_answer_and_says_why_another_is_refused() {
        let good =
            format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n");
        assert_eq!(answered(good.as_bytes()).unwrap(), Some(good.len()));
        assert_eq!(answered(&good.as_bytes()[..20]).unwrap(), None);
        let refused = answered(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap_err();
        assert!(refused.to_string().contains("503"));
        assert!(answered(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").is_err());
    }
}
