//! The header of a client's frame (RFC 6455 5.2).
//!
//! Owns the layout and every rule that needs nothing but the header; rules that need to know what came before are the
//! decoder's. `Stash` keeps a header that the input cut in two.

use crate::{Opcode, Violation, input::Input, mask::Mask};

/// Two bytes, eight of length, four of mask.
const MAX_LEN: usize = 14;

/// The longest payload of a control frame (RFC 6455 5.5), and the longest that the second byte alone can tell.
pub(crate) const MAX_SHORT: u8 = 125;

/// A header that keeps the rules which need no context.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameHeader {
    /// Whether the message ends with this frame.
    pub(crate) fin: bool,
    /// The reserved bit that permessage-deflate gives a meaning; the others are refused here.
    pub(crate) rsv1: bool,
    pub(crate) opcode: Opcode,
    /// Length of the payload in bytes, as declared.
    pub(crate) length: u64,
    pub(crate) mask: Mask,
}

impl FrameHeader {
    /// Reads a header from the start of `bytes` and tells how many it takes; `None` when it goes on behind them.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let [first, rest @ ..] = bytes else {
            return Ok(None);
        };
        let (fin, rsv1) = (first & 0x80 != 0, first & 0x40 != 0);
        if first & 0x30 != 0 {
            return Err(Violation::ReservedBits);
        }
        let opcode = Opcode::from_bits(first & 0x0f)?;
        if opcode.is_control() && !fin {
            return Err(Violation::FragmentedControlFrame);
        }
        let [second, rest @ ..] = rest else {
            return Ok(None);
        };
        if second & 0x80 == 0 {
            return Err(Violation::UnmaskedFrame);
        }
        let short = second & 0x7f;
        if opcode.is_control() && short > MAX_SHORT {
            return Err(Violation::ControlFrameTooLong);
        }
        let Some((length, rest)) = parse_length(short, rest)? else {
            return Ok(None);
        };
        let Some((key, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let mask = Mask::new(*key);
        let header = Self {
            fin,
            rsv1,
            opcode,
            length,
            mask,
        };
        Ok(Some((header, bytes.len() - rest.len())))
    }
}

/// Reads the length that the seven bits `short` tell or announce; returns it and what stands behind it.
fn parse_length(short: u8, bytes: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    let (length, rest, minimum) = match short {
        0..=MAX_SHORT => return Ok(Some((u64::from(short), bytes))),
        126 => match bytes.split_first_chunk::<2>() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest, 126),
            None => return Ok(None),
        },
        _ => match bytes.split_first_chunk::<8>() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest, 1 << 16),
            None => return Ok(None),
        },
    };
    if length < minimum {
        return Err(Violation::NonMinimalLength);
    }
    if length >> 63 != 0 {
        return Err(Violation::LengthOutOfRange);
    }
    Ok(Some((length, rest)))
}

/// The bytes of a header whose rest has not arrived; empty between frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stash {
    bytes: [u8; MAX_LEN],
    len: u8,
}

impl Stash {
    /// Nothing has arrived yet.
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; MAX_LEN],
            len: 0,
        }
    }

    /// Takes a header from the front of `input`. Without one, all of `input` was taken and more is needed.
    pub(crate) fn take(&mut self, input: &mut Input<'_>) -> Result<Option<FrameHeader>, Violation> {
        if self.len == 0
            && let Some((header, used)) = FrameHeader::parse(input.as_slice())?
        {
            input.take(used);
            return Ok(Some(header));
        }
        while let [byte] = input.take(1) {
            self.push(*byte);
            if let Some((header, _)) = FrameHeader::parse(self.filled())? {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// There is a slot: fourteen bytes are always a header or a violation.
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(usize::from(self.len)) {
            *slot = byte;
            self.len += 1;
        }
    }

    fn filled(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.len))
            .unwrap_or(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> Option<Violation> {
        FrameHeader::parse(bytes).err()
    }

    #[test]
    fn a_header_is_refused_at_the_first_byte_that_proves_it_wrong() {
        assert_eq!(refusal(&[0xa1]), Some(Violation::ReservedBits));
        assert_eq!(refusal(&[0x91]), Some(Violation::ReservedBits));
        assert_eq!(refusal(&[0x83]), Some(Violation::ReservedOpcode(3)));
        assert_eq!(refusal(&[0x09]), Some(Violation::FragmentedControlFrame));
        assert_eq!(refusal(&[0x81, 0x05]), Some(Violation::UnmaskedFrame));
        assert_eq!(refusal(&[0x89, 0xfe]), Some(Violation::ControlFrameTooLong));
        assert_eq!(refusal(&[0x88, 0xff]), Some(Violation::ControlFrameTooLong));
        assert_eq!(
            refusal(&[0x81, 0xfe, 0, 125]),
            Some(Violation::NonMinimalLength)
        );
        assert_eq!(
            refusal(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
            Some(Violation::NonMinimalLength)
        );
        assert_eq!(
            refusal(&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            Some(Violation::LengthOutOfRange)
        );
    }

    #[test]
    fn lengths_at_the_edges_of_each_form_are_read() {
        let cases: [(&[u8], u64); 6] = [
            (&[0x82, 0x80, 1, 2, 3, 4], 0),
            (&[0x82, 0xfd, 1, 2, 3, 4], 125),
            (&[0x82, 0xfe, 0, 126, 1, 2, 3, 4], 126),
            (&[0x82, 0xfe, 0xff, 0xff, 1, 2, 3, 4], 65_535),
            (&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4], 65_536),
            (
                &[
                    0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4,
                ],
                u64::MAX >> 1,
            ),
        ];
        for (bytes, length) in cases {
            let parsed = FrameHeader::parse(bytes).unwrap();
            assert_eq!(
                parsed.map(|(header, used)| (header.length, used)),
                Some((length, bytes.len()))
            );
            for cut in 0..bytes.len() {
                assert!(
                    FrameHeader::parse(&bytes[..cut]).unwrap().is_none(),
                    "{length} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn the_bit_of_permessage_deflate_is_read_not_judged() {
        let (header, _) = FrameHeader::parse(&[0xc1, 0x80, 1, 2, 3, 4])
            .unwrap()
            .unwrap();
        assert!(header.rsv1);
    }
}
