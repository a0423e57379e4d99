//! What nodes share: registry, directory, broker, logs and groups, each over memory and a real Redis; and nodes in one
//! process that meet there.

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

#[path = "../support/cluster.rs"]
#[macro_use]
#[allow(dead_code, unused_macros, clippy::unused_async)]
mod support;

mod appending;
mod conformance;
mod etcd;
mod group;
mod lines;
mod log;
mod membership;
mod messages;
mod outage;
mod presence;
mod redis_modes;
mod streams;
mod tickets;
