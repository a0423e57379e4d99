//! Ends and refusals as gRPC statuses, with what a client needs to decide by in the metadata.

use axum::http::{HeaderMap, HeaderValue, header};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::protocol::Disconnect;
use crate::transport::refusal::Refused;

/// How a session ended: the close code, and whether to come back.
pub(super) fn ended(why: Disconnect) -> Status {
    let told = why.describe();
    let mut metadata = HeaderMap::new();
    metadata.insert("wsc-code", HeaderValue::from(told.code));
    let label = HeaderValue::from_static(told.label);
    metadata.insert("wsc-reason", label);
    let reconnect = if told.reconnect { "true" } else { "false" };
    metadata.insert("wsc-reconnect", HeaderValue::from_static(reconnect));
    Status::with_metadata(why.grpc(), told.reason, MetadataMap::from_headers(metadata))
}

impl Refused {
    /// The status of a call that opens no session.
    pub(super) fn to_grpc(&self) -> Status {
        let mut metadata = HeaderMap::new();
        metadata.insert("wsc-error", HeaderValue::from_static(self.code()));
        if let Some(after) = self.retry_after() {
            metadata.insert(header::RETRY_AFTER, after);
        }
        let metadata = MetadataMap::from_headers(metadata);
        Status::with_metadata(self.grpc(), self.to_string(), metadata)
    }

    const fn grpc(&self) -> Code {
        match self {
            Self::BadRequest(_) | Self::Version | Self::Method(_) => Code::InvalidArgument,
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::Origin | Self::Address(_) => Code::PermissionDenied,
            Self::NotFound => Code::NotFound,
            Self::LockedOut(_) | Self::Crowded | Self::TooManySessions | Self::TooLarge(_) => {
                Code::ResourceExhausted
            }
            Self::NoKeys | Self::Full | Self::Memory | Self::Draining => Code::Unavailable,
        }
    }
}
