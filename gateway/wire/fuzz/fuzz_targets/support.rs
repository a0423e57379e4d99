//! How both targets read their input, and what they share with the tests of the crate.
//!
//! The first bytes choose the limit, how the stream is cut and whether it is repaired; the rest is the stream. Repaired,
//! it is read as frames whose mask bit and opcode are put right most of the time: bytes at random hardly get past the
//! first header otherwise.

#[path = "../../tests/wire/support/frames.rs"]
pub(crate) mod frames;

/// A stream, the sizes of the pieces it comes in, and the limit of messages.
pub(crate) struct Case {
    pub(crate) stream: Vec<u8>,
    pub(crate) pieces: Vec<usize>,
    pub(crate) limit: usize,
}

impl Case {
    /// Nothing to do for less than a choice of each.
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let ([limit, first, second, third, repair], stream) = data.split_first_chunk::<5>()?;
        let pieces = [first, second, third]
            .into_iter()
            .filter(|size| **size > 0)
            .map(|size| usize::from(*size));
        Some(Self {
            stream: if repair % 2 == 0 {
                stream.to_vec()
            } else {
                repaired(stream)
            },
            pieces: pieces.collect(),
            limit: 125 + usize::from(*limit) * 4,
        })
    }
}

/// Reads frames of one byte that becomes the first, one of length, a mask of four, and the payload.
fn repaired(mut bytes: &[u8]) -> Vec<u8> {
    let mut stream = Vec::with_capacity(bytes.len());
    while let [choice, length, a, b, c, d, rest @ ..] = bytes {
        let first = match choice % 16 {
            0 => 0x01,
            1 => 0x02,
            2..=4 => 0x00,
            5 | 6 => 0x80,
            7 | 8 => 0x81,
            9 => 0x82,
            10 => 0xc1,
            11 => 0x89,
            12 => 0x8a,
            13 if length % 2 == 0 => 0x41,
            13 => 0x88,
            _ => choice.rotate_left(4),
        };
        let (payload, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        let frame = frames::masked_frame(first, payload, [*a, *b, *c, *d]);
        // Now and then the frame is cut off, and what follows is read in the middle of it.
        stream.extend(&frame[..frame.len() - usize::from(choice / 250).min(frame.len())]);
        bytes = rest;
    }
    stream.extend(bytes);
    stream
}
