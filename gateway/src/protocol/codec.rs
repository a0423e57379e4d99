//! How a frame becomes the bytes of one transport. A connection has one codec from its handshake on.

use bytes::Bytes;
use wsc_wire::Opcode;

use super::Control;
use super::json;

/// A form in which frames are written. A message is encoded at most once for each, whoever gets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// `wsc.v1.json` in text frames.
    #[default]
    Json,
}

impl Codec {
    /// How many there are.
    pub const COUNT: usize = 1;

    /// This codec among all, from 0.
    pub const fn index(self) -> usize {
        match self {
            Self::Json => 0,
        }
    }

    /// Writes a message, given as the JSON codec wrote it.
    pub fn message(self, json: &[u8]) -> Bytes {
        match self {
            Self::Json => wsc_wire::encode(Opcode::Text, json),
        }
    }

    /// Writes a frame of the protocol's own.
    pub fn control(self, control: &Control<'_>) -> Bytes {
        match self {
            Self::Json => wsc_wire::encode(Opcode::Text, &json::control(control)),
        }
    }

    /// Writes what checks that the client is alive.
    pub fn ping(self) -> Bytes {
        match self {
            Self::Json => wsc_wire::encode(Opcode::Ping, b""),
        }
    }

    /// Writes the end of the connection.
    pub fn close(self, code: u16, reason: &str) -> Bytes {
        match self {
            Self::Json => wsc_wire::encode_close(code, reason),
        }
    }
}
