//! The state of one client's stream: bytes in, messages out.
//!
//! Owns the order of things: header, payload, message; what may follow what; what is refused for good. The rules of
//! headers, fragments, text and close frames are in their own modules. The transport keeps one decoder a connection,
//! so its size is memory that every idle connection pays.

use crate::{
    Decoded, Inflater, Message, Opcode, Violation,
    header::{FrameHeader, Stash},
    input::Input,
    mask::Mask,
    message::Kind,
    partial::Partial,
};

/// Decodes what a client sends.
#[derive(Debug)]
pub struct Decoder {
    max_message_size: usize,
    phase: Phase,
    partial: Partial,
    /// The payload of a control frame that the input cut in two. Apart from `partial`, since control frames may stand
    /// between fragments.
    control: Vec<u8>,
}

/// Where in the stream the next byte lies.
#[derive(Debug)]
enum Phase {
    Header(Stash),
    Payload(Frame),
    Closed,
    Failed(Violation),
}

/// A frame whose header was taken.
#[derive(Debug, Clone, Copy)]
struct Frame {
    kind: Kind,
    fin: bool,
    mask: Mask,
    /// Bytes of payload that have not arrived.
    remaining: usize,
}

/// How far the input went. Borrows from the input only, so that the decoder stays free to change.
enum Step<'a> {
    /// Used up.
    Starved,
    /// The payload of a message that lies in the input.
    Whole(Kind, &'a [u8]),
    /// A message complete in `partial`.
    Assembled,
    /// A message complete in `control`.
    Control(Kind),
}

impl Decoder {
    /// A decoder at the start of a stream. Messages longer than `max_message_size` bytes, or in more than
    /// [`MAX_FRAGMENTS`](crate::MAX_FRAGMENTS) fragments, are refused; control frames have their own limit of 125 bytes.
    pub const fn new(max_message_size: usize) -> Self {
        Self {
            max_message_size,
            phase: Phase::Header(Stash::new()),
            partial: Partial::new(),
            control: Vec::new(),
        }
    }

    /// Takes bytes from the front of `input`, up to the end of the next message. Call again with the rest until there
    /// is no message. Payloads are unmasked in place: bytes that were consumed are no longer what the client sent.
    ///
    /// # Errors
    ///
    /// What the client did wrong. Final: every further call returns the same. After a close frame anything but an
    /// empty input is a violation too.
    pub fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Decoded<'a>, Violation> {
        self.advance(input, None)
    }

    /// The same for a connection on which permessage-deflate was agreed. The inflater is used within the call only, and
    /// may serve another connection in the next. `max_message_size` bounds what a message becomes, too.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    pub fn decode_with<'a>(
        &'a mut self,
        input: &'a mut [u8],
        inflater: &mut Inflater,
    ) -> Result<Decoded<'a>, Violation> {
        self.advance(input, Some(inflater))
    }

    fn advance<'a>(
        &'a mut self,
        input: &'a mut [u8],
        inflater: Option<&mut Inflater>,
    ) -> Result<Decoded<'a>, Violation> {
        self.release();
        let length = input.len();
        let mut input = Input::new(input);
        let step = match self.step(&mut input, inflater) {
            Ok(step) => step,
            Err(violation) => return Err(self.fail(violation)),
        };
        let consumed = length - input.len();
        let message = match step {
            Step::Starved => None,
            Step::Whole(kind, payload) => match Message::parse(kind, payload) {
                Ok(message) => Some(message),
                Err(violation) => return Err(self.fail(violation)),
            },
            Step::Assembled => self.partial.message(),
            Step::Control(kind) => match Message::parse(kind, &self.control) {
                Ok(message) => Some(message),
                Err(violation) => {
                    self.phase = Phase::Failed(violation);
                    return Err(violation);
                }
            },
        };
        Ok(Decoded { consumed, message })
    }

    /// Bytes of heap held for a message that is not complete, or was returned by the last call.
    pub fn buffered(&self) -> usize {
        self.partial.capacity() + self.control.capacity()
    }

    /// Gives back the memory of the message that the last call returned.
    fn release(&mut self) {
        self.partial.release();
        let amid_control = matches!(&self.phase, Phase::Payload(frame) if frame.kind.is_control());
        if !amid_control {
            self.control = Vec::new();
        }
    }

    /// Refuses everything from here on, and holds nothing.
    fn fail(&mut self, violation: Violation) -> Violation {
        *self = Self {
            phase: Phase::Failed(violation),
            ..Self::new(self.max_message_size)
        };
        violation
    }

    /// Goes on to the end of a message or of the input.
    fn step<'a>(
        &mut self,
        input: &mut Input<'a>,
        mut inflater: Option<&mut Inflater>,
    ) -> Result<Step<'a>, Violation> {
        loop {
            let mut frame = match &mut self.phase {
                Phase::Header(stash) => match stash.take(input)? {
                    Some(header) => self.admit(header, inflater.is_some())?,
                    None => return Ok(Step::Starved),
                },
                Phase::Payload(frame) => *frame,
                Phase::Closed if input.len() == 0 => return Ok(Step::Starved),
                Phase::Closed => return Err(Violation::ReceivedAfterClose),
                Phase::Failed(violation) => return Err(*violation),
            };
            let payload = frame.take(input);
            self.phase = match (frame.remaining, frame.kind) {
                (0, Kind::Close) => Phase::Closed,
                (0, _) => Phase::Header(Stash::new()),
                _ => Phase::Payload(frame),
            };
            let step = if frame.kind.is_control() {
                Some(self.place_control(frame, payload))
            } else if let Some(inflater) = inflater.as_deref_mut()
                && self.partial.is_deflated()
            {
                self.place_deflated(frame, payload, inflater)?
            } else {
                self.place_data(frame, payload)?
            };
            if let Some(step) = step {
                return Ok(step);
            }
        }
    }

    /// Judges a header by what came before it.
    fn admit(&mut self, header: FrameHeader, deflate: bool) -> Result<Frame, Violation> {
        // The bit belongs to the message, so it stands in its first frame alone.
        let begins = matches!(header.opcode, Opcode::Text | Opcode::Binary);
        if header.rsv1 && !(deflate && begins) {
            return Err(Violation::ReservedBits);
        }
        let kind = match header.opcode {
            Opcode::Text if header.rsv1 => self.partial.begin_deflated(Kind::Text)?,
            Opcode::Binary if header.rsv1 => self.partial.begin_deflated(Kind::Binary)?,
            Opcode::Text => self.partial.begin_text()?,
            Opcode::Binary => self.partial.begin_binary()?,
            Opcode::Continuation => self.partial.resume()?,
            Opcode::Ping => Kind::Ping,
            Opcode::Pong => Kind::Pong,
            Opcode::Close => Kind::Close,
        };
        let too_big = Violation::MessageTooBig {
            limit: self.max_message_size,
        };
        let remaining = usize::try_from(header.length).map_err(|_| too_big)?;
        if !kind.is_control() && remaining > self.ceiling() - self.partial.len() {
            return Err(too_big);
        }
        Ok(Frame {
            kind,
            fin: header.fin,
            mask: header.mask,
            remaining,
        })
    }

    /// The most bytes that may arrive of the message under way. A compressed one may be a little longer than what it
    /// becomes: this is what zlib itself says of the worst case.
    fn ceiling(&self) -> usize {
        let limit = self.max_message_size;
        if self.partial.is_deflated() {
            limit.saturating_add(limit / 8 + limit / 64 + 64)
        } else {
            limit
        }
    }

    fn place_deflated<'a>(
        &mut self,
        frame: Frame,
        payload: &'a [u8],
        inflater: &mut Inflater,
    ) -> Result<Option<Step<'a>>, Violation> {
        if frame.fin && frame.remaining == 0 {
            let limit = self.max_message_size;
            self.partial.inflate(payload, inflater, limit)?;
            return Ok(Some(Step::Assembled));
        }
        self.keep(frame, payload)
    }

    fn place_control<'a>(&mut self, frame: Frame, payload: &'a [u8]) -> Step<'a> {
        if frame.kind == Kind::Close && frame.remaining == 0 {
            // A message that the client broke off.
            self.partial = Partial::new();
        }
        if frame.remaining == 0 && self.control.is_empty() {
            return Step::Whole(frame.kind, payload);
        }
        if !payload.is_empty() {
            // At most 125 bytes: no harm in believing the header.
            self.control.reserve_exact(payload.len() + frame.remaining);
            self.control.extend_from_slice(payload);
        }
        match frame.remaining {
            0 => Step::Control(frame.kind),
            _ => Step::Starved,
        }
    }

    fn place_data<'a>(
        &mut self,
        frame: Frame,
        payload: &'a [u8],
    ) -> Result<Option<Step<'a>>, Violation> {
        let ends = frame.fin && frame.remaining == 0;
        if ends && self.partial.len() == 0 {
            self.partial = Partial::new();
            return Ok(Some(Step::Whole(frame.kind, payload)));
        }
        let starved = self.keep(frame, payload)?;
        if ends {
            self.partial.finish()?;
            return Ok(Some(Step::Assembled));
        }
        Ok(starved)
    }

    /// Keeps a piece of a message that goes on.
    fn keep<'a>(&mut self, frame: Frame, payload: &[u8]) -> Result<Option<Step<'a>>, Violation> {
        let ceiling = if frame.fin {
            self.partial.len() + payload.len() + frame.remaining
        } else {
            self.ceiling()
        };
        self.partial.push(payload, ceiling)?;
        Ok((frame.remaining > 0).then_some(Step::Starved))
    }
}

impl Frame {
    /// Takes as much of the payload as is there, and unmasks it.
    fn take<'a>(&mut self, input: &mut Input<'a>) -> &'a [u8] {
        let payload = input.take(self.remaining);
        self.mask.apply(payload);
        self.remaining -= payload.len();
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_can_afford_one() {
        assert!(size_of::<Decoder>() <= 96, "{} bytes", size_of::<Decoder>());
    }
}
