//! The APIs, the admin port and the pages that are made from them: one file a subject.

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

// Each subject uses its part of it.
#[allow(dead_code)]
mod support;

mod admin;
mod codes;
mod groups;
mod grpc;
mod grpc_floods;
mod grpc_refusals;
mod http;
mod http_refusals;
mod metrics;
mod openapi;
mod tickets;
