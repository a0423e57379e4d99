//! Generates the gRPC API and the messages between nodes from the `.proto` files, without `protoc`.

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "wsc/v1/wsc.proto",
        "wsc/v1/group.proto",
        "wsc/v1/ticket.proto",
        "wsc/v1/frame.proto",
        "wsc/v1/session.proto",
        "wsc/v1/hook.proto",
    ];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    between_nodes()?;
    foreign()?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}

/// What only gateways say to each other: not part of what reflection shows either.
fn between_nodes() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["wsc/cluster/v1/cluster.proto"];
    println!("cargo:rerun-if-changed={}", files[0]);
    tonic_prost_build::configure()
        .bytes(".wsc.cluster.v1")
        .compile_fds(protox::compile(files, ["."])?)?;
    Ok(())
}

/// What others serve and the gateway only calls: not part of what reflection shows.
fn foreign() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "etcd/mvccpb.proto",
        "etcd/etcdserverpb.proto",
        "opentelemetry/common.proto",
        "opentelemetry/trace.proto",
        "opentelemetry/collector.proto",
    ];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    tonic_prost_build::configure().compile_fds(protox::compile(files, ["."])?)?;
    Ok(())
}
