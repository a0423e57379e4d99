//! Frames for clients: final, unmasked, with the shortest length (RFC 6455 5.1 and 5.2).
//!
//! Owns the layout of what the gateway sends. A frame is one `Bytes` of exactly its size, so that a publish is encoded
//! once and every outbox holds a reference. Never allocates more than that one buffer.

use bytes::Bytes;

use crate::{Opcode, close, header::MAX_SHORT};

/// What a close code leaves of the 125 bytes of a control frame.
const MAX_REASON: usize = 123;

/// The bit of a first byte that permessage-deflate gives a meaning.
const RSV1: u8 = 0x40;

/// The header of a frame for a client; put the payload behind it.
#[derive(Debug, Clone, Copy)]
pub struct HeaderBytes {
    bytes: [u8; 10],
    len: u8,
}

impl HeaderBytes {
    /// Two bytes, and the length where the second only announces it.
    fn new(first: u8, second: u8, length: &[u8]) -> Self {
        let mut bytes = [0; 10];
        let mut len = 0;
        for (slot, byte) in bytes.iter_mut().zip([first, second].iter().chain(length)) {
            *slot = *byte;
            len += 1;
        }
        Self { bytes, len }
    }

    /// The two to ten bytes of the header.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.len))
            .unwrap_or(&self.bytes)
    }
}

impl AsRef<[u8]> for HeaderBytes {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// The header of a final frame with `length` bytes of payload, for callers that build a frame around their own payload
/// in their own buffer. The payload of a control frame must not exceed 125 bytes.
pub fn header(opcode: Opcode, length: usize) -> HeaderBytes {
    let first = 0x80 | opcode.bits();
    if let Ok(short @ 0..=MAX_SHORT) = u8::try_from(length) {
        HeaderBytes::new(first, short, &[])
    } else if let Ok(medium) = u16::try_from(length) {
        HeaderBytes::new(first, 126, &medium.to_be_bytes())
    } else {
        HeaderBytes::new(first, 127, &(length as u64).to_be_bytes())
    }
}

/// One final frame, in one allocation of exactly its size. A control frame carries at most 125 bytes: a longer payload
/// is cut there, since the frame would be refused by every client.
pub fn encode(opcode: Opcode, payload: &[u8]) -> Bytes {
    let payload = match payload.split_at_checked(usize::from(MAX_SHORT)) {
        Some((head, _)) if opcode.is_control() => head,
        _ => payload,
    };
    join(opcode, payload, &[])
}

/// A close frame. The reason is cut to 123 bytes at the end of a character. A code that must not be sent, such as 1005
/// for "no code", gives a frame without code and reason.
pub fn encode_close(code: u16, reason: &str) -> Bytes {
    if !close::may_be_sent(code) {
        return join(Opcode::Close, &[], &[]);
    }
    let (reason, _) = reason.split_at(reason.floor_char_boundary(MAX_REASON));
    join(Opcode::Close, &code.to_be_bytes(), reason.as_bytes())
}

/// One final frame whose payload is deflated: the first reserved bit says so (RFC 7692 6).
pub(crate) fn join_deflated(opcode: Opcode, payload: &[u8]) -> Bytes {
    let header = header(opcode, payload.len());
    let mut frame = Vec::with_capacity(header.as_bytes().len() + payload.len());
    frame.extend_from_slice(header.as_bytes());
    if let Some(first) = frame.first_mut() {
        *first |= RSV1;
    }
    frame.extend_from_slice(payload);
    Bytes::from(frame)
}

/// The vector is exactly full, so that it becomes `Bytes` without another allocation.
fn join(opcode: Opcode, start: &[u8], end: &[u8]) -> Bytes {
    let length = start.len() + end.len();
    let header = header(opcode, length);
    let mut frame = Vec::with_capacity(header.as_bytes().len() + length);
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(start);
    frame.extend_from_slice(end);
    Bytes::from(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_takes_the_shortest_form() {
        let cases: [(usize, &[u8]); 6] = [
            (0, &[0x82, 0]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xff, 0xff]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (0x0102_0304_0506, &[0x82, 127, 0, 0, 1, 2, 3, 4, 5, 6]),
        ];
        for (length, expected) in cases {
            assert_eq!(header(Opcode::Binary, length).as_bytes(), expected);
        }
    }

    #[test]
    fn a_frame_is_its_header_and_its_payload() {
        assert_eq!(
            encode(Opcode::Text, b"Hello"),
            &[0x81, 5, b'H', b'e', b'l', b'l', b'o'][..]
        );
        assert_eq!(encode(Opcode::Pong, b""), &[0x8a, 0][..]);
        let long = vec![7; 70_000];
        let frame = encode(Opcode::Binary, &long);
        assert_eq!(
            (&frame[..10], &frame[10..]),
            (header(Opcode::Binary, 70_000).as_bytes(), &long[..])
        );
    }

    #[test]
    fn a_control_frame_never_exceeds_125_bytes() {
        for length in [125, 126, 1000] {
            let frame = encode(Opcode::Ping, &vec![7; length]);
            assert_eq!((&frame[..2], frame.len()), (&[0x89, 125][..], 127));
        }
    }

    #[test]
    fn a_reason_is_cut_at_the_end_of_a_character() {
        assert_eq!(
            encode_close(1000, "bye"),
            &[0x88, 5, 0x03, 0xe8, b'b', b'y', b'e'][..]
        );
        let frame = encode_close(1012, &"é".repeat(100));
        assert_eq!(frame[1], 124);
        assert_eq!(frame[4..], *"é".repeat(61).as_bytes());
        assert_eq!(encode_close(4000, &"x".repeat(123)).len(), 127);
        assert_eq!(encode_close(4000, &"x".repeat(124)).len(), 127);
    }

    #[test]
    fn codes_that_must_not_be_sent_are_left_out() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
            assert_eq!(encode_close(code, "reason"), &[0x88, 0][..], "{code}");
        }
    }
}
