//! `Refusal`: why there is no answer, and the `Status` object that says so.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::census::Unknown;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Nobody knows who asks.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// Who asks may not.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The question is none.
    #[error("{0}")]
    Malformed(String),
    /// Only reading is possible.
    #[error("only GET is served")]
    Method,
    /// The number is not known.
    #[error("{0}")]
    Unknown(#[from] Unknown),
    /// The API server did not say whether who asks may.
    #[error("whether this is allowed cannot be found out: {0}")]
    NotJudged(String),
    /// It took too long.
    #[error("no answer in time")]
    Late,
}

impl Refusal {
    /// The code of the response.
    pub(super) const fn code(&self) -> StatusCode {
        match self {
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unknown(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotJudged(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The label in the metrics.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound(_) => "not_found",
            Self::Malformed(_) | Self::Method => "malformed",
            Self::Unknown(_) => "unknown",
            Self::NotJudged(_) => "not_judged",
            Self::Late => "late",
        }
    }

    /// As Kubernetes says it.
    pub(super) fn status(&self) -> Value {
        let reason = match self {
            Self::Unauthenticated(_) => "Unauthorized",
            Self::Forbidden(_) => "Forbidden",
            Self::NotFound(_) => "NotFound",
            Self::Malformed(_) => "BadRequest",
            Self::Method => "MethodNotAllowed",
            Self::Unknown(_) => "ServiceUnavailable",
            Self::NotJudged(_) => "InternalError",
            Self::Late => "Timeout",
        };
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.to_string(),
            "reason": reason,
            "code": self.code().as_u16(),
        })
    }
}
