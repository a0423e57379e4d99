//! Generated code for the gateway's gRPC API (`wsc.v1`) and for what its nodes say to each other (`wsc.cluster.v1`).
//!
//! Beside them the parts that it calls of etcd's API and of OpenTelemetry's OTLP.
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

/// The part of etcd's API (v3) that finding nodes takes.
#[allow(missing_docs, clippy::pedantic, clippy::all)]
pub mod etcd {
    /// Keys and values.
    pub mod mvccpb {
        tonic::include_proto!("mvccpb");
    }
    /// Calls.
    pub mod etcdserverpb {
        tonic::include_proto!("etcdserverpb");
    }
}

/// The part of OpenTelemetry's OTLP that sending traces takes, nested as its packages are.
#[allow(missing_docs, clippy::pedantic, clippy::all)]
pub mod opentelemetry {
    pub mod proto {
        pub mod common {
            pub mod v1 {
                tonic::include_proto!("opentelemetry.proto.common.v1");
            }
        }
        pub mod trace {
            pub mod v1 {
                tonic::include_proto!("opentelemetry.proto.trace.v1");
            }
        }
        pub mod collector {
            pub mod trace {
                pub mod v1 {
                    tonic::include_proto!("opentelemetry.proto.collector.trace.v1");
                }
            }
        }
    }
}

/// The compiled descriptors of the public API, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
