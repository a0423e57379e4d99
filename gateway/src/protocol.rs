//! What is said on the wire, as types: ids, targets, messages, error codes and disconnects, and the codecs.
//!
//! Pure: nothing here waits, locks or knows a socket. Transports decode with it, sessions decide on its types, the API
//! makes messages with it, and every encoded frame in the process was written by its codec.

pub mod codec;
mod compression;
mod control;
mod disconnect;
mod error_code;
mod grpc;
mod id;
pub mod json;
mod message;
mod parcel;
mod position;
pub mod proto;
pub mod reference;
pub mod resume;
pub mod sse;
mod trace;
mod transport;

pub use codec::{Codec, CodecError, Codecs, FrameCodec, Payload, Written};
pub use compression::Compression;
pub use control::{Control, Told};
pub use disconnect::Disconnect;
pub use error_code::ErrorCode;
pub use id::{Epoch, GroupId, IdError, NodeId, SessionId, TicketId, UserId};
pub use message::{Message, MessageBody, Priority, RawJson, Sender, Target};
pub use parcel::Parcel;
pub use position::{LogId, Mark, Position, PositionError, Start};
pub use resume::Resume;
pub use trace::{Parent, TraceContext};
pub use transport::Transport;
