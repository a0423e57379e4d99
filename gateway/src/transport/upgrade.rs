//! The upgrade request: everything that is judged before the answer 101.
//!
//! A plain axum handler that knows no socket: middleware goes around it as around any other. Its answer carries
//! [`Accepted`], by which the shard that owns the socket knows that the switch is agreed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::header::{
    CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::refusal::Refused;
use crate::hub::Hub;
use crate::protocol::Resume;
use crate::protocol::json::SUBPROTOCOL;
use crate::security::{
    BEARER_SUBPROTOCOL, Identity, identity_from_query, subprotocols, token_from_request,
};
use crate::settings::Settings;

/// What was agreed in the handshake; an extension of the answer 101.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Who it is; `None`: the first frame must say so.
    pub identity: Option<Identity>,
    /// Where the client says it was in the logs it followed.
    pub resume: Option<Resume>,
}

/// What the handler judges by.
#[derive(Clone)]
pub struct UpgradeState {
    /// Rules, as they are now.
    pub settings: Arc<ArcSwap<Settings>>,
    /// For the number of connections.
    pub hub: Arc<Hub>,
    /// The node is leaving.
    pub draining: Arc<AtomicBool>,
}

/// The routes of the WebSocket listener.
pub fn upgrade_router(state: UpgradeState) -> Router {
    let path = state.settings.load().path.clone();
    Router::new()
        .route(&path, get(upgrade))
        .fallback(not_found)
        .with_state(state)
}

async fn not_found() -> Response {
    let body = serde_json::json!({"error": {"code": "not_found", "message": "there is nothing at this path"}});
    (StatusCode::NOT_FOUND, axum::Json(body)).into_response()
}

async fn upgrade(State(state): State<UpgradeState>, uri: Uri, headers: HeaderMap) -> Response {
    match judge(&state, &uri, &headers) {
        Ok((accepted, protocol)) => switch(&headers, accepted, protocol),
        Err(refused) => refused.into_response(),
    }
}

fn judge(
    state: &UpgradeState,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(Accepted, Option<&'static str>), Refused> {
    check_handshake(headers)?;
    let settings = state.settings.load();
    let origin = text(headers, ORIGIN).map_err(|()| Refused::Origin)?;
    if !settings
        .origins
        .allows(origin, text(headers, HOST).unwrap_or_default())
    {
        return Err(Refused::Origin);
    }
    if state.draining.load(Relaxed) {
        return Err(Refused::Draining);
    }
    // Handshakes that agree at the same moment may exceed it by their number; silent sockets take nobody's room.
    if state.hub.connections() >= settings.max_connections {
        return Err(Refused::Full);
    }
    let protocol = negotiate(headers)?;
    Ok((
        Accepted {
            identity: identify(&settings, uri, headers)?,
            resume: resume_from_query(uri)?,
        },
        protocol,
    ))
}

/// RFC 6455 §4.2.1.
fn check_handshake(headers: &HeaderMap) -> Result<(), Refused> {
    let bad = |what: &str| Err(Refused::BadRequest(what.to_owned()));
    if !has_word(headers, &CONNECTION, "upgrade") || !has_word(headers, &UPGRADE, "websocket") {
        return bad(
            "a WebSocket handshake is expected here: Connection: Upgrade and Upgrade: websocket",
        );
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(Refused::Version);
    }
    match headers.get(SEC_WEBSOCKET_KEY) {
        // 16 bytes in base64.
        Some(key) if key.len() == 24 && key.as_bytes().ends_with(b"==") => Ok(()),
        Some(_) => bad("Sec-WebSocket-Key: expected 16 bytes in base64"),
        None => bad("Sec-WebSocket-Key is missing"),
    }
}

/// The subprotocol to answer with. None offered: JSON, unnamed. A token among the offers is not a protocol.
fn negotiate(headers: &HeaderMap) -> Result<Option<&'static str>, Refused> {
    let mut offered = subprotocols(headers)
        .filter(|name| !name.starts_with(BEARER_SUBPROTOCOL))
        .peekable();
    if offered.peek().is_none() {
        return Ok(None);
    }
    if offered.any(|name| name == SUBPROTOCOL) {
        Ok(Some(SUBPROTOCOL))
    } else {
        Err(Refused::BadRequest(format!(
            "Sec-WebSocket-Protocol: only {SUBPROTOCOL} is spoken here"
        )))
    }
}

fn identify(
    settings: &Settings,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Option<Identity>, Refused> {
    if settings.echo {
        return Ok(None);
    }
    let Some(verifier) = &settings.verifier else {
        let identity = identity_from_query(uri, &settings.user_types);
        return identity
            .map(Some)
            .map_err(|error| Refused::BadRequest(error.to_string()));
    };
    let token = token_from_request(headers, uri, settings.query_token)
        .map_err(|error| Refused::Unauthenticated(error.to_string()))?;
    let identity = token
        .map(|token| verifier.verify(token.as_str()))
        .transpose();
    identity.map_err(|error| Refused::Unauthenticated(error.to_string()))
}

/// `resume` of the query: a JSON object, percent-encoded.
fn resume_from_query(uri: &Uri) -> Result<Option<Resume>, Refused> {
    #[derive(serde::Deserialize)]
    struct Asked {
        resume: Option<String>,
    }
    let bad = |problem: String| Refused::BadRequest(format!("resume: {problem}"));
    let asked = Query::<Asked>::try_from_uri(uri).map_err(|error| bad(error.to_string()))?;
    let resume = asked.0.resume.map(|json| Resume::parse(&json)).transpose();
    resume.map_err(|error| bad(error.to_string()))
}

fn switch(headers: &HeaderMap, accepted: Accepted, protocol: Option<&'static str>) -> Response {
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let answer = response.headers_mut();
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_bytes(wsc_wire::accept_key(key).as_ref()) {
        answer.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = protocol {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    response.extensions_mut().insert(accepted);
    response
}

fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(word))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, ()> {
    headers
        .get(name)
        .map(|value| value.to_str().map_err(|_| ()))
        .transpose()
}
