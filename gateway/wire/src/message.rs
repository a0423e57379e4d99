//! What `Decoder::decode` hands out: a message that borrows from the input or from the decoder.
//!
//! Owns how the payload of a whole frame becomes a message of its kind. Never copies.

use std::str;

use crate::{CloseFrame, Violation, close};

/// One message of a client. Its parts borrow from the input when they came in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// UTF-8 text.
    Text(&'a str),
    /// Any bytes.
    Binary(&'a [u8]),
    /// To be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// The answer to a ping, or an unasked sign of life.
    Pong(&'a [u8]),
    /// The client closes, with or without saying why.
    Close(Option<CloseFrame<'a>>),
}

/// The outcome of one call of `Decoder::decode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the consumed bytes must be skipped"]
pub struct Decoded<'a> {
    /// How many bytes of the input were used. They must not be passed again.
    pub consumed: usize,
    /// The next message; without one, the whole input was consumed and more is needed.
    pub message: Option<Message<'a>>,
}

/// The kinds of message: opcodes without continuation, which takes the kind of the message it continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Becomes `Message::Text`.
    Text,
    /// Becomes `Message::Binary`.
    Binary,
    /// Becomes `Message::Ping`.
    Ping,
    /// Becomes `Message::Pong`.
    Pong,
    /// Becomes `Message::Close`.
    Close,
}

impl Kind {
    /// Control messages come in one frame and may stand between the fragments of another.
    pub(crate) const fn is_control(self) -> bool {
        match self {
            Self::Ping | Self::Pong | Self::Close => true,
            Self::Text | Self::Binary => false,
        }
    }
}

impl<'a> Message<'a> {
    /// Reads the complete, unmasked payload of a message.
    pub(crate) fn parse(kind: Kind, payload: &'a [u8]) -> Result<Self, Violation> {
        match kind {
            Kind::Text => str::from_utf8(payload)
                .map(Self::Text)
                .map_err(|_| Violation::InvalidUtf8),
            Kind::Binary => Ok(Self::Binary(payload)),
            Kind::Ping => Ok(Self::Ping(payload)),
            Kind::Pong => Ok(Self::Pong(payload)),
            Kind::Close => close::parse(payload).map(Self::Close),
        }
    }
}
