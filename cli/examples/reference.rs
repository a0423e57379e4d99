//! Writes docs/wscctl.md.

fn main() -> std::io::Result<()> {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/wscctl.md");
    std::fs::write(page, wscctl::reference())
}
