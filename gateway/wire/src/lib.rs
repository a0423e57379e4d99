//! RFC 6455 for servers, without I/O.
//!
//! Bytes that a socket delivered go into a [`Decoder`], messages come out; [`encode`] makes a frame once, and the
//! [`Bytes`](bytes::Bytes) it returns is shared by all recipients. Nothing here reads, writes, waits, spawns or logs:
//! the transport of the gateway does.
//!
//! ```
//! use wsc_wire::{Decoder, Message, Opcode, Violation, encode};
//!
//! /// What a transport does with each read: decode until the input is used up, answer what needs an answer.
//! fn on_read(decoder: &mut Decoder, mut input: &mut [u8]) -> Result<Vec<bytes::Bytes>, Violation> {
//!     let mut answers = Vec::new();
//!     loop {
//!         let next = decoder.decode(input)?;
//!         let consumed = next.consumed;
//!         match next.message {
//!             None => return Ok(answers),
//!             Some(Message::Ping(payload)) => answers.push(encode(Opcode::Pong, payload)),
//!             Some(_) => {}
//!         }
//!         input = &mut input[consumed..];
//!     }
//! }
//!
//! let mut decoder = Decoder::new(64 * 1024);
//! let mut ping = [0x89, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2];
//! let answers = on_read(&mut decoder, &mut ping).expect("a valid frame");
//! assert_eq!(answers, [&[0x8a, 2, b'h', b'i'][..]]);
//! ```
//!
//! # Guarantees
//!
//! - A frame that lies whole in the input is unmasked in place and borrowed: no copy, no allocation.
//! - What is held for a partial message grows with the bytes that arrived, never with the length a frame declares, and
//!   is given back when the message has been delivered. An idle decoder holds no heap memory.
//! - A violation is reported at the first byte that proves it, inside a frame too, and is final.
//!
//! # Limits
//!
//! The only extension is permessage-deflate, without context takeover: [`negotiate`], [`Decoder::decode_with`] and
//! [`Deflater`]. Where it was not agreed, a frame with a reserved bit is refused.

mod close;
mod decoder;
mod deflate;
mod encode;
mod handshake;
mod header;
mod input;
mod mask;
mod message;
mod opcode;
mod partial;
mod utf8;
mod violation;

pub use close::CloseFrame;
pub use decoder::Decoder;
pub use deflate::{Agreed, Deflater, Inflater, WORTHWHILE, Window, negotiate};
pub use encode::{HeaderBytes, encode, encode_close, header};
pub use handshake::accept_key;
pub use message::{Decoded, Message};
pub use opcode::Opcode;
pub use partial::MAX_FRAGMENTS;
pub use violation::Violation;
