//! What a client may do wrong on the wire, and the close code that tells it so.
//!
//! Every variant is the client's fault and ends the connection: the stream can no longer be trusted to be framed.
//! The transport sends `close_code` and closes; it never retries.

use std::{error::Error, fmt};

/// Why a stream was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A frame without a mask (RFC 6455 5.1).
    UnmaskedFrame,
    /// A reserved bit is set that has no meaning there: no extension that gives it one was negotiated, or the frame does
    /// not begin a message of data (RFC 7692 6.1).
    ReservedBits,
    /// An opcode without a meaning.
    ReservedOpcode(u8),
    /// A length that fits a shorter form (RFC 6455 5.2).
    NonMinimalLength,
    /// A length with its highest bit set (RFC 6455 5.2).
    LengthOutOfRange,
    /// A control frame that is not final.
    FragmentedControlFrame,
    /// A control frame with more than 125 bytes.
    ControlFrameTooLong,
    /// A continuation, but no message is under way.
    UnexpectedContinuation,
    /// A new message inside a fragmented one.
    ExpectedContinuation,
    /// The fragments of a message add up to more than `limit` bytes, or a compressed message becomes more.
    MessageTooBig {
        /// The largest message taken, in bytes.
        limit: usize,
    },
    /// A message came in more than `limit` fragments.
    TooManyFragments {
        /// The most fragments taken.
        limit: u32,
    },
    /// Text or a close reason that is not UTF-8.
    InvalidUtf8,
    /// A compressed message that is no DEFLATE.
    InvalidDeflate,
    /// A close payload of a single byte, half a code.
    TruncatedCloseCode,
    /// A close code that must not be sent (RFC 6455 7.4).
    InvalidCloseCode(u16),
    /// Anything at all after a close frame.
    ReceivedAfterClose,
}

impl Violation {
    /// The code to close the connection with (RFC 6455 7.4.1).
    pub const fn close_code(&self) -> u16 {
        match self {
            Self::UnmaskedFrame
            | Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::NonMinimalLength
            | Self::LengthOutOfRange
            | Self::FragmentedControlFrame
            | Self::ControlFrameTooLong
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::TruncatedCloseCode
            | Self::InvalidCloseCode(_)
            | Self::ReceivedAfterClose => 1002,
            Self::InvalidUtf8 | Self::InvalidDeflate => 1007,
            Self::TooManyFragments { .. } => 1008,
            Self::MessageTooBig { .. } => 1009,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnmaskedFrame => f.write_str("client frame is not masked"),
            Self::ReservedBits => f.write_str("frame sets a reserved bit that means nothing there"),
            Self::ReservedOpcode(bits) => write!(f, "frame has reserved opcode {bits:#x}"),
            Self::NonMinimalLength => f.write_str("frame length is not in its shortest form"),
            Self::LengthOutOfRange => f.write_str("frame length exceeds 63 bits"),
            Self::FragmentedControlFrame => f.write_str("control frame is fragmented"),
            Self::ControlFrameTooLong => f.write_str("control frame exceeds 125 bytes"),
            Self::UnexpectedContinuation => {
                f.write_str("continuation frame, but no message is under way")
            }
            Self::ExpectedContinuation => f.write_str("new message inside a fragmented message"),
            Self::MessageTooBig { limit } => write!(f, "message exceeds {limit} bytes"),
            Self::TooManyFragments { limit } => write!(f, "message exceeds {limit} fragments"),
            Self::InvalidUtf8 => f.write_str("text is not UTF-8"),
            Self::InvalidDeflate => f.write_str("compressed message is not DEFLATE"),
            Self::TruncatedCloseCode => f.write_str("close frame carries half a code"),
            Self::InvalidCloseCode(code) => write!(f, "close code {code} must not be sent"),
            Self::ReceivedAfterClose => f.write_str("data after a close frame"),
        }
    }
}

impl Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_fault_has_its_close_code() {
        assert_eq!(Violation::ReservedOpcode(3).close_code(), 1002);
        assert_eq!(Violation::InvalidUtf8.close_code(), 1007);
        assert_eq!(Violation::TooManyFragments { limit: 1 }.close_code(), 1008);
        assert_eq!(Violation::MessageTooBig { limit: 1 }.close_code(), 1009);
    }

    #[test]
    fn messages_name_the_bad_value() {
        assert_eq!(
            Violation::ReservedOpcode(11).to_string(),
            "frame has reserved opcode 0xb"
        );
        assert_eq!(
            Violation::InvalidCloseCode(1005).to_string(),
            "close code 1005 must not be sent"
        );
        assert_eq!(
            Violation::MessageTooBig { limit: 4096 }.to_string(),
            "message exceeds 4096 bytes"
        );
    }
}
