//! What the project promises, proved on a real cluster: one file per behaviour, one test each, names that are
//! sentences. The chart is installed once; every test has a namespace and, except the refused ones, a gateway of its own.

// JSON alone is indexed here, and it answers `null` for what is not there.
#![allow(clippy::indexing_slicing)]

mod cross_node;
mod operator_down;
mod pod_killed;
mod ready;
mod redis_killed;
mod rotation;
mod routes;
mod scaling;
mod steady;
mod wrong_resources;
