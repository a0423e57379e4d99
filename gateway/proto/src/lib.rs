//! Generated code for the gateway's gRPC API (`wsc.v1`) and for what its nodes say to each other (`wsc.cluster.v1`).
//!
//! Owns nothing but the generated types; the `.proto` files beside it are the source. The gateway serves [`v1`],
//! applications and tests call it, and only gateways speak [`cluster`].

/// The public API: `wsc.v1`.
#[allow(missing_docs, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("wsc.v1");
}

/// Messages between nodes: `wsc.cluster.v1`. Not a public interface.
#[allow(missing_docs, clippy::pedantic)]
pub mod cluster {
    tonic::include_proto!("wsc.cluster.v1");
}

/// The compiled descriptors of every file, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
