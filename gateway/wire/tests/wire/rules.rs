//! Each rule of RFC 6455 for what a client may send, and when breaking it is noticed.

use crate::support::frames::{End, Owned, frame, length_header, run};
use wsc_wire::{Decoder, MAX_FRAGMENTS, Violation};

const LIMIT: usize = 1000;

/// The end of a stream, which must not depend on how it is cut.
fn end(parts: &[Vec<u8>]) -> End {
    let stream = parts.concat();
    let (_, end) = run(&stream, &[], LIMIT);
    assert_eq!(run(&stream, &[1], LIMIT).1, end);
    end
}

/// The messages of a stream that is accepted.
fn messages(parts: &[Vec<u8>]) -> Vec<Owned> {
    let stream = parts.concat();
    let (messages, end) = run(&stream, &[], LIMIT);
    assert_eq!(end, End::Open);
    assert_eq!(run(&stream, &[1], LIMIT).0, messages);
    messages
}

/// At which byte, counted from 1, a stream is refused when it comes byte by byte.
fn refused_at(stream: &[u8]) -> usize {
    let mut decoder = Decoder::new(LIMIT);
    for (index, byte) in stream.iter().enumerate() {
        if decoder.decode(&mut [*byte]).is_err() {
            return index + 1;
        }
    }
    panic!("accepted");
}

fn text(text: &str) -> Owned {
    Owned::Text(text.to_owned())
}

#[test]
fn a_frame_without_mask_is_refused() {
    assert_eq!(
        end(&[vec![0x81, 0x01, b'a']]),
        End::Refused(Violation::UnmaskedFrame)
    );
}

#[test]
fn each_reserved_bit_is_refused() {
    for first in [0xc1, 0xa1, 0x91, 0xc0, 0xc9] {
        assert_eq!(
            end(&[frame(first, b"a")]),
            End::Refused(Violation::ReservedBits),
            "{first:#x}"
        );
    }
}

#[test]
fn reserved_opcodes_are_refused() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        assert_eq!(
            end(&[frame(0x80 | opcode, b"a")]),
            End::Refused(Violation::ReservedOpcode(opcode))
        );
    }
}

#[test]
fn control_frames_come_between_fragments_and_leave_the_message_alone() {
    let stream = [
        frame(0x01, b"one "),
        frame(0x89, b"?"),
        frame(0x00, b"two "),
        frame(0x8a, b"!"),
        frame(0x80, b"three"),
    ];
    assert_eq!(
        messages(&stream),
        [
            Owned::Ping(b"?".to_vec()),
            Owned::Pong(b"!".to_vec()),
            text("one two three")
        ]
    );
}

#[test]
fn a_control_frame_is_neither_fragmented_nor_long() {
    assert_eq!(
        end(&[frame(0x09, b"")]),
        End::Refused(Violation::FragmentedControlFrame)
    );
    assert_eq!(
        end(&[frame(0x08, b"")]),
        End::Refused(Violation::FragmentedControlFrame)
    );
    assert_eq!(
        messages(&[frame(0x89, &[7; 125])]),
        [Owned::Ping(vec![7; 125])]
    );
    assert_eq!(
        end(&[frame(0x89, &[7; 126])]),
        End::Refused(Violation::ControlFrameTooLong)
    );
}

#[test]
fn control_frames_do_not_count_towards_the_limit_of_messages() {
    let stream = frame(0x89, &[7; 125]);
    assert_eq!(
        run(&stream, &[], 1),
        (vec![Owned::Ping(vec![7; 125])], End::Open)
    );
    assert_eq!(
        run(&stream, &[50], 1),
        (vec![Owned::Ping(vec![7; 125])], End::Open)
    );
}

#[test]
fn a_continuation_needs_a_message_and_a_message_needs_its_continuation() {
    assert_eq!(
        end(&[frame(0x80, b"a")]),
        End::Refused(Violation::UnexpectedContinuation)
    );
    assert_eq!(
        end(&[frame(0x00, b"a")]),
        End::Refused(Violation::UnexpectedContinuation)
    );
    let finished = [frame(0x01, b"a"), frame(0x80, b"b"), frame(0x80, b"c")];
    assert_eq!(
        end(&finished),
        End::Refused(Violation::UnexpectedContinuation)
    );
    for first in [0x81, 0x82, 0x01, 0x02] {
        assert_eq!(
            end(&[frame(0x02, b""), frame(first, b"a")]),
            End::Refused(Violation::ExpectedContinuation)
        );
    }
}

#[test]
fn empty_fragments_and_messages_are_messages() {
    assert_eq!(messages(&[frame(0x81, b"")]), [text("")]);
    assert_eq!(
        messages(&[frame(0x02, b""), frame(0x00, b""), frame(0x80, b"")]),
        [Owned::Binary(Vec::new())]
    );
    assert_eq!(
        messages(&[frame(0x01, b""), frame(0x80, b"last")]),
        [text("last")]
    );
    assert_eq!(
        messages(&[frame(0x01, b"first"), frame(0x80, b"")]),
        [text("first")]
    );
}

#[test]
fn lengths_have_their_shortest_form() {
    let short = [&[0x82, 0xfe, 0, 125, 0, 0, 0, 0][..], &[0; 125]].concat();
    assert_eq!(end(&[short]), End::Refused(Violation::NonMinimalLength));
    let medium = vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    assert_eq!(end(&[medium]), End::Refused(Violation::NonMinimalLength));
    let negative = vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(end(&[negative]), End::Refused(Violation::LengthOutOfRange));
}

#[test]
fn the_limit_holds_for_a_frame_and_for_the_sum_of_fragments() {
    let too_big = End::Refused(Violation::MessageTooBig { limit: LIMIT });
    assert_eq!(
        messages(&[frame(0x82, &[7; LIMIT])]),
        [Owned::Binary(vec![7; LIMIT])]
    );
    assert_eq!(end(&[frame(0x82, &[7; LIMIT + 1])]), too_big);
    let full = [frame(0x02, &[7; 600]), frame(0x80, &[7; 400])];
    assert_eq!(messages(&full), [Owned::Binary(vec![7; LIMIT])]);
    assert_eq!(
        end(&[frame(0x02, &[7; 600]), frame(0x80, &[7; 401])]),
        too_big
    );
}

#[test]
fn a_length_over_the_limit_is_refused_with_the_header() {
    for length in [1001, 1 << 20, 1 << 62, u64::MAX >> 1] {
        let header = [length_header(0x82, 0x80, length), vec![1, 2, 3, 4]].concat();
        assert_eq!(refused_at(&header), header.len());
    }
    assert_eq!(
        Decoder::new(usize::MAX)
            .decode(&mut [0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])
            .map(|next| next.consumed),
        Ok(14)
    );
}

#[test]
fn a_message_has_a_bounded_number_of_fragments() {
    let begin = frame(0x02, b"");
    let continuation = frame(0x00, b"");
    let most: Vec<Vec<u8>> = (1..MAX_FRAGMENTS).map(|_| continuation.clone()).collect();
    let taken = [begin, most.concat()].concat();
    assert_eq!(run(&taken, &[], LIMIT).1, End::Open);
    let over = [taken, continuation].concat();
    assert_eq!(
        run(&over, &[], LIMIT).1,
        End::Refused(Violation::TooManyFragments {
            limit: MAX_FRAGMENTS
        })
    );
}

#[test]
fn text_is_utf8_as_a_whole_not_in_each_fragment() {
    let crab = "🦀".as_bytes();
    let split = [
        frame(0x01, &crab[..1]),
        frame(0x00, &crab[1..3]),
        frame(0x89, b""),
        frame(0x80, &crab[3..]),
    ];
    assert_eq!(messages(&split), [Owned::Ping(Vec::new()), text("🦀")]);
    assert_eq!(
        end(&[frame(0x81, &crab[..3])]),
        End::Refused(Violation::InvalidUtf8)
    );
    assert_eq!(
        end(&[frame(0x01, &crab[..3]), frame(0x80, b"")]),
        End::Refused(Violation::InvalidUtf8)
    );
    assert_eq!(
        end(&[frame(0x81, b"\xed\xa0\x80")]),
        End::Refused(Violation::InvalidUtf8)
    );
    assert_eq!(
        messages(&[frame(0x82, b"\xff\xfe")]),
        [Owned::Binary(b"\xff\xfe".to_vec())]
    );
}

#[test]
fn a_wrong_byte_of_text_is_noticed_when_it_arrives() {
    // Autobahn 6.4: the fragment or the frame that brings the byte is not complete yet.
    let header = 6;
    assert_eq!(
        refused_at(&frame(0x81, b"caf\xc3(, and much more")),
        header + 5
    );
    assert_eq!(
        refused_at(&frame(0x81, b"\xf4\x90\x80\x80 and more")),
        header + 2
    );
    let first = frame(0x01, b"ok \xe2\x82");
    assert_eq!(
        refused_at(&[first.clone(), frame(0x00, b"\xff and more")].concat()),
        first.len() + header + 1
    );
    let whole_fragment = [frame(0x01, b"\xc0"), frame(0x80, b"never looked at")].concat();
    assert_eq!(refused_at(&whole_fragment), header + 1);
}

#[test]
fn a_close_frame_has_a_valid_code_and_reason_or_nothing() {
    assert_eq!(end(&[frame(0x88, b"")]), End::Closed);
    assert_eq!(end(&[frame(0x88, b"\x0f\xa0bye")]), End::Closed);
    assert_eq!(
        end(&[frame(0x88, b"\x03")]),
        End::Refused(Violation::TruncatedCloseCode)
    );
    assert_eq!(
        end(&[frame(0x88, b"\x03\xe8\xff")]),
        End::Refused(Violation::InvalidUtf8)
    );
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        assert_eq!(
            end(&[frame(0x88, &code.to_be_bytes())]),
            End::Refused(Violation::InvalidCloseCode(code))
        );
    }
}

#[test]
fn a_close_frame_may_break_off_a_message_and_is_the_last() {
    let (messages, end) = run(
        &[frame(0x01, b"never "), frame(0x88, b"")].concat(),
        &[],
        LIMIT,
    );
    assert_eq!((messages, end), (vec![Owned::Close(None)], End::Closed));
    let mut decoder = Decoder::new(LIMIT);
    let mut stream = [frame(0x88, b""), frame(0x81, b"more")].concat();
    let consumed = decoder.decode(&mut stream).expect("a close frame").consumed;
    assert_eq!(consumed, 6);
    assert_eq!(
        decoder.decode(&mut stream[consumed..]),
        Err(Violation::ReceivedAfterClose)
    );
}
