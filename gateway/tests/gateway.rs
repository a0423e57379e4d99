//! Whole gateways in this process, on free ports, with real sockets and a real Redis: one file per behaviour.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    // A test's tasks end with its runtime.
    clippy::disallowed_methods
)]

// Other tests use the rest of it.
#[allow(dead_code)]
#[path = "support/redis.rs"]
mod redis;

#[path = "gateway/client.rs"]
mod client;
#[path = "gateway/sandbox.rs"]
mod sandbox;
#[path = "gateway/wire.rs"]
mod wire;

#[path = "gateway/cluster.rs"]
mod cluster;
#[path = "gateway/conformance.rs"]
mod conformance;
#[path = "gateway/delivery.rs"]
mod delivery;
#[path = "gateway/drain.rs"]
mod drain;
#[path = "gateway/handshake.rs"]
mod handshake;
#[path = "gateway/limits.rs"]
mod limits;
#[path = "gateway/messages.rs"]
mod messages;
#[path = "gateway/outage.rs"]
mod outage;
#[path = "gateway/reload.rs"]
mod reload;
#[path = "gateway/sealing.rs"]
mod sealing;
#[path = "gateway/service.rs"]
mod service;
#[path = "gateway/transports.rs"]
mod transports;
