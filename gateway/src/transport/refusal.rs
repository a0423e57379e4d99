//! Honest HTTP refusals of the listener for clients: a status, a JSON body that says what is wrong, and when to come back.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::admission::{Admission, Attempt, LockedOut, Turned};
use crate::hub::TurnedAway;
use crate::security::AddressRefusal;

/// Why a client's request is refused.
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
    /// Nobody from this address is let in.
    #[error(transparent)]
    Address(AddressRefusal),
    /// There were too many failures.
    #[error(transparent)]
    LockedOut(#[from] LockedOut),
    /// There are too many connections from this address.
    #[error("there are too many connections from this address")]
    Crowded,
    /// The user has as many sessions as are allowed.
    #[error("the user has as many sessions as are allowed")]
    TooManySessions,
    /// There is nothing at that path.
    #[error("there is nothing at this path")]
    NotFound,
    /// The path has no such method.
    #[error("only {0} is answered here")]
    Method(&'static str),
    /// The frame in the body is larger than this gateway takes.
    #[error("the frame is larger than {0} bytes (wsc.security.maxMessageSize)")]
    TooLarge(usize),
    /// The node is full.
    #[error("this node has no room for more connections")]
    Full,
    /// The node has too little memory left.
    #[error("this node has no memory for more connections")]
    Memory,
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
            Self::Address(_) | Self::Origin => StatusCode::FORBIDDEN,
            Self::LockedOut(_) | Self::Crowded | Self::TooManySessions => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Full | Self::Memory | Self::Draining | Self::NoKeys => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// Why, without the particulars.
    pub(super) const fn why(&self) -> TurnedAway {
        match self {
            Self::BadRequest(_) => TurnedAway::BadRequest,
            Self::Version => TurnedAway::Version,
            Self::Unauthenticated(_) => TurnedAway::Unauthenticated,
            Self::NoKeys => TurnedAway::NoKeys,
            Self::Origin => TurnedAway::Origin,
            Self::Address(_) => TurnedAway::Address,
            Self::LockedOut(_) => TurnedAway::LockedOut,
            Self::Crowded => TurnedAway::Crowded,
            Self::TooManySessions => TurnedAway::TooManySessions,
            Self::NotFound => TurnedAway::NotFound,
            Self::Method(_) => TurnedAway::Method,
            Self::TooLarge(_) => TurnedAway::TooLarge,
            Self::Full => TurnedAway::Full,
            Self::Memory => TurnedAway::Memory,
            Self::Draining => TurnedAway::Draining,
        }
    }

    /// The word for it.
    pub(super) const fn code(&self) -> &'static str {
        self.why().as_str()
    }
}

impl Refused {
    /// The seconds after which it may be otherwise.
    pub(super) fn retry_after(&self) -> Option<HeaderValue> {
        match self {
            Self::Full
            | Self::Memory
            | Self::Draining
            | Self::NoKeys
            | Self::Crowded
            | Self::TooManySessions => Some(RETRY_AFTER),
            Self::LockedOut(LockedOut(left)) => Some(HeaderValue::from(left.as_secs() + 1)),
            Self::BadRequest(_)
            | Self::Version
            | Self::Unauthenticated(_)
            | Self::Origin
            | Self::Address(_)
            | Self::NotFound
            | Self::Method(_)
            | Self::TooLarge(_) => None,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = serde_json::json!({"error": {"code": self.code(), "message": self.to_string()}});
        let mut response = (self.status(), axum::Json(body)).into_response();
        // Whoever answers counts it.
        response.extensions_mut().insert(self.why());
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, after);
        }
        match self {
            Self::Version => {
                headers.insert(
                    header::SEC_WEBSOCKET_VERSION,
                    HeaderValue::from_static("13"),
                );
            }
            Self::Unauthenticated(_) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Method(allowed) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
            }
            Self::BadRequest(_)
            | Self::Origin
            | Self::Address(_)
            | Self::NotFound
            | Self::TooLarge(_)
            | Self::Full
            | Self::Memory
            | Self::Draining
            | Self::NoKeys
            | Self::Crowded
            | Self::TooManySessions
            | Self::LockedOut(_) => {}
        }
        response
    }
}

impl From<Turned> for Refused {
    fn from(turned: Turned) -> Self {
        match turned {
            Turned::Forwarded(error) => Self::BadRequest(error.to_string()),
            Turned::Address(refusal) => Self::Address(refusal),
            Turned::LockedOut(locked) => Self::LockedOut(locked),
        }
    }
}

/// Turns a request away by where it comes from, or notes that on it. Goes around everything else.
pub(super) async fn gate(
    State(admission): State<Admission>,
    mut request: Request,
    next: Next,
) -> Response {
    match admission.judge(request.extensions(), request.headers(), Attempt::Token) {
        Ok(address) => {
            request.extensions_mut().insert(address);
            next.run(request).await
        }
        Err(turned) => Refused::from(turned).into_response(),
    }
}
