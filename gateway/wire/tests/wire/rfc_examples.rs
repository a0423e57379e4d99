//! The examples of RFC 6455 section 5.7, in both directions.

use wsc_wire::{Decoder, Message, Opcode, Violation, encode, header};

/// Key of the masked examples.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[test]
fn a_single_frame_masked_text_message() {
    let mut stream = [
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    let mut decoder = Decoder::new(1024);
    let next = decoder.decode(&mut stream).expect("a valid frame");
    assert_eq!(
        (next.consumed, next.message),
        (11, Some(Message::Text("Hello")))
    );
}

#[test]
fn a_masked_pong() {
    let mut stream = [
        0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    let mut decoder = Decoder::new(1024);
    let next = decoder.decode(&mut stream).expect("a valid frame");
    assert_eq!(
        (next.consumed, next.message),
        (11, Some(Message::Pong(b"Hello")))
    );
}

#[test]
fn a_fragmented_message_as_a_client_would_mask_it() {
    let mut stream = Vec::new();
    for (head, payload) in [([0x01, 0x83], &b"Hel"[..]), ([0x80, 0x82], &b"lo"[..])] {
        stream.extend(head);
        stream.extend(KEY);
        stream.extend(payload.iter().zip(KEY).map(|(byte, key)| byte ^ key));
    }
    let mut decoder = Decoder::new(1024);
    let next = decoder.decode(&mut stream).expect("valid frames");
    assert_eq!(
        (next.consumed, next.message),
        (17, Some(Message::Text("Hello")))
    );
}

#[test]
fn unmasked_frames_are_what_the_server_sends_and_never_takes() {
    let table: [(&[u8], Opcode, &[u8]); 3] = [
        (
            &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f],
            Opcode::Text,
            b"Hello",
        ),
        (
            &[0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f],
            Opcode::Ping,
            b"Hello",
        ),
        (&[0x80, 0x02, 0x6c, 0x6f], Opcode::Continuation, b"lo"),
    ];
    for (bytes, opcode, payload) in table {
        assert_eq!(encode(opcode, payload), bytes);
        let refusal = Decoder::new(1024)
            .decode(&mut bytes.to_vec())
            .expect_err("not masked");
        assert_eq!(refusal, Violation::UnmaskedFrame);
    }
}

#[test]
fn binary_messages_of_256_bytes_and_64_kib() {
    let table: [(usize, &[u8]); 2] = [
        (256, &[0x82, 0x7e, 0x01, 0x00]),
        (65_536, &[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]),
    ];
    for (length, bytes) in table {
        assert_eq!(header(Opcode::Binary, length).as_bytes(), bytes);
        let mut stream = bytes.to_vec();
        stream[1] |= 0x80;
        stream.extend(KEY);
        stream.extend((0..length).map(|index| 7 ^ KEY[index % 4]));
        let mut decoder = Decoder::new(65_536);
        let next = decoder.decode(&mut stream).expect("a valid frame");
        assert_eq!(next.message, Some(Message::Binary(&vec![7; length])));
    }
}
