//! Server-Sent Events over HTTP: the request that opens a stream, and the requests by which its client speaks.
//!
//! Plain axum handlers like `upgrade`'s, with the same judgement. What was judged good leaves as an extension of the
//! answer: [`Accepted`] for a stream, [`Posted`] for a frame; the shard that owns the socket does the rest. Pages of other
//! origins need CORS for both, and get it where `wsc.websocketOrigins` lets them in.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE, ORIGIN,
    VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use axum::{Extension, Router};

use super::refusal::Refused;
use super::upgrade::{
    Accepted, UpgradeState, identify, judge_origin, judge_room, resume_from_query, room,
};
use crate::admission::ClientAddress;
use crate::protocol::{Codec, Resume};
use crate::security::Identity;

/// Where a client says it was: what the `id:` of the last event said.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A client's frame that came by itself; an extension of the answer to it.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    /// Who sent it.
    pub(super) identity: Identity,
    /// The frame, not yet looked at.
    pub(super) frame: Bytes,
    /// Where it comes from, as far as anybody trusted says.
    pub(super) address: IpAddr,
}

/// The routes of event streams.
pub(super) fn routes(state: &Arc<UpgradeState>) -> Router<Arc<UpgradeState>> {
    let settings = state.settings.load();
    let path = &settings.sse.path;
    let messages = format!("{}/messages", path.trim_end_matches('/'));
    Router::new()
        .route(path, any(open))
        // Our own limit has a body that says so.
        .route(&messages, any(say).layer(DefaultBodyLimit::disable()))
        .layer(from_fn_with_state(Arc::clone(state), share))
}

/// Lets pages of allowed origins read the answer, whatever it is.
async fn share(State(state): State<Arc<UpgradeState>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let allowed = judge_origin(&state.settings.load(), request.headers()).is_ok();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin.filter(|_| allowed) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let shown = HeaderValue::from_static("retry-after");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, shown);
    }
    response
}

async fn open(
    State(state): State<Arc<UpgradeState>>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let judged = match method {
        Method::GET => judge(&state, address, (&uri, &headers)).await.map(stream),
        Method::OPTIONS => preflight(&state, &headers),
        _ => Err(Refused::Method("GET, OPTIONS")),
    };
    judged.unwrap_or_else(Refused::into_response)
}

async fn judge(
    state: &UpgradeState,
    address: IpAddr,
    (uri, headers): (&Uri, &HeaderMap),
) -> Result<Accepted, Refused> {
    let settings = state.settings.load_full();
    judge_origin(&settings, headers)?;
    let place = judge_room(state, &settings, address)?;
    let identity = known(identify(state, (&settings, address), (uri, headers)).await?)?;
    let resume = match headers.get(LAST_EVENT_ID) {
        // It is newer than what the address says: a browser comes back to the same address.
        Some(id) if !id.is_empty() => Some(resume_from_id(id)?),
        _ => resume_from_query(uri)?,
    };
    let accepted = Accepted {
        identity: Some(identity),
        resume,
        codec: Codec::sse(),
        address,
        place: Arc::new(place),
    };
    room(state, &accepted).await?;
    Ok(accepted)
}

/// Nobody can say later who it is: a stream goes one way.
fn known(identity: Option<Identity>) -> Result<Identity, Refused> {
    identity.ok_or_else(|| {
        Refused::Unauthenticated("no token: send `Authorization: Bearer TOKEN`".to_owned())
    })
}

fn resume_from_id(id: &HeaderValue) -> Result<Resume, Refused> {
    let bad = |problem: String| Refused::BadRequest(format!("Last-Event-ID: {problem}"));
    let id = std::str::from_utf8(id.as_bytes()).map_err(|error| bad(error.to_string()))?;
    Resume::parse(id).map_err(|error| bad(error.to_string()))
}

fn stream(accepted: Accepted) -> Response {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx holds answers back otherwise.
    let buffering = HeaderName::from_static("x-accel-buffering");
    headers.insert(buffering, HeaderValue::from_static("no"));
    response.extensions_mut().insert(accepted);
    response
}

async fn say(
    State(state): State<Arc<UpgradeState>>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    request: Request,
) -> Response {
    let judged = match *request.method() {
        Method::POST => take(&state, address, request).await,
        Method::OPTIONS => preflight(&state, request.headers()),
        _ => Err(Refused::Method("POST, OPTIONS")),
    };
    judged.unwrap_or_else(Refused::into_response)
}

async fn take(
    state: &UpgradeState,
    address: IpAddr,
    request: Request,
) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    let settings = state.settings.load_full();
    judge_origin(&settings, &parts.headers)?;
    let identity =
        known(identify(state, (&settings, address), (&parts.uri, &parts.headers)).await?)?;
    let frame = axum::body::to_bytes(body, settings.max_message)
        .await
        .map_err(|_| Refused::TooLarge(settings.max_message))?;
    let mut response = StatusCode::OK.into_response();
    response.extensions_mut().insert(Posted {
        identity,
        frame,
        address,
    });
    Ok(response)
}

/// What a browser asks before it sends a token from a page of another origin.
fn preflight(state: &UpgradeState, headers: &HeaderMap) -> Result<Response, Refused> {
    judge_origin(&state.settings.load(), headers)?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let lines = [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, last-event-id",
        ),
        (ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    for (name, value) in lines {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
