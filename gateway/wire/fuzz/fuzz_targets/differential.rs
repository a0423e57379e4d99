//! Any bytes, cut anywhere: tungstenite reads the same messages and agrees on the end, but for the differences that
//! the oracle lists.
#![no_main]

#[path = "../../tests/wire/support/oracle.rs"]
mod oracle;
mod support;

use libfuzzer_sys::fuzz_target;
use oracle::compare;
use support::{Case, frames};

fuzz_target!(|data: &[u8]| {
    if let Some(Case {
        stream,
        pieces,
        limit,
    }) = Case::read(data)
    {
        compare(&stream, &pieces, limit);
    }
});
