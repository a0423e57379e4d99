//! TLS of the listeners: what a listener shows, from files that change while it listens. And by what servers are judged
//! that the gateway itself calls.
//!
//! Certificates and keys come from the secrets directory as texts; nothing here reads a file or opens a socket. A new pair
//! holds for connections that begin from then on; those that are there go on with what they began with. Called by the
//! composition root, by `transport` for WebSocket and by `api` for HTTP and gRPC.

mod client;
mod fingerprint;
mod listener;
mod pair;
mod stream;

pub use client::{AuthorityError, client_config};
pub use fingerprint::Fingerprint;
pub use listener::{ListenerTls, TlsListeners};
pub use pair::{TlsError, TlsPairs};
pub use stream::MaybeTls;
