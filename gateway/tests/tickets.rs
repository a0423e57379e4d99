//! The ticket desk: random histories against a model, the stores by one suite, and several nodes at once.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/cluster.rs"]
#[macro_use]
#[allow(dead_code, unused_macros, clippy::unused_async)]
mod support;

#[path = "tickets/chance.rs"]
mod chance;
#[path = "tickets/histories.rs"]
mod histories;
#[path = "tickets/model.rs"]
mod model;
#[path = "tickets/nodes.rs"]
mod nodes;
#[path = "tickets/stores.rs"]
mod stores;
