//! Streams of client frames and what the decoder makes of them, for all tests and fuzz targets.
//!
//! `run` also checks what must hold whatever the client sends: how much is consumed, what is held, and that a refusal
//! is final.

use wsc_wire::{CloseFrame, Decoded, Decoder, Inflater, Message, Violation};

/// A `Message` that outlives its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Message<'_>> for Owned {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.to_owned()),
            Message::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Message::Ping(bytes) => Self::Ping(bytes.to_vec()),
            Message::Pong(bytes) => Self::Pong(bytes.to_vec()),
            Message::Close(frame) => {
                Self::Close(frame.map(|CloseFrame { code, reason }| (code, reason.to_owned())))
            }
        }
    }
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// More may come.
    Open,
    /// With a close frame.
    Closed,
    /// With a violation.
    Refused(Violation),
}

/// All messages of a stream and its end.
pub(crate) type Outcome = (Vec<Owned>, End);

/// A masked frame. `first` is the first byte: 0x80 for final, reserved bits, opcode.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    masked_frame(first, payload, [0x37, 0xfa, 0x21, 0x3d])
}

/// A masked frame with the length in its shortest form.
pub(crate) fn masked_frame(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = length_header(first, 0x80, payload.len() as u64);
    frame.extend(key);
    frame.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}

/// The bytes of a header up to the mask; `mask_bit` is 0x80 or 0.
pub(crate) fn length_header(first: u8, mask_bit: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..=125 => header.push(mask_bit | length.to_be_bytes()[7]),
        126..=0xffff => {
            header.push(mask_bit | 0x7e);
            header.extend(&length.to_be_bytes()[6..]);
        }
        _ => {
            header.push(mask_bit | 0x7f);
            header.extend(length.to_be_bytes());
        }
    }
    header
}

/// Decodes a stream that arrives in pieces of the given sizes, over and over; no sizes: in one piece.
pub(crate) fn run(stream: &[u8], pieces: &[usize], limit: usize) -> Outcome {
    let decoder = Subject {
        decoder: Decoder::new(limit),
        inflater: None,
        most: limit + 125,
    };
    run_subject(decoder, stream, pieces)
}

/// The same where permessage-deflate was agreed.
#[allow(dead_code, reason = "not every fuzz target compresses")]
pub(crate) fn run_deflated(stream: &[u8], pieces: &[usize], limit: usize) -> Outcome {
    let decoder = Subject {
        decoder: Decoder::new(limit),
        inflater: Some(Inflater::new()),
        // What has arrived of a compressed message may be a little more than what it becomes.
        most: limit + limit / 8 + limit / 64 + 64 + 125,
    };
    run_subject(decoder, stream, pieces)
}

/// A decoder, and the inflater of its thread where there is one.
struct Subject {
    decoder: Decoder,
    inflater: Option<Inflater>,
    /// The most bytes it may hold.
    most: usize,
}

impl Subject {
    fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Decoded<'a>, Violation> {
        match &mut self.inflater {
            Some(inflater) => self.decoder.decode_with(input, inflater),
            None => self.decoder.decode(input),
        }
    }

    fn buffered(&self) -> usize {
        self.decoder.buffered()
    }
}

fn run_subject(mut decoder: Subject, stream: &[u8], pieces: &[usize]) -> Outcome {
    let mut messages = Vec::new();
    let mut rest = stream;
    let mut sizes = pieces.iter().copied().cycle();
    let mut closed = false;
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(usize::MAX).clamp(1, rest.len());
        let (piece, behind) = rest.split_at(size);
        rest = behind;
        let used = match decode_piece(&mut decoder, piece, &mut messages) {
            Ok(used) => used,
            Err(violation) => return (messages, End::Refused(violation)),
        };
        if matches!(messages.last(), Some(Owned::Close(_))) {
            closed = true;
            assert_final_close(&mut decoder, &piece[used..]);
            break;
        }
    }
    (messages, if closed { End::Closed } else { End::Open })
}

/// The caller's loop over one read; stops behind a close frame. Returns how many bytes were consumed.
fn decode_piece(
    decoder: &mut Subject,
    piece: &[u8],
    messages: &mut Vec<Owned>,
) -> Result<usize, Violation> {
    let mut piece = piece.to_vec();
    let mut used = 0;
    loop {
        let left = piece.len() - used;
        let next = match decoder.decode(&mut piece[used..]) {
            Ok(next) => next,
            Err(violation) => {
                assert_final(decoder, violation);
                return Err(violation);
            }
        };
        assert!(
            next.consumed <= left,
            "consumed {} of {left}",
            next.consumed
        );
        used += next.consumed;
        let message = next.message.map(Owned::from);
        let ended = message.is_none();
        let closed = matches!(message, Some(Owned::Close(_)));
        messages.extend(message);
        let held = decoder.buffered();
        assert!(held <= decoder.most, "holds {held} of {}", decoder.most);
        if ended {
            assert_eq!(used, piece.len(), "no message, but input is left");
            return Ok(used);
        }
        if closed {
            return Ok(used);
        }
    }
}

fn assert_final(decoder: &mut Subject, violation: Violation) {
    assert!(decoder.buffered() <= 125, "a refused stream is still held");
    for mut more in [Vec::new(), frame(0x81, b"more")] {
        assert_eq!(
            decoder.decode(&mut more).map(|next| next.consumed),
            Err(violation)
        );
    }
}

fn assert_final_close(decoder: &mut Subject, behind: &[u8]) {
    assert_eq!(
        decoder
            .decode(&mut [])
            .map(|next| (next.consumed, next.message.is_none())),
        Ok((0, true))
    );
    assert_eq!(decoder.buffered(), 0);
    let mut more = if behind.is_empty() {
        vec![0]
    } else {
        behind.to_vec()
    };
    assert_eq!(
        decoder.decode(&mut more).map(|next| next.consumed),
        Err(Violation::ReceivedAfterClose)
    );
}
