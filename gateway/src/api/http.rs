//! The HTTP skin: paths, bodies and statuses; the `OpenAPI` document is made from the same types.
//!
//! Each handler runs as one call of [`ApiContext`]: the key is judged before the body is read, and the deadline covers
//! both. Every answer is JSON, refusals too. Content passes through as the bytes it came in.

mod agents;
mod answer;
mod body;
mod error;
mod groups;
mod logs;
mod messages;
mod openapi;
mod records;
mod revocations;
mod sessions;
mod tickets;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};

pub use openapi::openapi_json;

use super::calls::ApiContext;
use super::fault::{Fault, FaultCode};
use super::traced::traced;

/// Every route, `/openapi.json` included.
pub fn http_router(context: ApiContext) -> Router {
    let document = openapi_json();
    let document = move || async move { ([(CONTENT_TYPE, "application/json")], document) };
    Router::new()
        .route("/v1/messages", post(messages::send))
        .route("/v1/broadcasts", post(messages::broadcast))
        .route("/v1/broadcasts/log", get(logs::broadcasts))
        .route("/v1/users/{user}/log", get(logs::inbox))
        .route("/v1/groups", post(groups::create))
        .route(
            "/v1/groups/{group}",
            get(groups::get).delete(groups::disband),
        )
        .route("/v1/groups/{group}/members", get(groups::members))
        .route(
            "/v1/groups/{group}/members/{user}",
            put(groups::add).delete(groups::remove),
        )
        .route("/v1/groups/{group}/messages", post(groups::send))
        .route("/v1/groups/{group}/log", get(logs::group))
        .route("/v1/users/{user}/groups", get(groups::of_user))
        .merge(desk())
        .route("/v1/records", get(records::list))
        .route("/v1/users/online", get(sessions::online))
        .route(
            "/v1/users/{user}/sessions",
            get(sessions::list).delete(sessions::kick_user),
        )
        .route("/v1/sessions/{id}", delete(sessions::kick_session))
        .route("/v1/revocations", post(revocations::revoke))
        .route("/v1/stats", get(sessions::stats))
        .route("/openapi.json", get(document))
        .method_not_allowed_fallback(no_method)
        .fallback(no_path)
        .layer(from_fn_with_state(context.clone(), gate))
        .layer(from_fn_with_state(context.clone(), traced))
        .with_state(context)
}

/// The routes of customer service.
fn desk() -> Router<ApiContext> {
    Router::new()
        .route("/v1/tickets", get(tickets::list).post(tickets::open))
        .route("/v1/tickets/{ticket}", get(tickets::get))
        .route("/v1/tickets/{ticket}/steps", get(tickets::steps))
        .route("/v1/tickets/{ticket}/log", get(logs::ticket))
        .route("/v1/tickets/{ticket}/assign", post(tickets::assign))
        .route("/v1/tickets/{ticket}/transfer", post(tickets::hand_on))
        .route("/v1/tickets/{ticket}/close", post(tickets::close))
        .route("/v1/tickets/{ticket}/messages", post(tickets::send))
        .route("/v1/agents", get(agents::list))
        .route("/v1/agents/{agent}", get(agents::get).put(agents::set))
        .route("/v1/queues", get(agents::queues))
}

/// Turns a request away by where it comes from, before anything else of it is looked at.
async fn gate(State(api): State<ApiContext>, request: Request, next: Next) -> Response {
    let (extensions, headers) = (request.extensions(), request.headers());
    let judged = api
        .admit(extensions, headers)
        .and_then(|address| api.knock(address, headers));
    match judged {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.into_response(),
    }
}

async fn no_path() -> Fault {
    let message = "there is no such path; /openapi.json lists them";
    Fault::new(FaultCode::NotFound, message)
}

async fn no_method() -> Fault {
    let message = "the path does not take this method; /openapi.json lists them";
    Fault::new(FaultCode::MethodNotAllowed, message)
}
