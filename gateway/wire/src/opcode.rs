//! The opcodes of RFC 6455 5.2.
//!
//! Owns their numbers and which of them are control frames. Reserved numbers have no value of this type: they end as a
//! `Violation` where a header is parsed.

use crate::Violation;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// A further part of a fragmented message.
    Continuation,
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
    /// The start or the answer of the closing handshake.
    Close,
    /// A question that a pong with the same payload answers.
    Ping,
    /// The answer to a ping, or an unasked sign of life.
    Pong,
}

impl Opcode {
    /// The four bits on the wire.
    pub(crate) const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    /// Reads the four bits; the upper half of `bits` must be zero.
    pub(crate) const fn from_bits(bits: u8) -> Result<Self, Violation> {
        match bits {
            0x0 => Ok(Self::Continuation),
            0x1 => Ok(Self::Text),
            0x2 => Ok(Self::Binary),
            0x8 => Ok(Self::Close),
            0x9 => Ok(Self::Ping),
            0xa => Ok(Self::Pong),
            reserved => Err(Violation::ReservedOpcode(reserved)),
        }
    }

    /// Control frames may stand between the fragments of a message, are short and are never fragmented (RFC 6455 5.5).
    pub const fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Text | Self::Binary => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ten_reserved_opcodes_are_refused_and_the_others_survive_a_round_trip() {
        let mut reserved = Vec::new();
        for bits in 0..16 {
            match Opcode::from_bits(bits) {
                Ok(opcode) => assert_eq!(opcode.bits(), bits),
                Err(violation) => {
                    assert_eq!(violation, Violation::ReservedOpcode(bits));
                    reserved.push(bits);
                }
            }
        }
        assert_eq!(reserved, [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]);
    }
}
