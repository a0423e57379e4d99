//! A WebSocket gateway for Kubernetes, as a library; the binary `wsc-gateway` is a thin shell around [`app::Gateway`].
//!
//! # Life of a frame
//!
//! 1. [`transport`]: the acceptor hands a socket to the least loaded shard, hyper and axum do the handshake there, and the
//!    raw socket comes back. From then on a connection is one reading task and an outbox.
//! 2. [`protocol`]: bytes become a frame (`wsc-wire`), the frame a command ([`protocol::json`]). Payloads stay raw.
//! 3. [`session`]: a pure function decides what is to be done ([`session::decide`]).
//! 4. [`hub`]: the message is encoded once; a reference to it goes into the outbox of each recipient on this shard, one
//!    command to each other shard concerned.
//! 5. [`cluster`]: one envelope to each other node concerned, which does step 4 for its own sessions.
//! 6. Once per turn, each shard writes every outbox that has something with one `send`.
//!
//! [`api`] lets backends in at step 4 over HTTP and gRPC, [`security`] judges who is who, [`admin`] and [`telemetry`] tell
//! how it is going, and [`app`] puts the parts together and takes them down.

pub mod admin;
pub mod admission;
pub mod api;
pub mod app;
mod builder;
pub mod cli;
pub mod cluster;
pub mod delivery;
pub mod dev;
pub mod group;
pub mod hub;
pub mod jwks;
pub mod log;
pub mod presence;
pub mod protocol;
pub mod rebalance;
pub mod revocation;
pub mod security;
pub mod service;
pub mod session;
pub mod settings;
pub mod telemetry;
pub mod ticket;
mod time;
pub mod tls;
pub mod transport;

pub use app::Gateway;
pub use builder::GatewayBuilder;
