//! The gateway as a library.

pub mod admin;
pub mod api;
pub mod cluster;
pub mod hub;
pub mod protocol;
pub mod security;
pub mod telemetry;
