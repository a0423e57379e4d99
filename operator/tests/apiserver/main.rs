//! The operator as a process against a real API server and etcd, without a kubelet: killed at every step, faults between
//! the two, two of them at once, very many resources, and every property of the resource set and taken back; and the chart by helm.
//!
//! `Plane` is the API server, one for all tests. Between it and each operator stands a `Proxy`, which counts, holds up,
//! refuses and cuts; the operator itself knows nothing of tests.

// Helpers fail as tests do; clippy knows only functions marked as tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::needless_pass_by_value,
    unreachable_pub
)]

#[path = "../support/trust.rs"]
mod trust;

mod by_hand;
mod chart;
mod crd_upgrade;
mod failpoints;
mod faults;
mod ground;
mod kubelet;
mod leaders;
mod least;
mod operator;
mod plane;
mod proxy;
mod rights;
mod snapshot;
mod thousand;
mod tools;
mod traces;
mod unrealisable;
mod walk;
mod webhook;
