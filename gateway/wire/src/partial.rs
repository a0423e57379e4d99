//! The data message of which only a part has arrived.
//!
//! Owns the buffer and the rules between fragments. The buffer grows with the bytes that came, never with the length a
//! frame declares, and its capacity never exceeds what the message may still become. Called by the decoder alone.

use crate::{Inflater, Message, Violation, message::Kind, utf8::Tail};

/// The most fragments of one message. Bounds the time that empty fragments, which no size limit stops, can keep a
/// message open. High enough for the finest fragmentation in the Autobahn test suite, 4 MiB in pieces of 64 bytes.
pub const MAX_FRAGMENTS: u32 = 65_536;

/// The capacity that the first bytes of a message may claim, if the message may become as long. Most messages of chat
/// are shorter; a peer that declares more and stays silent has cost no more than this.
const RESERVE: usize = 1024;

/// The message under way, or the last one until it is released.
#[derive(Debug)]
pub(crate) struct Partial {
    buffer: Buffer,
    tail: Tail,
    /// Frames begun of the message under way; 0: none is.
    fragments: u32,
}

#[derive(Debug)]
enum Buffer {
    Empty,
    Text(String),
    Binary(Vec<u8>),
    /// Compressed: what has arrived of it, and what it will be.
    Deflated(Kind, Vec<u8>),
}

impl Partial {
    /// No message is under way.
    pub(crate) const fn new() -> Self {
        Self {
            buffer: Buffer::Empty,
            tail: Tail::new(),
            fragments: 0,
        }
    }

    /// A first frame of text.
    pub(crate) fn begin_text(&mut self) -> Result<Kind, Violation> {
        self.begin(Buffer::Text(String::new()))?;
        Ok(Kind::Text)
    }

    /// A first frame of binary.
    pub(crate) fn begin_binary(&mut self) -> Result<Kind, Violation> {
        self.begin(Buffer::Binary(Vec::new()))?;
        Ok(Kind::Binary)
    }

    /// A first frame of a compressed message.
    pub(crate) fn begin_deflated(&mut self, kind: Kind) -> Result<Kind, Violation> {
        self.begin(Buffer::Deflated(kind, Vec::new()))?;
        Ok(kind)
    }

    /// Whether the message under way is compressed.
    pub(crate) const fn is_deflated(&self) -> bool {
        matches!(self.buffer, Buffer::Deflated(..))
    }

    fn begin(&mut self, buffer: Buffer) -> Result<(), Violation> {
        if self.fragments > 0 {
            return Err(Violation::ExpectedContinuation);
        }
        self.fragments = 1;
        self.buffer = buffer;
        Ok(())
    }

    /// A continuation: tells what it continues.
    pub(crate) fn resume(&mut self) -> Result<Kind, Violation> {
        if self.fragments == 0 {
            return Err(Violation::UnexpectedContinuation);
        }
        let kind = match &self.buffer {
            Buffer::Empty => return Err(Violation::UnexpectedContinuation),
            Buffer::Text(_) => Kind::Text,
            Buffer::Binary(_) => Kind::Binary,
            Buffer::Deflated(kind, _) => *kind,
        };
        if self.fragments == MAX_FRAGMENTS {
            return Err(Violation::TooManyFragments {
                limit: MAX_FRAGMENTS,
            });
        }
        self.fragments += 1;
        Ok(kind)
    }

    /// Bytes of the message that have arrived.
    pub(crate) fn len(&self) -> usize {
        match &self.buffer {
            Buffer::Empty => 0,
            Buffer::Text(text) => text.len() + self.tail.len(),
            Buffer::Binary(bytes) | Buffer::Deflated(_, bytes) => bytes.len(),
        }
    }

    /// Bytes of heap held.
    pub(crate) fn capacity(&self) -> usize {
        match &self.buffer {
            Buffer::Empty => 0,
            Buffer::Text(text) => text.capacity(),
            Buffer::Binary(bytes) | Buffer::Deflated(_, bytes) => bytes.capacity(),
        }
    }

    /// Adds unmasked payload. The whole message will not be longer than `ceiling`.
    pub(crate) fn push(&mut self, piece: &[u8], ceiling: usize) -> Result<(), Violation> {
        let needed = self.len() + piece.len();
        match &mut self.buffer {
            Buffer::Empty => Ok(()),
            Buffer::Text(text) => {
                let target = grown(text.capacity(), needed, ceiling);
                text.reserve_exact(target - text.len());
                self.tail.append(text, piece)
            }
            Buffer::Binary(bytes) | Buffer::Deflated(_, bytes) => {
                let target = grown(bytes.capacity(), needed, ceiling);
                bytes.reserve_exact(target - bytes.len());
                bytes.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// The message is complete: it stays to be read until it is released.
    pub(crate) fn finish(&mut self) -> Result<(), Violation> {
        self.fragments = 0;
        match self.tail.len() {
            0 => Ok(()),
            _ => Err(Violation::InvalidUtf8),
        }
    }

    /// The compressed message is complete. `rest` is what has just arrived of it; the message stays to be read until it is
    /// released.
    pub(crate) fn inflate(
        &mut self,
        rest: &[u8],
        inflater: &mut Inflater,
        limit: usize,
    ) -> Result<(), Violation> {
        let Buffer::Deflated(kind, arrived) = &mut self.buffer else {
            return Ok(());
        };
        let inflated = if arrived.is_empty() {
            inflater.inflate(rest, limit)
        } else {
            arrived.extend_from_slice(rest);
            inflater.inflate(arrived, limit)
        }?;
        self.buffer = match kind {
            Kind::Text => {
                Buffer::Text(String::from_utf8(inflated).map_err(|_| Violation::InvalidUtf8)?)
            }
            Kind::Binary | Kind::Ping | Kind::Pong | Kind::Close => Buffer::Binary(inflated),
        };
        self.fragments = 0;
        Ok(())
    }

    /// The message that is here.
    pub(crate) fn message(&self) -> Option<Message<'_>> {
        match &self.buffer {
            Buffer::Empty | Buffer::Deflated(..) => None,
            Buffer::Text(text) => Some(Message::Text(text)),
            Buffer::Binary(bytes) => Some(Message::Binary(bytes)),
        }
    }

    /// Gives back the memory of a message that is complete.
    pub(crate) fn release(&mut self) {
        if self.fragments == 0 {
            self.buffer = Buffer::Empty;
        }
    }
}

/// The capacity for `needed` bytes of a message that may grow up to `ceiling`: doubled, so that many small pieces are
/// not copied each time, but never past the ceiling.
fn grown(capacity: usize, needed: usize, ceiling: usize) -> usize {
    if needed <= capacity {
        return capacity;
    }
    let generous = capacity.saturating_mul(2).max(RESERVE);
    needed.max(generous.min(ceiling))
}
