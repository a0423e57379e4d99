//! What the tests of the APIs share.

pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod service;
pub(crate) mod tickets;
