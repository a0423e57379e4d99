//! The upgrade request: everything that is judged before the answer 101.
//!
//! A plain axum handler that knows no socket: middleware goes around it as around any other. Its answer carries
//! [`Accepted`], by which the shard that owns the socket knows that the switch is agreed. What holds for every transport
//! of this listener is judged in the same functions by `events`.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use arc_swap::ArcSwap;
use axum::extract::{Query, Request, State};
use axum::http::header::{
    CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};

use super::events;
use super::refusal::{self, Refused};
use crate::admission::{Admission, ClientAddress, Place};
use crate::cluster::Cluster;
use crate::hub::Hub;
use crate::protocol::{Codec, Codecs, Compression, Resume};
use crate::security::{
    BEARER_SUBPROTOCOL, Identity, Revocations, TokenError, identity_from_query, subprotocols,
    token_from_request,
};
use crate::settings::Settings;
use crate::telemetry::Instruments;

/// What was agreed in the handshake; an extension of the answer that begins the session: 101 on a WebSocket, 200 on an
/// event stream.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Who it is; `None`: the first frame must say so.
    pub identity: Option<Identity>,
    /// Where the client says it was in the logs it followed.
    pub resume: Option<Resume>,
    /// The form of its frames.
    pub codec: Codec,
    /// Where it comes from, as far as anybody trusted says.
    pub address: IpAddr,
    /// Its place among the connections of that address.
    pub place: Arc<Place>,
}

/// What the handler judges by.
#[derive(Clone)]
pub struct UpgradeState {
    /// Rules, as they are now.
    pub settings: Arc<ArcSwap<Settings>>,
    /// The tokens that are over before their time.
    pub revocations: Arc<Revocations>,
    /// Counts refused tokens.
    pub instruments: Instruments,
    /// The forms of frames that are spoken.
    pub codecs: Arc<Codecs>,
    /// Limits.
    pub admission: Admission,
    /// Where sessions on other nodes are counted.
    pub cluster: Cluster,
    /// For the number of connections.
    pub hub: Arc<Hub>,
    /// The node is leaving.
    pub draining: Arc<AtomicBool>,
}

/// The routes of the WebSocket listener.
pub(super) fn upgrade_router(state: Arc<UpgradeState>) -> Router {
    let path = state.settings.load().path.clone();
    let gate = from_fn_with_state(state.admission.clone(), refusal::gate);
    Router::new()
        .route(&path, get(upgrade).fallback(only_get))
        .merge(events::routes(&state))
        .fallback(not_found)
        .layer(gate)
        .with_state(state)
}

async fn not_found() -> Response {
    Refused::NotFound.into_response()
}

async fn only_get() -> Response {
    Refused::Method("GET").into_response()
}

async fn upgrade(
    State(state): State<Arc<UpgradeState>>,
    Extension(address): Extension<ClientAddress>,
    request: Request,
) -> Response {
    answer(&state, address, request.uri(), request.headers()).await
}

/// Answers a handshake that comes from this address.
pub(super) async fn answer(
    state: &UpgradeState,
    address: ClientAddress,
    uri: &Uri,
    headers: &HeaderMap,
) -> Response {
    match judge(state, address, uri, headers).await {
        Ok((accepted, agreed)) => match room(state, &accepted).await {
            Ok(()) => switch(headers, accepted, &agreed),
            Err(refused) => refused.into_response(),
        },
        Err(refused) => refused.into_response(),
    }
}

/// Whether the user may have one more session, where that can be told and refused already.
pub(super) async fn room(state: &UpgradeState, accepted: &Accepted) -> Result<(), Refused> {
    let Some(identity) = &accepted.identity else {
        return Ok(());
    };
    let (admission, user) = (&state.admission, &identity.user);
    if admission.would_refuse(&state.cluster, user).await {
        return Err(Refused::TooManySessions);
    }
    Ok(())
}

async fn judge(
    state: &UpgradeState,
    ClientAddress(address): ClientAddress,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(Accepted, Agreed), Refused> {
    check_handshake(headers)?;
    let settings = state.settings.load_full();
    judge_origin(&settings, headers)?;
    let place = judge_room(state, &settings, address)?;
    let (codec, protocol) = negotiate(&state.codecs, headers)?;
    let (compression, extensions) = compress(&settings, headers).unzip();
    let accepted = Accepted {
        identity: identify(state, (&settings, address), (uri, headers)).await?,
        resume: resume_from_query(uri)?,
        codec: codec.compressed(compression),
        address,
        place: Arc::new(place),
    };
    let agreed = Agreed {
        protocol,
        extensions,
    };
    Ok((accepted, agreed))
}

/// Whether the page that sends this request may: judged before anything else that it says.
pub(super) fn judge_origin(settings: &Settings, headers: &HeaderMap) -> Result<(), Refused> {
    let origin = text(headers, ORIGIN).map_err(|()| Refused::Origin)?;
    let host = text(headers, HOST).unwrap_or_default();
    if settings.origins.allows(origin, host) {
        Ok(())
    } else {
        Err(Refused::Origin)
    }
}

/// Whether this node takes one more session, over whatever transport.
pub(super) fn judge_room(
    state: &UpgradeState,
    settings: &Settings,
    address: IpAddr,
) -> Result<Place, Refused> {
    if state.draining.load(Relaxed) {
        return Err(Refused::Draining);
    }
    // Handshakes that agree at the same moment may exceed it by their number; silent sockets take nobody's room.
    if state.hub.connections() >= settings.max_connections {
        return Err(Refused::Full);
    }
    if !state.admission.has_memory() {
        return Err(Refused::Memory);
    }
    state.admission.connection(address).ok_or(Refused::Crowded)
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

/// What was agreed on in the handshake, for its answer.
struct Agreed {
    protocol: Option<&'static str>,
    extensions: Option<&'static str>,
}

/// The subprotocol to answer with, and its codec. None offered: JSON, unnamed. A token among the offers is not a
/// protocol. The client's first that is spoken wins.
fn negotiate(
    codecs: &Codecs,
    headers: &HeaderMap,
) -> Result<(Codec, Option<&'static str>), Refused> {
    let mut offered = subprotocols(headers)
        .filter(|name| !name.starts_with(BEARER_SUBPROTOCOL))
        .peekable();
    if offered.peek().is_none() {
        return Ok((Codec::default(), None));
    }
    match offered.find_map(|name| codecs.named(name)) {
        Some(codec) => Ok((codec, Some(codec.subprotocol()))),
        None => Err(Refused::BadRequest(format!(
            "Sec-WebSocket-Protocol: none of these is offered: {}",
            codecs.names()
        ))),
    }
}

/// permessage-deflate, if it is on and the client offers it in a way that can be kept.
fn compress(settings: &Settings, headers: &HeaderMap) -> Option<(Compression, &'static str)> {
    let level = settings.compression?;
    let offers = headers.get_all(SEC_WEBSOCKET_EXTENSIONS);
    let offers = offers.iter().filter_map(|value| value.to_str().ok());
    let agreed = wsc_wire::negotiate(offers)?;
    Some((Compression::new(level, agreed.window), agreed.answer()))
}

/// Who sends this request; `None`: it does not say.
pub(super) async fn identify(
    state: &UpgradeState,
    (settings, address): (&Settings, IpAddr),
    (uri, headers): (&Uri, &HeaderMap),
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
    let token = token_from_request(headers, uri, settings.query_token).map_err(|error| {
        state.instruments.token_refused(error.label());
        Refused::Unauthenticated(error.to_string())
    })?;
    let Some(token) = token else { return Ok(None) };
    state.admission.may_try_token(address, token.as_str())?;
    let judged = verifier.verify_anew(token.as_str()).await;
    let judged = judged.and_then(|identity| {
        let is_over = state.revocations.cover(&identity);
        if is_over {
            Err(TokenError::Revoked)
        } else {
            Ok(identity)
        }
    });
    state
        .admission
        .tried_token(address, token.as_str(), &judged);
    judged.map(Some).map_err(|error| {
        state.instruments.token_refused(error.label());
        match error {
            TokenError::NoKeys => Refused::NoKeys,
            error => Refused::Unauthenticated(error.to_string()),
        }
    })
}

/// `resume` of the query: a JSON object, percent-encoded.
pub(super) fn resume_from_query(uri: &Uri) -> Result<Option<Resume>, Refused> {
    #[derive(serde::Deserialize)]
    struct Asked {
        resume: Option<String>,
    }
    let bad = |problem: String| Refused::BadRequest(format!("resume: {problem}"));
    let asked = Query::<Asked>::try_from_uri(uri).map_err(|error| bad(error.to_string()))?;
    let resume = asked.0.resume.map(|json| Resume::parse(&json)).transpose();
    resume.map_err(|error| bad(error.to_string()))
}

fn switch(headers: &HeaderMap, accepted: Accepted, agreed: &Agreed) -> Response {
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
    if let Some(protocol) = agreed.protocol {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    if let Some(extensions) = agreed.extensions {
        let extensions = HeaderValue::from_static(extensions);
        answer.insert(SEC_WEBSOCKET_EXTENSIONS, extensions);
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

/// A header's value if it is text; an error if it is there and is not.
pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, ()> {
    headers
        .get(name)
        .map(|value| value.to_str().map_err(|_| ()))
        .transpose()
}
