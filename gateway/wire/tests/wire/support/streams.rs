//! Random streams of client frames: valid ones with the messages they carry, and ones with something wrong.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::frames::{Owned, length_header, masked_frame};

/// One frame before it is masked.
#[derive(Debug, Clone)]
pub(crate) struct Plain {
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
    pub(crate) key: [u8; 4],
}

impl Plain {
    fn encode(&self) -> Vec<u8> {
        masked_frame(self.first, &self.payload, self.key)
    }
}

/// The frames of a stream and the messages in it.
#[derive(Debug, Clone)]
pub(crate) struct Valid {
    pub(crate) frames: Vec<Plain>,
    pub(crate) messages: Vec<Owned>,
}

impl Valid {
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.frames.iter().flat_map(Plain::encode).collect()
    }
}

/// Messages of up to `longest` bytes, fragmented and interleaved at will, with or without a close at the end.
pub(crate) fn valid(longest: usize) -> impl Strategy<Value = Valid> {
    let close = proptest::option::weighted(0.3, close());
    (vec(fragmented(longest), 0..6), close).prop_map(|(parts, close)| {
        let mut stream = Valid {
            frames: Vec::new(),
            messages: Vec::new(),
        };
        for part in parts.into_iter().chain(close) {
            stream.frames.extend(part.frames);
            stream.messages.extend(part.messages);
        }
        stream
    })
}

/// A valid stream to which something was done: bytes flipped, inserted, removed or cut off, lengths made longer.
pub(crate) fn mutated() -> impl Strategy<Value = Vec<u8>> {
    (valid(300), vec(mutation(), 1..4)).prop_map(|(stream, mutations)| {
        let Valid { mut frames, .. } = stream;
        for mutation in &mutations {
            mutation.apply_to_frames(&mut frames);
        }
        let padded = mutations.iter().find_map(Mutation::padded_length);
        let mut bytes = match padded {
            Some((frame, width)) if !frames.is_empty() => {
                encode_padded(&frames, frame.index(frames.len()), width)
            }
            _ => frames.iter().flat_map(Plain::encode).collect(),
        };
        for mutation in &mutations {
            mutation.apply_to_bytes(&mut bytes);
        }
        bytes
    })
}

/// Frames of any kind in any order, mostly wrong.
pub(crate) fn disordered() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        text(40).prop_map(String::into_bytes),
        vec(any::<u8>(), 0..200)
    ];
    let frame = (first, payload, any::<[u8; 4]>()).prop_map(|(first, payload, key)| Plain {
        first,
        payload,
        key,
    });
    vec(frame, 0..8).prop_map(|frames| frames.iter().flat_map(Plain::encode).collect())
}

fn text(longest: usize) -> impl Strategy<Value = String> {
    let character = prop_oneof![3 => prop::char::range(' ', '~'), 2 => any::<char>()];
    vec(character, 0..=longest / 4).prop_map(|characters| characters.into_iter().collect())
}

/// A data message in fragments, with control frames before each.
fn fragmented(longest: usize) -> impl Strategy<Value = Valid> {
    let message = prop_oneof![
        text(longest).prop_map(Owned::Text),
        vec(any::<u8>(), 0..=longest).prop_map(Owned::Binary),
    ];
    let fragment = (any::<Index>(), any::<[u8; 4]>(), vec(control(), 0..2));
    (message, vec(fragment, 1..5)).prop_map(|(message, fragments)| {
        let (opcode, payload) = match &message {
            Owned::Text(text) => (0x1, text.as_bytes()),
            Owned::Binary(bytes) => (0x2, &bytes[..]),
            Owned::Ping(_) | Owned::Pong(_) | Owned::Close(_) => unreachable!("not a data message"),
        };
        let mut cuts: Vec<usize> = fragments[1..]
            .iter()
            .map(|(cut, ..)| cut.index(payload.len() + 1))
            .collect();
        cuts.extend([0, payload.len()]);
        cuts.sort_unstable();
        let mut stream = Valid {
            frames: Vec::new(),
            messages: Vec::new(),
        };
        for (index, (_, key, controls)) in fragments.iter().enumerate() {
            for (frame, message) in controls {
                stream.frames.push(frame.clone());
                stream.messages.push(message.clone());
            }
            let opcode = if index == 0 { opcode } else { 0 };
            let fin = if index + 1 == fragments.len() {
                0x80
            } else {
                0
            };
            let payload = payload[cuts[index]..cuts[index + 1]].to_vec();
            stream.frames.push(Plain {
                first: fin | opcode,
                payload,
                key: *key,
            });
        }
        stream.messages.push(message);
        stream
    })
}

fn control() -> impl Strategy<Value = (Plain, Owned)> {
    (any::<bool>(), vec(any::<u8>(), 0..=125), any::<[u8; 4]>()).prop_map(|(ping, payload, key)| {
        let (first, message) = if ping {
            (0x89, Owned::Ping(payload.clone()))
        } else {
            (0x8a, Owned::Pong(payload.clone()))
        };
        (
            Plain {
                first,
                payload,
                key,
            },
            message,
        )
    })
}

fn close() -> impl Strategy<Value = Valid> {
    let code = prop_oneof![1000..=1003_u16, 1007..=1014_u16, 3000..=4999_u16];
    let content = proptest::option::of((code, text(120)));
    (content, any::<[u8; 4]>()).prop_map(|(content, key)| {
        let payload = content
            .iter()
            .flat_map(|(code, reason)| [&code.to_be_bytes()[..], reason.as_bytes()].concat());
        let frames = vec![Plain {
            first: 0x88,
            payload: payload.collect(),
            key,
        }];
        Valid {
            frames,
            messages: vec![Owned::Close(content)],
        }
    })
}

#[derive(Debug, Clone)]
enum Mutation {
    FirstByte(Index, u8),
    PayloadByte(Index, Index, u8),
    CloseCode(Index, u16),
    PaddedLength(Index, u8),
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Truncate(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    prop_oneof![
        (index(), any::<u8>()).prop_map(|(frame, bits)| Mutation::FirstByte(frame, bits)),
        (index(), index(), any::<u8>())
            .prop_map(|(frame, byte, bits)| Mutation::PayloadByte(frame, byte, bits)),
        (index(), 990..5010_u16).prop_map(|(frame, code)| Mutation::CloseCode(frame, code)),
        (index(), prop::sample::select(vec![126, 127]))
            .prop_map(|(frame, width)| Mutation::PaddedLength(frame, width)),
        (index(), any::<u8>()).prop_map(|(byte, bits)| Mutation::Flip(byte, bits)),
        (index(), any::<u8>()).prop_map(|(byte, value)| Mutation::Insert(byte, value)),
        index().prop_map(Mutation::Remove),
        index().prop_map(Mutation::Truncate),
    ]
}

impl Mutation {
    fn apply_to_frames(&self, frames: &mut Vec<Plain>) {
        if frames.is_empty() {
            return;
        }
        let count = frames.len();
        match self {
            Self::FirstByte(frame, bits) => frames[frame.index(count)].first ^= 1 << (bits % 8),
            Self::PayloadByte(frame, byte, bits) => {
                let payload = &mut frames[frame.index(count)].payload;
                if !payload.is_empty() {
                    let byte = byte.index(payload.len());
                    payload[byte] ^= bits;
                }
            }
            Self::CloseCode(frame, code) => {
                let payload = code.to_be_bytes().to_vec();
                frames.insert(
                    frame.index(count),
                    Plain {
                        first: 0x88,
                        payload,
                        key: [9, 8, 7, 6],
                    },
                );
            }
            _ => {}
        }
    }

    fn padded_length(&self) -> Option<(Index, u8)> {
        match self {
            Self::PaddedLength(frame, width) => Some((*frame, *width)),
            _ => None,
        }
    }

    fn apply_to_bytes(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let count = bytes.len();
        match self {
            Self::Flip(byte, bits) => bytes[byte.index(count)] ^= bits,
            Self::Insert(byte, value) => bytes.insert(byte.index(count), *value),
            Self::Remove(byte) => drop(bytes.remove(byte.index(count))),
            Self::Truncate(byte) => bytes.truncate(byte.index(count)),
            _ => {}
        }
    }
}

/// Encodes all frames, one of them with a length of 16 (126) or 64 (127) bits whether it needs it or not.
fn encode_padded(frames: &[Plain], chosen: usize, width: u8) -> Vec<u8> {
    let mut stream = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        let encoded = frame.encode();
        let length = frame.payload.len() as u64;
        let minimal = length_header(frame.first, 0x80, length);
        if index == chosen && minimal.len() < 10 {
            stream.extend([frame.first, 0x80 | width]);
            stream.extend(&length.to_be_bytes()[if width == 126 { 6 } else { 0 }..]);
            stream.extend(&encoded[minimal.len()..]);
        } else {
            stream.extend(encoded);
        }
    }
    stream
}
