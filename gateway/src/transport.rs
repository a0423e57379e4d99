//! Sockets: from a connection of the listener to frames in and encoded frames out. Limits of bytes and time live here;
//! what a frame means is `session`'s and `hub`'s.

mod acceptor;
mod carrier;
mod connection;
mod events;
pub(crate) mod extended;
mod first_word;
mod groups;
pub mod grpc;
mod held;
pub mod open;
mod pipe;
mod place;
mod post;
mod rate;
mod reader;
mod refusal;
mod renew;
mod returning;
mod seated;
mod socket;
mod sse;
mod tickets;
mod tls_socket;
mod upgrade;
mod upgrades;
mod watching;
pub mod ws;

pub use acceptor::accept_forever;
pub use carrier::Carrier;
pub use connection::{Connection, Session};
pub use socket::Socket;
pub use tls_socket::TlsSocket;
pub use upgrade::{Accepted, UpgradeState};
pub use upgrades::Upgrades;
