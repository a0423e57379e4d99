//! A [`Fault`] as an HTTP answer: `{"error": {"code", "message", "field"}}`.

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

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
    /// `not_supported`, `too_large`, `unsupported_media_type`, `busy`, `unavailable`, `deadline`, `internal`.
    code: &'static str,
    /// For people.
    message: String,
    /// The path of the wrong field in the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

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
