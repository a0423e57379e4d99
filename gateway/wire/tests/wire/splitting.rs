//! However TCP cuts a stream, the messages are the same.

use crate::support::frames::{End, Owned, frame, run};
use crate::support::streams;
use proptest::{collection::vec, prelude::*};

proptest! {
    #[test]
    fn a_valid_stream_gives_its_messages_however_it_is_cut(
        stream in streams::valid(2000),
        pieces in vec(1..700_usize, 0..12),
    ) {
        let (messages, end) = run(&stream.encode(), &pieces, 2000);
        let closed = matches!(stream.messages.last(), Some(Owned::Close(_)));
        prop_assert_eq!(end, if closed { End::Closed } else { End::Open });
        prop_assert_eq!(messages, stream.messages);
    }

    #[test]
    fn a_valid_stream_gives_its_messages_byte_by_byte(stream in streams::valid(300)) {
        let (messages, _) = run(&stream.encode(), &[1], 300);
        prop_assert_eq!(messages, stream.messages);
    }

    #[test]
    fn a_wrong_stream_is_refused_alike_however_it_is_cut(
        stream in prop_oneof![streams::mutated(), streams::disordered()],
        pieces in vec(1..40_usize, 1..12),
    ) {
        prop_assert_eq!(run(&stream, &pieces, 300), run(&stream, &[], 300));
    }
}

#[test]
fn a_short_stream_survives_every_pair_of_cuts() {
    let stream = [
        frame(0x01, "Grüße, ".as_bytes()),
        frame(0x89, b"are you there?"),
        frame(0x80, "Jürgen 🦀".as_bytes()),
        frame(0x82, &[0; 130]),
        frame(0x88, b"\x03\xe8bye"),
    ]
    .concat();
    let whole = run(&stream, &[], 200);
    assert_eq!((whole.0.len(), whole.1), (4, End::Closed));
    for first in 1..stream.len() {
        for second in 1..=stream.len() - first {
            assert_eq!(
                run(&stream, &[first, second, stream.len()], 200),
                whole,
                "cut after {first} and {second}"
            );
        }
    }
}
