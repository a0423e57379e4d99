//! Frames as messages of a gRPC stream, and the end of a connection as a gRPC status. Pure.
//!
//! A message is the bytes of `wsc.v1.proto` behind the five that gRPC puts before each: whether it is compressed, which it
//! never is, and its length.

use bytes::{BufMut as _, Bytes, BytesMut};
use tonic::Code;

use super::Disconnect;

/// What is sent down a quiet stream: a frame of type `ping`, which need not be answered.
pub(super) const PING: Bytes = Bytes::from_static(b"\0\0\0\0\x06\x0a\x04ping");

/// A message with this payload.
pub(super) fn message(payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(payload.len() + 5);
    out.put_u8(0);
    // No frame comes near to 4 GiB.
    out.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    out.put_slice(payload);
    out.freeze()
}

impl Disconnect {
    /// The status that a gRPC stream ends with.
    pub const fn grpc(self) -> Code {
        match self {
            Self::ClientClosed => Code::Ok,
            Self::Protocol(1009)
            | Self::SlowConsumer
            | Self::LockedOut
            | Self::RateLimited
            | Self::TooManySessions => Code::ResourceExhausted,
            Self::Protocol(_) | Self::Abuse => Code::InvalidArgument,
            Self::ConnectionLost | Self::Drain | Self::Rebalance | Self::Unavailable => {
                Code::Unavailable
            }
            Self::Internal => Code::Internal,
            Self::Unauthenticated | Self::TokenExpired | Self::TokenRevoked => {
                Code::Unauthenticated
            }
            Self::Kicked | Self::Rejected | Self::AddressRefused => Code::PermissionDenied,
            Self::Timeout => Code::DeadlineExceeded,
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use wsc_proto::v1::ServerFrame;

    use super::*;

    #[test]
    fn a_message_is_its_length_and_its_bytes() {
        assert_eq!(message(b"abc"), &b"\0\0\0\0\x03abc"[..]);
        assert_eq!(message(b""), &b"\0\0\0\0\0"[..]);
    }

    #[test]
    fn the_ping_is_a_frame_of_that_type() {
        let ping = ServerFrame {
            r#type: "ping".to_owned(),
            ..ServerFrame::default()
        };
        assert_eq!(PING, message(&ping.encode_to_vec()));
    }
}
