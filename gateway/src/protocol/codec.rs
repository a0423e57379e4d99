//! How a frame becomes the bytes of one transport. A connection has one codec from its handshake on.
//!
//! The neutral form of a frame is its JSON: that is what sessions decide on, what goes to other nodes and what logs keep.
//! A [`FrameCodec`] reads and writes another form of it, under a subprotocol of its own; an application may bring some.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use wsc_wire::Opcode;

use super::json::{self, Json, Refusal};
use super::proto::Proto;
use super::{Compression, Control, Disconnect, Mark, Transport, grpc, sse};

/// The payload of a client's frame.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Of a text frame.
    Text(&'a str),
    /// Of a binary frame.
    Binary(&'a [u8]),
}

/// What a codec wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written<'a> {
    /// For a text frame: UTF-8.
    Text(Cow<'a, [u8]>),
    /// For a binary frame.
    Binary(Cow<'a, [u8]>),
}

/// A form of frames, spoken under a WebSocket subprotocol. Pure: called on any thread, for each frame of a client and
/// once for each message however many get it.
pub trait FrameCodec: fmt::Debug + Send + Sync {
    /// The subprotocol's name in the handshake.
    fn subprotocol(&self) -> &'static str;

    /// The JSON form of a client's frame, or why it has none.
    fn read<'a>(&self, payload: Payload<'a>) -> Result<Cow<'a, str>, Refusal>;

    /// The form of a frame of the gateway, given as JSON.
    fn write<'a>(&self, json: &'a [u8]) -> Written<'a>;
}

/// The codecs a gateway speaks: its own two, and those of the application.
#[derive(Clone, Debug)]
pub struct Codecs(Vec<&'static dyn FrameCodec>);

/// Codecs that cannot be spoken together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CodecError {
    /// Two of one name.
    #[error("subprotocol {0}: two codecs have this name")]
    Twice(&'static str),
    /// Every form of a message takes a place in it.
    #[error("more than {max} codecs of the application", max = Codecs::MAX - Codecs::OWN)]
    TooMany,
}

impl Codecs {
    const OWN: usize = 2;
    const MAX: usize = 4;

    /// The gateway's own and these.
    pub fn new(application: &[&'static dyn FrameCodec]) -> Result<Self, CodecError> {
        let mut codecs: Vec<&'static dyn FrameCodec> = vec![&Json, &Proto];
        for codec in application {
            let name = codec.subprotocol();
            if codecs.iter().any(|known| known.subprotocol() == name) {
                return Err(CodecError::Twice(name));
            }
            codecs.push(*codec);
        }
        if codecs.len() > Self::MAX {
            return Err(CodecError::TooMany);
        }
        Ok(Self(codecs))
    }

    /// The codec of a subprotocol.
    pub fn named(&self, name: &str) -> Option<Codec> {
        let slots = (0..).zip(&self.0);
        let (slot, form) = slots
            .into_iter()
            .find(|(_, codec)| codec.subprotocol() == name)?;
        Some(Codec {
            form: *form,
            slot,
            framing: Framing::WebSocket(None),
        })
    }

    /// What is spoken, for a refusal.
    pub fn names(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|codec| codec.subprotocol()).collect();
        names.join(", ")
    }
}

/// How an encoded frame is told from the next on its transport.
#[derive(Clone, Copy, Debug)]
enum Framing {
    /// A WebSocket frame, deflated where that was agreed.
    WebSocket(Option<Compression>),
    /// An event of a stream.
    Sse,
    /// A message of a gRPC stream.
    Grpc,
    /// Nothing around it: it is the only one.
    Bare,
}

/// A form in which frames are written to a socket. A message is encoded at most once for each, whoever gets it.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    form: &'static dyn FrameCodec,
    slot: u8,
    framing: Framing,
}

impl Default for Codec {
    /// `wsc.v1.json` in text frames.
    fn default() -> Self {
        Self {
            form: &Json,
            slot: 0,
            framing: Framing::WebSocket(None),
        }
    }
}

impl Codec {
    /// Of WebSocket's codecs.
    const WEBSOCKET: usize = Codecs::MAX * Compression::FORMS;
    /// How many there are.
    pub const COUNT: usize = Self::WEBSOCKET + 3;

    /// Server-Sent Events.
    pub const fn sse() -> Self {
        Self {
            form: &Json,
            slot: 0,
            framing: Framing::Sse,
        }
    }

    /// The messages of a gRPC stream: `wsc.v1.proto`.
    pub const fn grpc() -> Self {
        Self {
            form: &Proto,
            slot: 0,
            framing: Framing::Grpc,
        }
    }

    /// JSON as it is, for the answer to one request.
    pub const fn bare() -> Self {
        Self {
            form: &Json,
            slot: 0,
            framing: Framing::Bare,
        }
    }

    /// This codec among all, from 0.
    pub fn index(self) -> usize {
        match self.framing {
            Framing::WebSocket(compression) => {
                usize::from(self.slot) * Compression::FORMS + Compression::form(compression)
            }
            Framing::Sse => Self::WEBSOCKET,
            Framing::Bare => Self::WEBSOCKET + 1,
            Framing::Grpc => Self::WEBSOCKET + 2,
        }
    }

    /// The transport it is spoken on.
    pub const fn transport(self) -> Transport {
        match self.framing {
            Framing::WebSocket(_) => Transport::WebSocket,
            Framing::Sse => Transport::Sse,
            Framing::Grpc => Transport::Grpc,
            Framing::Bare => Transport::Http,
        }
    }

    /// The same where permessage-deflate was agreed.
    #[must_use]
    pub fn compressed(self, compression: Option<Compression>) -> Self {
        Self {
            framing: Framing::WebSocket(compression),
            ..self
        }
    }

    /// Its subprotocol.
    pub fn subprotocol(self) -> &'static str {
        self.form.subprotocol()
    }

    /// Whether the client may compress what it sends.
    pub const fn inflates(self) -> bool {
        matches!(self.framing, Framing::WebSocket(Some(_)))
    }

    /// The JSON form of a client's frame, or why it has none.
    pub fn read(self, payload: Payload<'_>) -> Result<Cow<'_, str>, Refusal> {
        self.form.read(payload)
    }

    /// Writes a message, given as the JSON codec wrote it; `mark`: where it stands in its log.
    pub fn message(self, json: &[u8], mark: Option<&Mark>) -> Bytes {
        match self.framing {
            Framing::Sse => sse::event(json, mark),
            Framing::WebSocket(_) | Framing::Grpc | Framing::Bare => self.written(json),
        }
    }

    /// Writes a frame of the protocol's own.
    pub fn control(self, control: &Control<'_>) -> Bytes {
        self.message(&json::control(control), None)
    }

    fn written(self, json: &[u8]) -> Bytes {
        match self.form.write(json) {
            Written::Text(payload) => self.frame(Opcode::Text, &payload),
            Written::Binary(payload) => self.frame(Opcode::Binary, &payload),
        }
    }

    /// Writes a frame with this payload.
    pub fn frame(self, opcode: Opcode, payload: &[u8]) -> Bytes {
        match self.framing {
            Framing::WebSocket(Some(compression)) => compression.encode(opcode, payload),
            Framing::WebSocket(None) => wsc_wire::encode(opcode, payload),
            Framing::Grpc => grpc::message(payload),
            Framing::Sse | Framing::Bare => Bytes::copy_from_slice(payload),
        }
    }

    /// Writes what keeps a quiet connection alive, where the transport does not do that itself.
    pub fn ping(self) -> Option<Bytes> {
        match self.framing {
            Framing::WebSocket(_) => Some(wsc_wire::encode(Opcode::Ping, b"")),
            Framing::Sse => Some(sse::HEARTBEAT),
            Framing::Grpc => Some(grpc::PING),
            Framing::Bare => None,
        }
    }

    /// Writes the end of the connection, where the transport says it by a frame.
    pub fn close(self, why: Disconnect) -> Option<Bytes> {
        let told = why.describe();
        match self.framing {
            Framing::WebSocket(_) => Some(wsc_wire::encode_close(told.code, told.reason)),
            Framing::Sse => Some(sse::close(told)),
            // The status of the call says it.
            Framing::Grpc | Framing::Bare => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Named(&'static str);

    impl FrameCodec for Named {
        fn subprotocol(&self) -> &'static str {
            self.0
        }

        fn read<'a>(&self, payload: Payload<'a>) -> Result<Cow<'a, str>, Refusal> {
            Json.read(payload)
        }

        fn write<'a>(&self, json: &'a [u8]) -> Written<'a> {
            Json.write(json)
        }
    }

    #[test]
    fn an_application_adds_codecs_of_other_names() {
        let codecs = Codecs::new(&[&Named("app.v1"), &Named("app.v2")]).expect("two");
        assert_eq!(codecs.names(), "wsc.v1.json, wsc.v1.proto, app.v1, app.v2");
        assert!(codecs.named("app.v1").is_some());
        assert!(codecs.named("app.v3").is_none());
        let twice = Codecs::new(&[&Named("wsc.v1.json")]).err();
        assert_eq!(twice, Some(CodecError::Twice("wsc.v1.json")));
        let many = Codecs::new(&[&Named("a"), &Named("b"), &Named("c")]).err();
        assert_eq!(many, Some(CodecError::TooMany));
    }

    #[test]
    fn every_form_of_a_message_has_a_place_of_its_own() {
        let codecs = Codecs::new(&[&Named("a"), &Named("b")]).expect("two");
        let mut places = Vec::new();
        for name in ["wsc.v1.json", "wsc.v1.proto", "a", "b"] {
            let codec = codecs.named(name).expect("known");
            for compression in [
                None,
                Some(Compression::new(6, wsc_wire::Window::Wide)),
                Some(Compression::new(6, wsc_wire::Window::Narrow)),
            ] {
                places.push(codec.compressed(compression).index());
            }
        }
        places.extend([Codec::sse(), Codec::bare(), Codec::grpc()].map(Codec::index));
        let expected: Vec<usize> = (0..Codec::COUNT).collect();
        assert_eq!(places, expected);
    }
}
