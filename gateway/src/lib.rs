//! The gateway as a library.

pub mod api;
pub mod cluster;
pub mod hub;
pub mod protocol;
pub mod security;
