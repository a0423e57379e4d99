//! Writes `docs/configuration.md`: `cargo run -p wsc-config --example reference`.

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    fs::write(page, wsc_config::reference())
}
