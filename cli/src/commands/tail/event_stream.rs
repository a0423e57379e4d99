//! `tail` over Server-Sent Events, as the HTML standard has them (§9.2).

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, RETRY_AFTER};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::task::JoinSet;

use super::session::{Ended, Opening};
use super::wire::{Heard, Wire, refused};
use crate::Failure;

/// The largest event, and the largest refusal.
const LARGEST: usize = 64 << 20;
/// How an event ends.
const END: &[u8] = b"\n\n";

/// A stream that was let in.
pub(super) struct EventStream {
    body: Incoming,
    unread: Vec<u8>,
    /// Drives the connection.
    _connection: JoinSet<()>,
}

impl EventStream {
    pub(super) async fn open(opening: &Opening<'_>) -> Result<Self, Ended> {
        let endpoint = opening.endpoint;
        let unreachable = |error: hyper::Error| Ended::come_back(endpoint.unreachable(error));
        let socket = TokioIo::new(endpoint.connect().await.map_err(Ended::from)?);
        let handshake = hyper::client::conn::http1::handshake(socket).await;
        let (mut sender, connection) = handshake.map_err(unreachable)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What breaks it ends the body as well.
            let _ended = connection.await;
        });
        let mut request = Request::builder()
            .uri(opening.path())
            .header(HOST, endpoint.authority())
            .header(ACCEPT, "text/event-stream");
        if let Some(token) = opening.bearer() {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| Ended::Stay(Failure::Usage(error.to_string())))?;
        let response = sender.send_request(request).await.map_err(unreachable)?;
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            let body = Limited::new(body, LARGEST).collect().await;
            let body = body.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
            let retry = head.headers.get(RETRY_AFTER);
            let retry = retry.and_then(|value| value.to_str().ok());
            return Err(refused(head.status.as_u16(), retry, &body));
        }
        Ok(Self {
            body,
            unread: Vec::new(),
            _connection: driver,
        })
    }

    /// The next event that is whole, out of what was read.
    fn event(&mut self) -> Option<String> {
        let at = self
            .unread
            .windows(END.len())
            .position(|part| part == END)?;
        let event = self.unread.drain(..at + END.len()).take(at).collect();
        // What is no UTF-8 is no JSON either, which is said later.
        Some(String::from_utf8(event).unwrap_or_default())
    }
}

impl Wire for EventStream {
    fn hear(&mut self) -> BoxFuture<'_, Heard> {
        Box::pin(async {
            loop {
                if let Some(event) = self.event() {
                    return heard(&event);
                }
                match self.body.frame().await {
                    Some(Ok(frame)) => {
                        let read = frame.into_data().unwrap_or_default();
                        if self.unread.len() + read.len() > LARGEST {
                            return Heard::Broken("an event does not end".to_owned());
                        }
                        self.unread.extend_from_slice(&read);
                    }
                    Some(Err(error)) => {
                        return Heard::Broken(format!("the connection broke: {error}"));
                    }
                    None => {
                        return Heard::Broken("the stream ended without a word".to_owned());
                    }
                }
            }
        })
    }

    fn farewell(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// What an event says: its data, which may have come in several lines.
fn heard(event: &str) -> Heard {
    let data = event.lines().filter_map(|line| line.strip_prefix("data:"));
    let data: Vec<&str> = data
        .map(|data| data.strip_prefix(' ').unwrap_or(data))
        .collect();
    if data.is_empty() {
        return Heard::Life;
    }
    let data = data.join("\n");
    if event.lines().any(|line| line == "event: close") {
        let frame: Value = serde_json::from_str(&data).unwrap_or_default();
        let part = |name| frame.get("data").and_then(|data| data.get(name));
        let code = part("code").and_then(Value::as_u64).unwrap_or_default();
        let reason = part("reason").and_then(Value::as_str).unwrap_or_default();
        return Heard::Closed(u16::try_from(code).unwrap_or_default(), reason.to_owned());
    }
    Heard::Frame(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_data_are_one_frame_and_comments_are_signs_of_life() {
        let frame = |event| match heard(event) {
            Heard::Frame(frame) => Some(frame),
            _ => None,
        };
        let event = "id: x\ndata: {\"a\":\ndata: 1}";
        assert_eq!(frame(event), Some("{\"a\":\n1}".to_owned()));
        assert!(matches!(heard(":"), Heard::Life));
        assert!(matches!(heard("retry: 2000"), Heard::Life));
        let close = "event: close\ndata: {\"data\":{\"code\":4003,\"reason\":\"enough\"}}";
        assert!(matches!(heard(close), Heard::Closed(4003, reason) if reason == "enough"));
    }
}
