//! The operator against what stands around it: the CRD's rules, golden files, a fake API server, the chart's permissions.

// Helpers fail as tests do; clippy knows only functions marked as tests.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::needless_pass_by_value,
    unreachable_pub
)]

#[path = "../support/trust.rs"]
mod trust;

mod cel;
mod certificate;
mod crd;
mod extensions;
mod fake;
mod golden;
mod held;
mod inject;
mod leader;
mod metrics_api;
mod monitoring;
mod pipeline;
mod problems;
mod rbac;
mod reconcile;
mod rights;
mod rollout;
mod sidecar;
mod status;
