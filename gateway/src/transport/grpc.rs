//! Sessions over gRPC: the call that opens a stream, judged as the handshake of a WebSocket is.
//!
//! A plain axum handler on the listener of the gRPC API, outside of that API's key. What it takes goes to a shard as a
//! [`Stream`]; the answer is a body that the shard writes into ([`body`]), with a status at its end. What comes from the
//! client is read by the shard's task ([`stream`]), one message at a time, so that HTTP/2's flow control slows the sender.

mod body;
mod status;
mod stream;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse as _;
use axum::routing::any;
use tokio::time::{Instant, timeout};
use tonic::Status;
use tonic::codec::Streaming;

use super::pipe::pipe;
use super::refusal::Refused;
use super::upgrade::{Accepted, UpgradeState, identify, judge_origin, judge_room, room, text};
use super::{Carrier, ws};
use crate::admission::{Attempt, ClientAddress};
use crate::hub::{Command, TurnedAway};
use crate::protocol::{Codec, Resume};
use crate::security::{Identity, identity_of};
use crate::settings::Settings;
use crate::telemetry::Limit;

use self::body::SessionBody;
use self::stream::Whole;
pub use self::stream::{Stream, accept};

/// The one method.
const OPEN: &str = "/wsc.v1.Sessions/Open";
/// Where a client says it was.
const RESUME: HeaderName = HeaderName::from_static("wsc-resume");
/// Who the client is, where tokens are not checked.
const USER_ID: HeaderName = HeaderName::from_static("wsc-user-id");
const USER_TYPE: HeaderName = HeaderName::from_static("wsc-user-type");

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// The route of sessions, with what the application put around handshakes around it too.
pub fn session_router(state: UpgradeState, around: impl FnOnce(Router) -> Router) -> Router {
    let state = Arc::new(state);
    let route = Router::new()
        .route(OPEN, any(open))
        .with_state(state.clone());
    around(route).layer(from_fn_with_state(state, in_time))
}

/// The same where `wsc.enabled` is false.
pub fn no_sessions() -> Router {
    let off = || async {
        Status::unimplemented("sessions are off here (wsc.enabled)").into_http::<Body>()
    };
    Router::new().route(OPEN, any(off))
}

/// Has the call answered within the time of a handshake, the application's part of it included.
async fn in_time(
    State(state): State<Arc<UpgradeState>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let limit = state.settings.load().handshake_timeout;
    let answered = timeout(limit, next.run(request)).await;
    answered.unwrap_or_else(|_| {
        state.admission.met(Limit::HandshakeTime);
        count(&state, TurnedAway::Late);
        let late = "who the client is was not found out in time, try again later";
        Status::unavailable(late).into_http()
    })
}

fn count(state: &UpgradeState, why: TurnedAway) {
    if let Some((_, shard)) = state.hub.least_loaded() {
        shard.stats().count_refused(why);
    }
}

async fn open(State(state): State<Arc<UpgradeState>>, request: Request) -> Response<Body> {
    let refused = match take(&state, request).await {
        Ok(response) => return response,
        Err(refused) => refused,
    };
    count(&state, refused.why());
    refused.to_grpc().into_http()
}

async fn take(state: &UpgradeState, request: Request) -> Result<Response<Body>, Refused> {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let judged = state
        .admission
        .judge(&parts.extensions, &parts.headers, Attempt::Token);
    let ClientAddress(address) = judged?;
    check_call(&parts.headers)?;
    let _handshake = state.admission.handshake(address).ok_or(Refused::Crowded)?;
    let settings = state.settings.load_full();
    judge_origin(&settings, &parts.headers)?;
    let place = judge_room(state, &settings, address)?;
    let carrier = parts.extensions.get::<Arc<Carrier>>();
    let carrier = carrier.ok_or_else(|| Refused::BadRequest("not by gRPC".to_owned()))?;
    let accepted = Accepted {
        identity: judge(state, (&settings, address), &parts).await?,
        resume: resume(&parts.headers)?,
        codec: Codec::grpc(),
        address,
        place: Arc::new(place),
    };
    room(state, &accepted).await?;
    let (heard, answer) = pipe();
    let peer = carrier.peer().unwrap_or(SocketAddr::new(address, 0));
    let stream = Stream {
        client: ws::client(address, peer),
        accepted,
        said: Streaming::new_request(Whole, body, None, Some(settings.max_message)),
        heard,
        carried: carrier.carry(),
        began,
    };
    let (shard, _) = state.hub.least_loaded().ok_or(Refused::Full)?;
    let begin = Command::Begin(Box::new(stream));
    state
        .hub
        .try_post(shard, begin)
        .map_err(|_| Refused::Full)?;
    let mut response = Body::new(SessionBody::new(answer)).into_response();
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    Ok(response)
}

/// Whether this is a call that can be answered.
fn check_call(headers: &HeaderMap) -> Result<(), Refused> {
    let bad = |what: &str| Err(Refused::BadRequest(what.to_owned()));
    let kind = headers.get(header::CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc {
        return bad("content-type: expected application/grpc");
    }
    match headers.get("grpc-encoding") {
        Some(encoding) if encoding != "identity" => {
            bad("grpc-encoding: only identity is taken here")
        }
        Some(_) | None => Ok(()),
    }
}

async fn judge(
    state: &UpgradeState,
    (settings, address): (&Settings, IpAddr),
    parts: &axum::http::request::Parts,
) -> Result<Option<Identity>, Refused> {
    let headers = &parts.headers;
    if settings.verifier.is_some() || settings.echo {
        return identify(state, (settings, address), (&parts.uri, headers)).await;
    }
    let bad = |name: HeaderName| Refused::BadRequest(format!("{name}: not text"));
    let user = text(headers, USER_ID).map_err(|()| bad(USER_ID))?;
    let user_type = text(headers, USER_TYPE).map_err(|()| bad(USER_TYPE))?;
    identity_of(user, user_type, &settings.user_types)
        .map(Some)
        .map_err(|error| Refused::BadRequest(format!("metadata: {error}")))
}

fn resume(headers: &HeaderMap) -> Result<Option<Resume>, Refused> {
    let bad = |problem: String| Refused::BadRequest(format!("{RESUME}: {problem}"));
    let json = text(headers, RESUME).map_err(|()| bad("not text".to_owned()))?;
    let resume = json.map(Resume::parse).transpose();
    resume.map_err(|error| bad(error.to_string()))
}
