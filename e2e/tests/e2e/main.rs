//! What the project promises, proved on a real cluster: one file per behaviour, one test each, names that are
//! sentences. The chart is installed once; every test has a namespace and, except the refused ones, a gateway of its own.

#![allow(
    // JSON alone is indexed here, and it answers `null` for what is not there; the load's own tables beside it.
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    // A test's tasks end with its runtime.
    clippy::disallowed_methods,
    // What the gateway's tests use beside.
    dead_code
)]

// The load and the judge of its history are those of the gateway's own tests.
#[path = "../../../gateway/tests/support/gates.rs"]
mod gates;
#[path = "../../../gateway/tests/support/history.rs"]
mod history;
#[path = "../../../gateway/tests/support/load.rs"]
mod load;
#[path = "../../../gateway/tests/support/publisher.rs"]
mod publisher;
#[path = "../../../gateway/tests/support/reader.rs"]
mod reader;

mod api_server_away;
mod autoscaling;
mod cross_node;
mod crowd;
mod departures;
mod disturbance;
mod drains;
mod kubectl;
mod operator_dies;
mod operator_down;
mod pod_killed;
mod ready;
mod rebalance;
mod redis_killed;
mod redis_replicated;
mod rotation;
mod routes;
mod scaling;
mod sidecar;
mod steady;
mod wrong_resources;
