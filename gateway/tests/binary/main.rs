//! The program as people and Kubernetes run it: its arguments and files, and several of it as one service that is broken
//! in every way that promises name.

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

#[path = "../support/gates.rs"]
mod gates;
#[path = "../support/history.rs"]
mod history;
#[path = "../support/load.rs"]
mod load;
// Other tests use the rest of these.
#[allow(dead_code)]
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/publisher.rs"]
mod publisher;
#[path = "../support/reader.rs"]
mod reader;
#[allow(dead_code)]
#[path = "../support/redis.rs"]
mod redis;

mod clock;
mod failover;
mod faults;
mod history_tests;
mod managed_redis;
mod members;
mod node_killed;
mod process;
mod program;
mod scarcity;
mod world;
