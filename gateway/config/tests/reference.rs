//! The reference in `docs/` is what the types say.

use std::path::Path;

#[test]
fn the_reference_in_docs_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let written = std::fs::read_to_string(page).unwrap_or_default();
    assert!(
        written == wsc_config::reference(),
        "docs/configuration.md is not what the types say; run `cargo run -p wsc-config --example reference`"
    );
}
