//! A [`Fault`] as an HTTP answer: `{"error": {"code", "message", "field"}}`.

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use super::super::fault::Fault;

/// Why a call was not done.
#[derive(Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
struct ErrorDetail {
    /// One of `bad_request`, `unauthenticated`, `address`, `locked_out`, `not_found`, `method_not_allowed`, `missing`, `exists`, `limit_reached`,
    /// `rejected`, `forbidden`, `not_supported`, `too_large`, `unsupported_media_type`, `busy`, `unavailable`, `deadline`, `internal`.
    code: &'static str,
    /// For people.
    message: String,
    /// The path of the wrong field in the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

/// How any call may be refused. Like the lists below, only its description is used: each handler's names those that fit.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(super) enum Refused {
    /// Of the whole of it.
    #[response(status = 400, description = "The request is wrong; nothing was done")]
    Wrong(ErrorBody),
    /// Of the key.
    #[response(status = 401, description = "No key, or a wrong one")]
    Key(ErrorBody),
    /// Of the address, or of who it is said to be done by.
    #[response(status = 403, description = "Callers from this address are not let in")]
    Address(ErrorBody),
    /// Too much of something.
    #[response(
        status = 429,
        description = "A queue is full, or too many wrong keys came from this address: `Retry-After` says when to try again"
    )]
    Busy(ErrorBody),
    /// The store or the other nodes.
    #[response(
        status = 503,
        description = "It cannot be done now, or not in time: `Retry-After` says when to try again"
    )]
    Unavailable(ErrorBody),
}

/// How a call with a body may be refused beside.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(super) enum BodyRefused {
    /// Too much of it.
    #[response(status = 413, description = "The body is too large")]
    TooLarge(ErrorBody),
    /// What it is said to be.
    #[response(status = 415, description = "The body is not said to be JSON")]
    MediaType(ErrorBody),
}

/// What the call names does not exist.
#[derive(IntoResponses)]
#[response(status = 404, description = "What the path names does not exist")]
#[allow(dead_code)]
pub(super) struct Missing(ErrorBody);

/// As things are, it cannot be.
#[derive(IntoResponses)]
#[response(
    status = 409,
    description = "It exists, there may be no more, or as things stand it cannot be: `code` says which"
)]
#[allow(dead_code)]
pub(super) struct Conflict(ErrorBody);

/// The feature is off.
#[derive(IntoResponses)]
#[response(
    status = 501,
    description = "It is off here; the message names the key of the configuration"
)]
#[allow(dead_code)]
pub(super) struct Off(ErrorBody);

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = self.code.http();
        let error = ErrorDetail {
            code: self.code.as_str(),
            message: self.message,
            field: self.field,
        };
        let mut response = (status, Json(ErrorBody { error })).into_response();
        let headers = response.headers_mut();
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // A queue drains and a cluster comes back within a second or so.
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let seconds = self.retry_after.map_or(1, |left| left.as_secs() + 1);
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            _ => {}
        }
        response
    }
}
