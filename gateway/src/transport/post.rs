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
use serde::Deserialize;
use tokio::time::timeout;

use super::events::Posted;
use super::pipe::{PipeReader, pipe};
use super::{Connection, Socket, extended, reader};
use crate::hub::{Later, Shard, unix_millis};
use crate::protocol::{ErrorCode, SessionId};

/// How long the request waits for a word about its frame.
const PATIENCE: Duration = Duration::from_secs(5);

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
        Ok(heard) => told(heard.as_deref()),
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
    /// The first thing that is said about the frame; nothing, when there is nothing to say.
    async fn hear(&self, posted: Posted, said: &PipeReader) -> Option<Bytes> {
        let take = async {
            self.take(posted).await;
            // Whoever may still have something to say keeps the question open; the rest is over.
            self.connection.asked_all();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            heard = said.read() => heard,
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
            let Some((client, granted)) = admitted else {
                return;
            };
            connection.set_client(client);
            identity = granted;
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

/// The answer that a frame of the gateway makes.
fn told(heard: Option<&[u8]>) -> (StatusCode, Bytes) {
    #[derive(Deserialize)]
    struct Frame<'a> {
        #[serde(borrow)]
        code: Option<std::borrow::Cow<'a, str>>,
    }
    // The pipe may have more than one frame by now; the first is the answer.
    let mut frames = heard.iter().flat_map(|heard| {
        serde_json::Deserializer::from_slice(heard).into_iter::<&serde_json::value::RawValue>()
    });
    let Some(Ok(frame)) = frames.next() else {
        return (StatusCode::NO_CONTENT, Bytes::new());
    };
    let code = serde_json::from_str::<Frame<'_>>(frame.get())
        .ok()
        .and_then(|frame| frame.code);
    let status = match code {
        None => StatusCode::OK,
        Some(code) => ErrorCode::ALL
            .into_iter()
            .find(|known| known.as_str() == code)
            .map_or(StatusCode::INTERNAL_SERVER_ERROR, status),
    };
    (status, Bytes::copy_from_slice(frame.get().as_bytes()))
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
