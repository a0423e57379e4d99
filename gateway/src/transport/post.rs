//! A frame that came by itself, in an HTTP request: dealt with like a frame of a session, and answered by what a session
//! would have heard about it.
//!
//! For the time of the request it has a connection of its own, which only what concerns the frame can reach: nothing is
//! delivered to it, nobody sees it online, and it counts as nobody's session. The request is answered with the first frame
//! of the gateway, or when everything that could still have said something has said nothing.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Response, StatusCode};
use bytes::BytesMut;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::events::Posted;
use super::pipe::{PipeReader, pipe};
use super::{Connection, Socket, extended, reader};
use crate::hub::{Later, Shard, unix_millis};
use crate::protocol::{ErrorCode, SessionId};

/// How long the request waits for a word about its frame.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Deals with the frame and completes the answer to its request.
pub(super) async fn answer(
    shard: &Rc<Shard>,
    peer: SocketAddr,
    posted: Posted,
    response: &mut Response<Body>,
) {
    let (writer, said) = pipe();
    let connection = shard.ask(Socket::Pipe(writer), peer);
    let asked = Asked { shard, connection };
    let heard = timeout(PATIENCE, asked.hear(posted, &said)).await;
    let (status, body) = match heard {
        Ok(Some(heard)) => (heard.status(), heard.frame),
        Ok(None) => (StatusCode::NO_CONTENT, Bytes::new()),
        Err(_) => (StatusCode::ACCEPTED, Bytes::new()),
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // The length was that of a body that the answer did not have yet.
    headers.remove(CONTENT_LENGTH);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if !body.is_empty() {
        let json = HeaderValue::from_static("application/json");
        headers.insert(CONTENT_TYPE, json);
    }
    *response.body_mut() = Body::from(body);
}

/// The connection of the request, until the request is answered.
struct Asked<'a> {
    shard: &'a Rc<Shard>,
    connection: Rc<Connection>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.shard.answered(&self.connection);
    }
}

impl Asked<'_> {
    /// The first frame that is said about it; nothing, when there is nothing to say.
    async fn hear(&self, posted: Posted, said: &PipeReader) -> Option<Answer> {
        let take = async {
            self.take(posted).await;
            // Whoever may still have something to say keeps the question open; the rest is over.
            self.connection.asked_all();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            heard = first_frame(said) => heard,
            () = take => None,
        }
    }

    async fn take(&self, posted: Posted) {
        let Self { shard, connection } = self;
        let Posted {
            mut identity,
            frame,
            address: _,
        } = posted;
        let session = SessionId::generate();
        if shard.context().service.concerns_clients() {
            let admitted = extended::admit(shard, connection, identity, session).await;
            let Some(admitted) = admitted else {
                return;
            };
            // It is in its groups by its stream: what is posted joins none.
            connection.set_client(admitted.client);
            identity = admitted.identity;
        }
        let policy = shard.settings().overflow(&identity.user_type);
        connection.set_session(session, identity, policy, unix_millis());
        let mut later = Later::default();
        match std::str::from_utf8(&frame) {
            Ok(text) => reader::take_text(shard, connection, text, &mut later),
            Err(_) => reader::refuse(shard, connection, &not_text()),
        }
        reader::settle(shard, connection, &mut later).await;
    }
}

fn not_text() -> crate::protocol::json::Refusal {
    crate::protocol::json::Refusal {
        code: ErrorCode::BadFrame,
        message: "the body is not UTF-8".to_owned(),
        ref_id: None,
    }
}

/// A frame of the gateway that answers a request.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    frame: Bytes,
    /// What its `code` says, where it is an error.
    code: Option<String>,
}

impl Answer {
    fn status(&self) -> StatusCode {
        let Some(code) = self.code.as_deref() else {
            return StatusCode::OK;
        };
        let known = ErrorCode::ALL
            .into_iter()
            .find(|known| known.as_str() == code);
        known.map_or(StatusCode::INTERNAL_SERVER_ERROR, status)
    }
}

/// The first frame that comes, which may be longer than what the pipe holds at a time; what follows it is let go.
async fn first_frame(said: &PipeReader) -> Option<Answer> {
    let mut heard = BytesMut::new();
    while let Some(more) = said.read().await {
        heard.extend_from_slice(&more);
        if let Some(answer) = first_of(&heard) {
            return Some(answer);
        }
    }
    None
}

fn first_of(heard: &[u8]) -> Option<Answer> {
    #[derive(Deserialize)]
    struct Frame {
        code: Option<String>,
    }
    let mut frames = serde_json::Deserializer::from_slice(heard).into_iter::<&RawValue>();
    let text = frames.next()?.ok()?.get();
    let code = serde_json::from_str::<Frame>(text).ok()?.code;
    Some(Answer {
        frame: Bytes::copy_from_slice(text.as_bytes()),
        code,
    })
}

/// The HTTP status of an error frame.
const fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadFrame | ErrorCode::BadTarget => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden | ErrorCode::Rejected => StatusCode::FORBIDDEN,
        ErrorCode::Offline | ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Exists | ErrorCode::LimitReached => StatusCode::CONFLICT,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::NotSupported => StatusCode::NOT_IMPLEMENTED,
        ErrorCode::Unavailable | ErrorCode::Busy => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::super::pipe::PIPE_MAX;
    use super::*;
    use crate::protocol::Disconnect;

    #[tokio::test]
    async fn an_answer_longer_than_the_pipe_is_heard_whole() {
        let (writer, reader) = pipe();
        let long = format!(
            r#"{{"type":"result","data":"{}"}}"#,
            "x".repeat(3 * PIPE_MAX)
        );
        let write = async {
            let mut rest = long.as_bytes();
            while !rest.is_empty() {
                writer.writable().await.unwrap();
                rest = &rest[writer.try_write(rest).unwrap()..];
            }
        };
        let (heard, ()) = tokio::join!(first_frame(&reader), write);
        let heard = heard.unwrap();
        assert_eq!(
            (heard.status(), &heard.frame[..]),
            (StatusCode::OK, long.as_bytes())
        );
    }

    #[tokio::test]
    async fn the_first_of_several_frames_is_the_answer_and_an_end_is_none() {
        let (writer, reader) = pipe();
        let frames = br#"{"type":"error","code":"busy"}{"type":"receipt"}"#;
        writer.try_write(frames).unwrap();
        let heard = first_frame(&reader).await.unwrap();
        assert_eq!(heard.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(heard.frame, r#"{"type":"error","code":"busy"}"#);
        writer.end(Disconnect::Drain);
        assert_eq!(first_frame(&reader).await, None);
    }
}
