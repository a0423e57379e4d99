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
#[path = "../support/redis.rs"]
mod redis;

// And of this.
#[allow(dead_code)]
#[path = "../support/nodes.rs"]
mod nodes;

// Other tests use the rest of it.
#[allow(dead_code)]
#[path = "../support/etcd.rs"]
mod etcd;

// And of this.
#[allow(dead_code)]
#[path = "../support/proxy.rs"]
mod proxy;

// Behaviours of every transport; see `transports`.
#[path = "../support/speaker.rs"]
mod speaker;

mod client;
mod event_stream;
mod grpc_stream;
mod sandbox;
mod wire;

mod addresses;
mod beside;
mod catching_up;
mod cluster;
mod conformance;
mod costs;
mod delivery;
mod drain;
mod floods;
mod groups;
mod grpc;
mod handshake;
mod hook_target;
mod hooks;
mod hygiene;
mod issuer;
mod jwks;
mod jwt;
mod keys;
mod limits;
mod messages;
mod outage;
mod outbound;
mod presence;
mod rates;
mod rebalance;
mod reload;
mod revocation;
mod sealing;
mod seats;
mod service;
mod silently;
mod sse;
mod store_times;
mod tickets;
mod tls;
mod traces;
mod transports;
