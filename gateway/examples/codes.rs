//! Writes `docs/codes.md`: `cargo run -p wsc-gateway --example codes`.

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/codes.md");
    fs::write(page, wsc_gateway::protocol::reference::codes_reference())
}
