//! The page in `docs/` is what the help says.

#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;

#[test]
fn the_page_of_the_commands_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/wscctl.md");
    let written = std::fs::read_to_string(page).unwrap_or_default();
    assert!(
        written == wscctl::reference(),
        "docs/wscctl.md is not what the help says; run `cargo run -p wsc-cli --example reference`"
    );
}
