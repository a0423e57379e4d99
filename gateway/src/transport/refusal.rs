//! Honest HTTP refusals of the WebSocket listener: a status, a JSON body that says what is wrong, and when to come back.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Why an upgrade request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// Not a WebSocket handshake (RFC 6455 §4.2.1).
    #[error("{0}")]
    BadRequest(String),
    /// A version of WebSocket other than 13.
    #[error("Sec-WebSocket-Version: only 13 is spoken here")]
    Version,
    /// The token is missing where it cannot come later, or refused.
    #[error("{0}")]
    Unauthenticated(String),
    /// The keys that tokens are judged by are not known yet.
    #[error("this gateway could not read the keys of tokens yet, try again later")]
    NoKeys,
    /// The origin is not allowed.
    #[error("this origin is not allowed to connect")]
    Origin,
    /// The node is full.
    #[error("this node has no room for more connections")]
    Full,
    /// The node is leaving.
    #[error("this node is leaving, connect again to reach another")]
    Draining,
}

/// Seconds after which a refused client may find room.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

impl Refused {
    /// The status of the answer.
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::Full | Self::Draining | Self::NoKeys => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::Version => "websocket_version",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::NoKeys => "no_keys",
            Self::Origin => "origin",
            Self::Full => "full",
            Self::Draining => "draining",
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = serde_json::json!({"error": {"code": self.code(), "message": self.to_string()}});
        let mut response = (self.status(), axum::Json(body)).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Full | Self::Draining | Self::NoKeys => {
                _ = headers.insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            Self::Version => {
                headers.insert(
                    header::SEC_WEBSOCKET_VERSION,
                    HeaderValue::from_static("13"),
                );
            }
            Self::Unauthenticated(_) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::BadRequest(_) | Self::Origin => {}
        }
        response
    }
}
