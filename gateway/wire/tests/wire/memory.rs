//! What a connection costs while messages are under way: counts of allocations and bytes, which no machine changes.

use crate::support::frames::{frame, length_header};
use allocation_counter::measure;
use wsc_wire::{Decoder, Message, Opcode, encode, encode_close, header};

/// The reserve that the first bytes of a message may claim.
const RESERVE: usize = 1024;

/// Feeds one piece until there is no message; the decoder then holds only what is under way.
fn feed(decoder: &mut Decoder, piece: &mut [u8]) -> usize {
    let (mut used, mut messages) = (0, 0);
    loop {
        let next = decoder.decode(&mut piece[used..]).expect("a valid stream");
        used += next.consumed;
        match next.message {
            Some(_) => messages += 1,
            None => return messages,
        }
    }
}

#[test]
fn a_whole_frame_is_borrowed_from_the_input() {
    let mut stream = [
        frame(0x81, "grüß dich".as_bytes()),
        frame(0x82, &[7; 5000]),
        frame(0x89, b"?"),
        frame(0x8a, b"!"),
    ]
    .concat();
    let range = stream.as_ptr_range();
    let mut decoder = Decoder::new(5000);
    let mut used = 0;
    while let Some(message) = {
        let next = decoder.decode(&mut stream[used..]).expect("a valid stream");
        used += next.consumed;
        next.message
    } {
        let payload = match message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes,
            Message::Close(_) => panic!("nobody closes"),
        };
        assert!(range.contains(&payload.as_ptr()));
    }
    assert_eq!(used, stream.len());
}

#[test]
fn whole_frames_allocate_nothing() {
    let close = frame(0x88, b"\x03\xe8bye");
    let mut stream = [
        frame(0x81, "grüß dich".as_bytes()),
        frame(0x82, &[7; 5000]),
        frame(0x89, b"?"),
        frame(0x8a, b"!"),
        close,
    ]
    .concat();
    let mut messages = 0;
    let info = measure(|| messages = feed(&mut Decoder::new(5000), &mut stream));
    assert_eq!((messages, info.count_total), (5, 0));
}

#[test]
fn a_header_cut_in_two_allocates_nothing() {
    let mut stream = frame(0x82, &[7; 300]);
    let (head, rest) = stream.split_at_mut(5);
    let mut messages = 0;
    let info = measure(|| {
        let mut decoder = Decoder::new(300);
        messages = feed(&mut decoder, head) + feed(&mut decoder, rest);
    });
    assert_eq!((messages, info.count_total), (1, 0));
}

#[test]
fn a_frame_is_encoded_in_one_allocation_of_its_size() {
    let payload = vec![7; 70_000];
    for (length, header) in [(0, 2), (125, 2), (126, 4), (70_000, 10)] {
        let info = measure(|| drop(encode(Opcode::Binary, &payload[..length])));
        assert_eq!(
            (info.count_total, info.bytes_total),
            (1, (header + length) as u64)
        );
    }
    let info = measure(|| drop(encode_close(1012, "the gateway restarts")));
    assert_eq!((info.count_total, info.bytes_total), (1, 24));
    assert_eq!(measure(|| _ = header(Opcode::Text, 70_000)).count_total, 0);
}

#[test]
fn a_declared_length_is_not_believed() {
    let mut head = [length_header(0x82, 0x80, 1 << 62), vec![1, 2, 3, 4, 5]].concat();
    let mut decoder = Decoder::new(usize::MAX);
    let info = measure(|| assert_eq!(feed(&mut decoder, &mut head), 0));
    assert_eq!(
        (info.bytes_total, decoder.buffered()),
        (RESERVE as u64, RESERVE)
    );
}

#[test]
fn memory_follows_what_arrived_and_never_exceeds_the_limit() {
    for first in [0x82, 0x02, 0x81, 0x01] {
        let limit = 100_000;
        let mut stream = frame(first, &vec![b'x'; limit]);
        let mut decoder = Decoder::new(limit);
        let (mut arrived, mut allocations) = (0, 0);
        for piece in stream.chunks_mut(100) {
            arrived += piece.len();
            allocations += measure(|| _ = feed(&mut decoder, piece)).count_total;
            let held = decoder.buffered();
            assert!(
                held <= limit && held <= RESERVE.max(2 * arrived),
                "{arrived} arrived, {held} held"
            );
        }
        assert!(allocations <= 8, "{allocations} allocations");
    }
}

#[test]
fn many_small_fragments_cost_few_allocations() {
    let limit = 10_000;
    let mut stream = frame(0x01, b"x");
    for _ in 0..limit - 1 {
        stream.extend(frame(0x00, b"x"));
    }
    let mut decoder = Decoder::new(limit);
    let info = measure(|| _ = feed(&mut decoder, &mut stream));
    assert!(info.count_total <= 5, "{} allocations", info.count_total);
    assert!(decoder.buffered() <= limit);
}

#[test]
fn a_message_that_was_returned_is_given_back() {
    for first in [0x81, 0x82, 0x89] {
        let mut decoder = Decoder::new(5000);
        let mut stream = frame(first, &[7; 120]);
        let (head, rest) = stream.split_at_mut(50);
        assert_eq!(feed(&mut decoder, head), 0);
        assert!((120..=RESERVE).contains(&decoder.buffered()));
        let next = decoder.decode(rest).expect("a valid frame");
        assert!(next.message.is_some());
        assert!(decoder.buffered() > 0);
        assert_eq!(feed(&mut decoder, &mut []), 0);
        assert_eq!(decoder.buffered(), 0);
    }
}

#[test]
fn a_control_frame_cut_in_two_leaves_the_message_under_way() {
    let mut decoder = Decoder::new(5000);
    assert_eq!(feed(&mut decoder, &mut frame(0x02, &[7; 3000])), 0);
    let held = decoder.buffered();
    let mut ping = frame(0x89, &[7; 125]);
    let (start, rest) = ping.split_at_mut(50);
    assert_eq!(feed(&mut decoder, start), 0);
    assert_eq!(decoder.buffered(), held + 125);
    assert_eq!(feed(&mut decoder, rest), 1);
    assert_eq!(decoder.buffered(), held);
    let mut last = frame(0x80, &[7; 2000]);
    assert_eq!(
        decoder.decode(&mut last).expect("the end").message,
        Some(Message::Binary(&[7; 5000]))
    );
}

#[test]
fn a_close_or_a_violation_gives_everything_back() {
    for last in [frame(0x88, b""), frame(0x81, b"not a continuation")] {
        let mut decoder = Decoder::new(5000);
        assert_eq!(feed(&mut decoder, &mut frame(0x02, &[7; 3000])), 0);
        assert!(decoder.buffered() >= 3000);
        let _ = decoder.decode(&mut last.clone());
        assert_eq!(decoder.buffered(), 0);
    }
}
