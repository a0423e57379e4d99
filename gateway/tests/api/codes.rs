//! The page of codes in `docs/` is what the types say.

use std::path::Path;

#[test]
fn the_generated_page_of_codes_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/codes.md");
    let written = std::fs::read_to_string(page).unwrap_or_default();
    assert!(
        written == wsc_gateway::protocol::reference::codes_reference(),
        "docs/codes.md is not what the types say; run `cargo run -p wsc-gateway --example codes`"
    );
}
