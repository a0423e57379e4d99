//! Tests of the whole on a real Kubernetes, and what they need: a cluster, the chart, gateways in namespaces of
//! their own, and clients that behave as good clients do.
//!
//! Everything reaches the pods by forwarded ports through the API server, so the same tests run on any cluster that
//! `KUBECONFIG` points at; without one they use the throw-away cluster of `e2e/cluster`. Nothing here sleeps: whoever
//! waits names what it waits for and how long ([`wait`]), and a timeout says what was there instead.

// JSON alone is indexed here, and it answers `null` for what is not there.
#![allow(clippy::indexing_slicing)]

pub mod chart;
pub mod client;
pub mod cluster;
pub mod diagnostics;
pub mod extensions;
pub mod forward;
pub mod gateway;
pub mod grpc;
pub mod http;
pub mod namespace;
pub mod owned;
pub mod resource;
pub mod tokens;
pub mod wait;
