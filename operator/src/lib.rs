//! The operator: turns `WebSocketGateway` resources into gateway pods, their Redis, and everything around them.
//!
//! Life of a change: `watch` hears of it and keeps `stores` current; `controller` picks the gateways it concerns;
//! `gateway` runs `dereference → validate → build → apply → status` for each. `lease` sees to it that only one replica
//! does that. Every one asks gateways for their connections (`counting`, `census`), and where that is wanted, with a
//! `certificate` of the operator's own at a `listener`, answers autoscalers (`metrics_api`) and puts gateways into pods of applications
//! (`inject`); `admin` tells how it goes.

pub mod access;
pub mod admin;
pub mod api;
pub mod backoff;
pub mod census;
pub mod certificate;
pub mod check;
pub mod cli;
pub mod context;
pub mod controller;
pub mod counting;
pub mod digest;
pub mod error;
pub mod gateway;
pub mod inject;
pub mod kube_call;
pub mod lease;
mod listener;
pub mod metrics;
pub mod metrics_api;
pub mod names;
pub mod owned;
pub mod patience;
pub mod run;
pub mod scope;
pub mod secrets;
pub mod stopping;
pub mod stores;
pub mod traces;
pub mod watch;
