//! The API for backends: HTTP with an `OpenAPI` document and gRPC, two skins of one [`MessageService`] and, for groups
//! and tickets, [`GroupCalls`] and [`TicketCalls`].
//!
//! A skin authenticates, checks what its wire form allows, calls the service and writes the answer; it decides nothing.

mod calls;
mod fault;
mod groups;
mod grpc;
mod http;
mod node;
mod serve;
mod service;
mod tickets;
mod traced;

pub use calls::{ApiContext, BodyLimit};
pub use groups::{GroupCallError, GroupCalls, GroupSendOutcome};
pub use grpc::{GrpcHealth, Reflection, ReflectionError, grpc_routes, serve_grpc};
pub use http::{http_router, openapi_json};
pub use node::NodeApi;
pub use serve::{MAX_CONNECTIONS, serve_http};
pub use service::{
    ApiMessage, BroadcastOutcome, KickOutcome, KickTarget, LogFrom, LogPage, LogQuery,
    LoggedMessage, MessageService, OnlineUsers, Recipient, RevokeOutcome, RevokeTarget,
    SendOutcome, ServiceError, Stats,
};
pub use tickets::{TicketCallError, TicketCalls, TicketSendOutcome};
