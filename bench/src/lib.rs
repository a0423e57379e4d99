//! Measures WebSocket servers beside each other, on one machine, with one client.
//!
//! Bottom up: [`frame`], [`handshake`] and [`dialect`] know what is said; [`link`], [`inflate`], [`conn`] and [`fleet`] hold the connections;
//! [`pacer`] and [`ledger`] decide when to speak and keep the books; [`drive`] is one measured run; [`peer`], [`suite`]
//! and [`report`] run all servers through all scenarios. What the figures mean: `docs/benchmarks.md`.

// Figures are divided all over, and none is near where an f64 loses a unit.
#![allow(clippy::cast_precision_loss)]

mod append;
pub mod bare;
mod bout;
pub mod conn;
pub mod dialect;
pub mod drive;
mod durable;
pub mod extra;
pub mod fleet;
pub mod frame;
pub mod handshake;
pub mod hold;
mod idle;
pub mod inflate;
pub mod ledger;
pub mod link;
mod machine;
mod nats;
mod nodes;
pub mod pacer;
pub mod peer;
pub mod plot;
pub mod process;
pub mod redis;
pub mod report;
mod restart;
mod returns;
pub mod sample;
pub mod suite;
pub mod token;
