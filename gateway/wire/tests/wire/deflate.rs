//! permessage-deflate: each rule of RFC 7692 for what clients may send, its bounds, and another implementation of DEFLATE
//! on the other side of both directions.

use crate::support::frames::{End, Owned, frame, run, run_deflated};
use allocation_counter::measure;
use miniz_oxide::{deflate::compress_to_vec, inflate::decompress_to_vec_with_limit};
use proptest::{collection::vec, prelude::*};
use wsc_wire::{Decoder, Deflater, Inflater, Message, Opcode, Violation, WORTHWHILE, Window};

const LIMIT: usize = 10_000;

/// First bytes of frames: compressed or not, final or not.
const DEFLATED_TEXT: u8 = 0xc1;
const DEFLATED_BINARY: u8 = 0xc2;
const DEFLATED_TEXT_BEGINS: u8 = 0x41;
const CONTINUES: u8 = 0x00;
const ENDS: u8 = 0x80;

/// A payload as RFC 7692 7.2.3.4 allows it: with a final block, and a byte that begins another.
fn deflated(text: &[u8]) -> Vec<u8> {
    let mut payload = compress_to_vec(text, 6);
    payload.push(0);
    payload
}

fn outcome(parts: &[Vec<u8>]) -> (Vec<Owned>, End) {
    let stream = parts.concat();
    let whole = run_deflated(&stream, &[], LIMIT);
    assert_eq!(run_deflated(&stream, &[1], LIMIT), whole, "byte by byte");
    whole
}

fn messages(parts: &[Vec<u8>]) -> Vec<Owned> {
    let (messages, end) = outcome(parts);
    assert_eq!(end, End::Open);
    messages
}

fn refused(parts: &[Vec<u8>]) -> Violation {
    match outcome(parts) {
        (_, End::Refused(violation)) => violation,
        other => panic!("accepted: {other:?}"),
    }
}

fn text(text: &str) -> Owned {
    Owned::Text(text.to_owned())
}

#[test]
fn the_examples_of_rfc_7692_section_7_2_3() {
    // One block; fragmented; repeated after its context was dropped; stored; with a final block; two blocks.
    let hello: [&[u8]; 4] = [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        &[
            0x00, 0x05, 0x00, 0xfa, 0xff, b'H', b'e', b'l', b'l', b'o', 0x00,
        ],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ],
    ];
    for payload in hello {
        assert_eq!(
            messages(&[frame(DEFLATED_TEXT, payload), frame(DEFLATED_TEXT, payload)]),
            [text("Hello"), text("Hello")],
            "{payload:x?}"
        );
    }
    let fragments = [
        frame(DEFLATED_TEXT_BEGINS, &[0xf2, 0x48, 0xcd]),
        frame(ENDS, &[0xc9, 0xc9, 0x07, 0x00]),
    ];
    assert_eq!(messages(&fragments), [text("Hello")]);
}

#[test]
fn an_empty_message_may_be_compressed() {
    assert_eq!(messages(&[frame(DEFLATED_TEXT, &[0])]), [text("")]);
    assert_eq!(
        messages(&[frame(DEFLATED_BINARY, &[])]),
        [Owned::Binary(Vec::new())]
    );
}

#[test]
fn messages_that_are_not_compressed_go_on_beside_those_that_are() {
    let parts = [
        frame(0x81, b"plain"),
        frame(DEFLATED_BINARY, &deflated(b"small")),
        frame(0x01, b"in two "),
        frame(ENDS, b"parts"),
    ];
    assert_eq!(
        messages(&parts),
        [
            text("plain"),
            Owned::Binary(b"small".to_vec()),
            text("in two parts")
        ]
    );
}

#[test]
fn control_frames_between_compressed_fragments_are_not_compressed() {
    let payload = deflated(b"in three parts");
    let (first, rest) = payload.split_at(3);
    let (second, third) = rest.split_at(3);
    let parts = [
        frame(DEFLATED_TEXT_BEGINS, first),
        frame(0x89, b"there?"),
        frame(CONTINUES, second),
        frame(0x8a, b""),
        frame(ENDS, third),
    ];
    assert_eq!(
        messages(&parts),
        [
            Owned::Ping(b"there?".to_vec()),
            Owned::Pong(Vec::new()),
            text("in three parts")
        ]
    );
}

#[test]
fn the_bit_stands_on_the_first_frame_of_a_message_alone() {
    let begun = frame(DEFLATED_TEXT_BEGINS, &[0xf2]);
    for wrong in [0xc0, 0x40, 0xc8, 0xc9, 0xca] {
        assert_eq!(
            refused(&[begun.clone(), frame(wrong, b"")]),
            Violation::ReservedBits,
            "{wrong:#x}"
        );
        assert_eq!(
            refused(&[frame(wrong, b"")]),
            Violation::ReservedBits,
            "{wrong:#x}"
        );
    }
    for wrong in [0xe1, 0xd1, 0xa1] {
        assert_eq!(
            refused(&[frame(wrong, b"")]),
            Violation::ReservedBits,
            "{wrong:#x}"
        );
    }
}

#[test]
fn nothing_compressed_is_taken_where_it_was_not_agreed() {
    let stream = frame(DEFLATED_TEXT, &deflated(b"hello"));
    assert_eq!(
        run(&stream, &[], LIMIT).1,
        End::Refused(Violation::ReservedBits)
    );
}

#[test]
fn fragments_keep_their_order_when_compressed() {
    let begun = frame(DEFLATED_TEXT_BEGINS, &[0xf2]);
    assert_eq!(
        refused(&[begun, frame(DEFLATED_TEXT, &deflated(b"x"))]),
        Violation::ExpectedContinuation
    );
}

#[test]
fn what_is_no_deflate_is_refused_with_1007() {
    for payload in [&[0x07, 0xff][..], &[0xff; 20]] {
        let violation = refused(&[frame(DEFLATED_BINARY, payload)]);
        assert_eq!(
            (violation, violation.close_code()),
            (Violation::InvalidDeflate, 1007)
        );
    }
}

#[test]
fn text_is_checked_after_it_was_inflated() {
    assert_eq!(
        messages(&[frame(DEFLATED_TEXT, &deflated("grüß dich 🦀".as_bytes()))]),
        [text("grüß dich 🦀")]
    );
    let violation = refused(&[frame(DEFLATED_TEXT, &deflated(b"\xc3("))]);
    assert_eq!(
        (violation, violation.close_code()),
        (Violation::InvalidUtf8, 1007)
    );
    assert_eq!(
        messages(&[frame(DEFLATED_BINARY, &deflated(b"\xc3("))]),
        [Owned::Binary(b"\xc3(".to_vec())]
    );
}

#[test]
fn the_limit_counts_what_a_message_becomes() {
    for (size, taken) in [(LIMIT, true), (LIMIT + 1, false)] {
        for payload in [deflated(&vec![b'a'; size]), deflated(&noise(size))] {
            let parts = [frame(DEFLATED_BINARY, &payload)];
            match outcome(&parts) {
                (messages, End::Open) if taken => assert_eq!(messages.len(), 1),
                (messages, End::Refused(Violation::MessageTooBig { limit: LIMIT })) if !taken => {
                    assert!(messages.is_empty());
                }
                other => panic!("{size}: {:?}", other.1),
            }
        }
    }
}

#[test]
fn a_deflate_bomb_is_refused_with_1009_and_never_held() {
    // A thousandfold: 64 MiB of zeros in 64 KiB.
    let bomb = deflated(&vec![0; 64 << 20]);
    assert!(bomb.len() < 80_000);
    let limit = 100_000;
    let mut stream = frame(DEFLATED_BINARY, &bomb);
    let (mut decoder, mut inflater) = (Decoder::new(limit), Inflater::new());
    // zlib's own state is there already.
    let _ = decoder.decode_with(
        &mut frame(DEFLATED_BINARY, &deflated(b"warm")),
        &mut inflater,
    );
    let mut violation = None;
    let info = measure(|| violation = decoder.decode_with(&mut stream, &mut inflater).err());
    assert_eq!(violation, Some(Violation::MessageTooBig { limit }));
    assert_eq!(
        violation.map(|violation| violation.close_code()),
        Some(1009)
    );
    assert!(
        info.bytes_max <= 2 * limit as u64,
        "{} bytes at once",
        info.bytes_max
    );
    assert_eq!(decoder.buffered(), 0);
}

#[test]
fn an_idle_connection_holds_nothing_for_compression() {
    let mut decoder = Decoder::new(LIMIT);
    let mut inflater = Inflater::new();
    let mut stream = frame(DEFLATED_TEXT, &deflated(&[b'a'; 3000]));
    let next = decoder
        .decode_with(&mut stream, &mut inflater)
        .expect("valid");
    assert!(matches!(next.message, Some(Message::Text(text)) if text.len() == 3000));
    assert!(decoder.buffered() >= 3000);
    let next = decoder.decode_with(&mut [], &mut inflater).expect("valid");
    assert!(next.message.is_none());
    assert_eq!(decoder.buffered(), 0);
}

#[test]
fn one_inflater_serves_any_number_of_connections_in_turn() {
    let mut inflater = Inflater::new();
    let mut broken = Decoder::new(LIMIT);
    assert!(
        broken
            .decode_with(&mut frame(DEFLATED_BINARY, &[0xff; 9]), &mut inflater)
            .is_err()
    );
    for index in 0..3 {
        let said = format!("connection {index}");
        let mut stream = frame(DEFLATED_TEXT, &deflated(said.as_bytes()));
        let mut decoder = Decoder::new(LIMIT);
        let next = decoder
            .decode_with(&mut stream, &mut inflater)
            .expect("valid");
        assert_eq!(next.message, Some(Message::Text(&said)));
    }
}

#[test]
fn small_and_incompressible_payloads_go_out_as_they_are() {
    let mut deflater = Deflater::new(6, Window::Wide);
    let small = vec![b'a'; WORTHWHILE - 1];
    let noise = noise(4000);
    for payload in [&small, &noise] {
        assert_eq!(
            deflater.encode(Opcode::Binary, payload),
            wsc_wire::encode(Opcode::Binary, payload)
        );
    }
    let ping = [b'a'; 125];
    assert_eq!(
        deflater.encode(Opcode::Ping, &ping),
        wsc_wire::encode(Opcode::Ping, &ping)
    );
    let level_0 = Deflater::new(0, Window::Wide).encode(Opcode::Binary, &[b'a'; 4000]);
    assert_eq!(level_0, wsc_wire::encode(Opcode::Binary, &[b'a'; 4000]));
}

#[test]
fn each_level_is_what_zlib_makes_of_it() {
    let words: Vec<String> = (0..3000)
        .map(|number| (number * number % 977).to_string())
        .collect();
    let words = words.join(" ");
    let sizes: Vec<usize> = (1..=9)
        .map(|level| {
            Deflater::new(level, Window::Wide)
                .encode(Opcode::Text, words.as_bytes())
                .len()
        })
        .collect();
    assert!(sizes[8] < sizes[0], "{sizes:?}");
    assert!(
        sizes.iter().all(|size| *size < words.len() / 2),
        "{sizes:?}"
    );
}

/// Bytes that do not shrink, the same each time.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..size).map(|_| next()).collect()
}

/// What another implementation reads in a frame of ours.
fn read_by_other(frame: &[u8], size: usize) -> Vec<u8> {
    assert_eq!(frame[0] & 0xf0, 0xc0, "final and compressed");
    let start = match frame[1] {
        0..=125 => 2,
        126 => 4,
        _ => 10,
    };
    let mut payload = frame[start..].to_vec();
    // The end that was left out, and a last block that zlib streams have.
    payload.extend([0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff]);
    decompress_to_vec_with_limit(&payload, size).expect("DEFLATE")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn another_implementation_reads_what_is_deflated(
        words in vec("[a-e]{1,12}", 100..400),
        level in 1..10_u8,
        narrow in any::<bool>(),
    ) {
        let window = if narrow { Window::Narrow } else { Window::Wide };
        let payload = words.join(" ");
        let mut deflater = Deflater::new(level, window);
        for _ in 0..2 {
            let frame = deflater.encode(Opcode::Text, payload.as_bytes());
            prop_assert_eq!(read_by_other(&frame, payload.len()), payload.as_bytes());
        }
    }

    #[test]
    fn what_another_implementation_deflates_is_read_however_it_is_cut(
        bodies in vec((vec("[a-e]{0,9}", 0..300), 0..10_u8, vec(1..200_usize, 0..4)), 1..5),
        pieces in vec(1..90_usize, 0..5),
    ) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (words, level, cuts) in bodies {
            let body = words.join(" ");
            let mut payload = compress_to_vec(body.as_bytes(), level);
            payload.push(0);
            let mut rest = &payload[..];
            let mut first = DEFLATED_TEXT_BEGINS;
            for cut in cuts {
                let (piece, behind) = rest.split_at(cut.min(rest.len()));
                stream.extend(frame(first, piece));
                (rest, first) = (behind, CONTINUES);
            }
            stream.extend(frame(first | 0x80, rest));
            expected.push(Owned::Text(body));
        }
        let (messages, end) = run_deflated(&stream, &pieces, LIMIT);
        prop_assert_eq!(end, End::Open);
        prop_assert_eq!(messages, expected);
    }

    #[test]
    fn what_is_deflated_comes_back_through_the_decoder(words in vec("[a-z]{1,9}", 60..300), level in 0..10_u8) {
        let payload = words.join(" ");
        let sent = Deflater::new(level, Window::Wide).encode(Opcode::Text, payload.as_bytes());
        let header = match sent[1] { 0..=125 => 2, 126 => 4, _ => 10 };
        let (messages, end) = run_deflated(&frame(sent[0], &sent[header..]), &[7], 1 << 20);
        prop_assert_eq!((messages, end), (vec![Owned::Text(payload)], End::Open));
    }

    #[test]
    fn any_bytes_are_read_or_refused_alike_however_they_are_cut(
        payload in vec(any::<u8>(), 0..200),
        pieces in vec(1..40_usize, 1..6),
    ) {
        let stream = [frame(DEFLATED_BINARY, &payload), frame(0x89, b"?")].concat();
        prop_assert_eq!(run_deflated(&stream, &pieces, 1000), run_deflated(&stream, &[], 1000));
    }
}
