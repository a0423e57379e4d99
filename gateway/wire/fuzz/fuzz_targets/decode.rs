//! Any bytes, cut anywhere: no panic, memory within the limit, the same outcome as in one piece, refusals are final.
#![no_main]

mod support;

use libfuzzer_sys::fuzz_target;
use support::{Case, frames::run};

fuzz_target!(|data: &[u8]| {
    if let Some(Case {
        stream,
        pieces,
        limit,
    }) = Case::read(data)
    {
        // `run` asserts the bounds after every call.
        let cut = run(&stream, &pieces, limit);
        assert_eq!(cut, run(&stream, &[], limit));
        assert_eq!(cut, run(&stream, &[1], limit));
    }
});
