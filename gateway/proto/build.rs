//! Generates the gRPC API and the messages between nodes from the `.proto` files, without `protoc`.

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "wsc/v1/wsc.proto",
        "wsc/v1/group.proto",
        "wsc/v1/frame.proto",
        "wsc/cluster/v1/cluster.proto",
    ];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".wsc.cluster.v1")
        .compile_fds(descriptors)?;
    Ok(())
}
