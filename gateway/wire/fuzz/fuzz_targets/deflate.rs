//! Any bytes as compressed messages, cut anywhere: no panic, memory within the limit, the same outcome as in one piece; and
//! what is deflated comes back.
#![no_main]

mod support;

use libfuzzer_sys::fuzz_target;
use support::{
    Case,
    frames::{End, Owned, frame, masked_frame, run_deflated},
};
use wsc_wire::{Deflater, Opcode, Window};

fuzz_target!(|data: &[u8]| {
    let Some(Case {
        stream,
        pieces,
        limit,
    }) = Case::read(data)
    else {
        return;
    };
    // As a stream of frames, and as the payload of one.
    for stream in [stream.clone(), frame(0xc2, &stream)] {
        let cut = run_deflated(&stream, &pieces, limit);
        assert_eq!(cut, run_deflated(&stream, &[], limit));
    }
    let sent = Deflater::new(data[0] % 10, Window::Narrow).encode(Opcode::Binary, &stream);
    let header = match sent[1] {
        0..=125 => 2,
        126 => 4,
        _ => 10,
    };
    let back = run_deflated(&masked_frame(sent[0], &sent[header..], [1, 2, 3, 4]), &pieces, stream.len());
    assert_eq!(back, (vec![Owned::Binary(stream)], End::Open));
});
