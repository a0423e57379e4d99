//! `Fault`: why a call was not done, before a skin gives it its wire form.
//!
//! One closed list of codes for both skins, each with its HTTP status, its gRPC status and its metric label, so that the
//! two cannot drift apart. The text is for the caller; causes inside the gateway go to the log.

use std::time::Duration;

use axum::http::StatusCode;
use tonic::Code;

use super::service::ServiceError;
use crate::admission::{LockedOut, Turned};
use crate::protocol::ErrorCode;
use crate::security::ApiKeyError;
use crate::telemetry::ApiOutcome;

/// What the body's `code` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultCode {
    /// What was asked for is wrong.
    BadRequest,
    /// No key, or a wrong one.
    Unauthenticated,
    /// Callers from this address are not let in.
    Address,
    /// Too many wrong keys came from this address.
    LockedOut,
    /// There is no such path.
    NotFound,
    /// The path has no such method.
    MethodNotAllowed,
    /// What the call is about does not exist.
    Missing,
    /// What the call would make exists.
    Exists,
    /// There may be no more of it.
    LimitReached,
    /// As things stand now, it cannot be.
    Rejected,
    /// Whoever it is said to be done by may not do it.
    Forbidden,
    /// The feature is off in this gateway's configuration.
    NotSupported,
    /// The body is larger than this gateway takes.
    TooLarge,
    /// The body is not said to be JSON.
    UnsupportedMediaType,
    /// A queue is full.
    Busy,
    /// The cluster cannot be reached, or this gateway has no key.
    Unavailable,
    /// Not done in time.
    Deadline,
    /// A defect.
    Internal,
}

impl FaultCode {
    /// The word in the body.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthenticated => "unauthenticated",
            Self::Address => "address",
            Self::LockedOut => "locked_out",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Missing => "missing",
            Self::Exists => "exists",
            Self::LimitReached => "limit_reached",
            Self::Rejected => "rejected",
            Self::Forbidden => "forbidden",
            Self::NotSupported => "not_supported",
            Self::TooLarge => "too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Deadline => "deadline",
            Self::Internal => "internal",
        }
    }

    pub(super) const fn http(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::NotFound | Self::Missing => StatusCode::NOT_FOUND,
            Self::Exists | Self::LimitReached | Self::Rejected => StatusCode::CONFLICT,
            Self::NotSupported => StatusCode::NOT_IMPLEMENTED,
            Self::Address | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Busy | Self::LockedOut => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable | Self::Deadline => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) const fn grpc(self) -> Code {
        match self {
            Self::BadRequest | Self::UnsupportedMediaType => Code::InvalidArgument,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::NotFound | Self::MethodNotAllowed | Self::NotSupported => Code::Unimplemented,
            Self::Missing => Code::NotFound,
            Self::Exists => Code::AlreadyExists,
            Self::LimitReached | Self::Rejected => Code::FailedPrecondition,
            Self::TooLarge | Self::Busy | Self::LockedOut => Code::ResourceExhausted,
            Self::Address | Self::Forbidden => Code::PermissionDenied,
            Self::Unavailable => Code::Unavailable,
            Self::Deadline => Code::DeadlineExceeded,
            Self::Internal => Code::Internal,
        }
    }

    pub(super) const fn outcome(self) -> ApiOutcome {
        match self {
            Self::BadRequest
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::Missing
            | Self::Exists
            | Self::LimitReached
            | Self::Rejected
            | Self::Forbidden
            | Self::NotSupported
            | Self::TooLarge
            | Self::UnsupportedMediaType => ApiOutcome::Invalid,
            Self::Unauthenticated | Self::Address | Self::LockedOut => ApiOutcome::Unauthenticated,
            Self::Busy => ApiOutcome::Busy,
            Self::Unavailable => ApiOutcome::Unavailable,
            Self::Deadline => ApiOutcome::Deadline,
            Self::Internal => ApiOutcome::Internal,
        }
    }
}

/// Why a call was not done.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: FaultCode,
    pub(super) message: String,
    /// The path of the wrong field in the request.
    pub(super) field: Option<String>,
    /// When it may go better, if that is known.
    pub(super) retry_after: Option<Duration>,
}

impl Fault {
    pub(super) fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
            retry_after: None,
        }
    }

    /// A wrong field, by its path in the request.
    pub(super) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            code: FaultCode::BadRequest,
            message: problem.into(),
            field: Some(field.into()),
            retry_after: None,
        }
    }
}

impl From<ServiceError> for Fault {
    fn from(error: ServiceError) -> Self {
        let code = error.code();
        let message = error.to_string();
        match error {
            ServiceError::Invalid { field, problem } => Self::field(field, problem),
            ServiceError::Cluster { source, .. } => {
                tracing::debug!(error = %source, "an API call did not reach the cluster");
                let busy = code == ErrorCode::Busy;
                Self::new(
                    if busy {
                        FaultCode::Busy
                    } else {
                        FaultCode::Unavailable
                    },
                    message,
                )
            }
        }
    }
}

impl From<ApiKeyError> for Fault {
    fn from(error: ApiKeyError) -> Self {
        let code = match error {
            ApiKeyError::NotConfigured => FaultCode::Unavailable,
            ApiKeyError::Missing | ApiKeyError::Wrong | ApiKeyError::Length(_) => {
                FaultCode::Unauthenticated
            }
        };
        Self::new(code, error.to_string())
    }
}

impl From<Turned> for Fault {
    fn from(turned: Turned) -> Self {
        match turned {
            Turned::Forwarded(error) => Self::new(FaultCode::BadRequest, error.to_string()),
            Turned::Address(refusal) => Self::new(FaultCode::Address, refusal.to_string()),
            Turned::LockedOut(locked) => locked.into(),
        }
    }
}

impl From<LockedOut> for Fault {
    fn from(locked: LockedOut) -> Self {
        Self {
            retry_after: Some(locked.0),
            ..Self::new(FaultCode::LockedOut, locked.to_string())
        }
    }
}
