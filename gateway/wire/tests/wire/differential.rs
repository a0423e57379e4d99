//! tungstenite and the decoder agree on what clients may send. `support/oracle.rs` lists where they may differ.

use std::io::{self, Cursor, Read, Write};

use crate::support::frames::frame;
use crate::support::oracle::compare;
use crate::support::streams;
use proptest::{collection::vec, prelude::*};
use tungstenite::{
    Message,
    protocol::{Role, WebSocket},
};
use wsc_wire::{Opcode, encode, encode_close};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn on_valid_streams(stream in streams::valid(300), pieces in vec(1..90_usize, 0..5)) {
        compare(&stream.encode(), &pieces, 300);
    }

    #[test]
    fn on_valid_streams_with_messages_over_the_limit(stream in streams::valid(300), pieces in vec(1..90_usize, 0..5)) {
        compare(&stream.encode(), &pieces, 125);
    }

    #[test]
    fn on_mutated_streams(stream in streams::mutated(), pieces in vec(1..90_usize, 0..5)) {
        compare(&stream, &pieces, 300);
    }

    #[test]
    fn on_frames_in_any_order(stream in streams::disordered(), pieces in vec(1..90_usize, 0..5)) {
        compare(&stream, &pieces, 300);
    }

    #[test]
    fn on_any_bytes(stream in vec(any::<u8>(), 0..64), pieces in vec(1..9_usize, 0..5)) {
        compare(&stream, &pieces, 300);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn on_messages_of_every_form_of_length(stream in streams::valid(140_000), pieces in vec(1..40_000_usize, 0..5)) {
        compare(&stream.encode(), &pieces, 140_000);
    }
}

#[test]
fn on_every_close_code() {
    for code in 0..=u16::MAX {
        compare(&frame(0x88, &code.to_be_bytes()), &[], 125);
    }
}

#[test]
fn on_every_first_two_bytes() {
    for first in 0..=u8::MAX {
        for second in 0..=u8::MAX {
            let stream = [&[first, second][..], &[0; 300]].concat();
            compare(&stream[..2], &[], 200);
            compare(&stream, &[], 200);
        }
    }
}

#[test]
fn its_client_reads_what_is_encoded() {
    for length in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
        let text = "x".repeat(length);
        assert_eq!(
            read_as_client(&encode(Opcode::Text, text.as_bytes())),
            Message::text(&*text)
        );
        assert_eq!(
            read_as_client(&encode(Opcode::Binary, text.as_bytes())),
            Message::binary(text.into_bytes())
        );
    }
    assert_eq!(
        read_as_client(&encode(Opcode::Ping, b"?")),
        Message::Ping("?".into())
    );
    assert_eq!(
        read_as_client(&encode(Opcode::Pong, b"!")),
        Message::Pong("!".into())
    );
    let Message::Close(Some(frame)) = read_as_client(&encode_close(1012, &"é".repeat(100))) else {
        panic!("not a close frame with a code");
    };
    assert_eq!((u16::from(frame.code), frame.reason.len()), (1012, 122));
    assert_eq!(
        read_as_client(&encode_close(1005, "")),
        Message::Close(None)
    );
}

fn read_as_client(stream: &[u8]) -> Message {
    let pipe = Pipe(Cursor::new(stream.to_vec()));
    let mut socket = WebSocket::from_raw_socket(pipe, Role::Client, None);
    socket.read().expect("a frame that a client accepts")
}

struct Pipe(Cursor<Vec<u8>>);

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
