//! A client of any form of frames: what it sends and hears is JSON here, whatever is on the wire.

use std::time::Duration;

use prost::Message as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wsc_gateway::security::Scopes;
use wsc_proto::v1::{ClientFrame, ServerFrame};
use wsc_wire::{Decoder, Deflater, Inflater, Message, Opcode, Window};

use crate::sandbox::{DEADLINE, Node, token_for};

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Json,
    Proto,
    Deflated,
    DeflatedProto,
}

impl Form {
    fn subprotocol(self) -> &'static str {
        match self {
            Self::Json | Self::Deflated => "wsc.v1.json",
            Self::Proto | Self::DeflatedProto => "wsc.v1.proto",
        }
    }

    pub fn deflated(self) -> bool {
        matches!(self, Self::Deflated | Self::DeflatedProto)
    }
}

/// What was heard.
#[derive(Debug, PartialEq)]
pub enum Heard {
    Frame(Value),
    Pong(Vec<u8>),
    /// The close code.
    Close(u16),
}

pub struct Wire {
    form: Form,
    socket: TcpStream,
    unread: Vec<u8>,
    decoder: Decoder,
    inflater: Inflater,
    deflater: Deflater,
    pub welcome: Value,
    /// Frames whose first byte said that they are compressed.
    pub compressed: usize,
    /// Bytes of the last frame.
    pub size: usize,
    /// The head of the answer to the handshake.
    pub head: String,
}

impl Wire {
    /// Connects and takes the welcome.
    pub async fn connect(node: &Node, form: Form, user: &str, scopes: Scopes) -> Self {
        Self::connect_for(
            node,
            form,
            &token_for(user, scopes, Duration::from_mins(15)),
        )
        .await
    }

    pub async fn connect_for(node: &Node, form: Form, token: &str) -> Self {
        let mut wire = Self::knock(node, form, token, None).await;
        match wire.hear().await {
            Heard::Frame(welcome) if welcome["type"] == "welcome" => wire.welcome = welcome,
            other => panic!("no welcome, but {other:?}"),
        }
        wire
    }

    /// The handshake of a client that says where it was, if it does.
    pub async fn knock(node: &Node, form: Form, token: &str, resume: Option<&Value>) -> Self {
        let offer = if form.deflated() {
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        } else {
            ""
        };
        let query = resume.map_or_else(String::new, |resume| {
            let bytes = resume.to_string().into_bytes();
            let encoded: Vec<String> = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
            format!("?resume={}", encoded.concat())
        });
        Self::ask(node, form, token, (&query, offer)).await
    }

    /// The handshake, with these header lines besides.
    pub async fn open(node: &Node, form: Form, token: &str, lines: &str) -> Self {
        Self::ask(node, form, token, ("", lines)).await
    }

    async fn ask(node: &Node, form: Form, token: &str, (query, lines): (&str, &str)) -> Self {
        let address = node.0.addresses().ws.unwrap();
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET /ws{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n\
             Sec-WebSocket-Protocol: {}\r\n{lines}\r\n",
            form.subprotocol()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut wire = Self {
            form,
            socket,
            unread: Vec::new(),
            decoder: Decoder::new(64 << 20),
            inflater: Inflater::new(),
            deflater: Deflater::new(6, Window::Wide),
            welcome: Value::Null,
            compressed: 0,
            size: 0,
            head: String::new(),
        };
        while !wire.unread.windows(4).any(|end| end == b"\r\n\r\n") {
            wire.read().await;
        }
        let end = wire.unread.windows(4).position(|end| end == b"\r\n\r\n");
        let head: Vec<u8> = wire.unread.drain(..end.unwrap() + 4).collect();
        wire.head = String::from_utf8(head).unwrap().to_lowercase();
        wire
    }

    async fn read(&mut self) -> usize {
        let read = timeout(DEADLINE, self.socket.read_buf(&mut self.unread));
        read.await.expect("something in time").unwrap()
    }

    /// Reads nothing more and keeps the socket open.
    pub fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// Sends a frame given as JSON.
    pub async fn send(&mut self, frame: Value) {
        match self.form {
            Form::Json | Form::Deflated => {
                self.send_payload(Opcode::Text, frame.to_string().as_bytes())
                    .await;
            }
            Form::Proto | Form::DeflatedProto => {
                let bytes = to_proto(&frame).encode_to_vec();
                self.send_payload(Opcode::Binary, &bytes).await;
            }
        }
    }

    pub async fn send_payload(&mut self, opcode: Opcode, payload: &[u8]) {
        let frame = if self.form.deflated() {
            self.deflater.encode(opcode, payload)
        } else {
            wsc_wire::encode(opcode, payload)
        };
        self.send_bytes(&masked(&frame)).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    pub async fn say(&mut self, to: &str, content: &str) {
        self.send(json!({"type": "text", "to": to, "content": content}))
            .await;
    }

    /// The next frame as JSON.
    pub async fn next(&mut self) -> Value {
        match self.hear().await {
            Heard::Frame(frame) => frame,
            other => panic!("expected a frame, heard {other:?}"),
        }
    }

    /// Frames up to the close frame, and its code.
    pub async fn closed(&mut self) -> (Vec<Value>, u16) {
        let mut before = Vec::new();
        loop {
            match self.hear().await {
                Heard::Frame(frame) => before.push(frame),
                Heard::Pong(_) => {}
                Heard::Close(code) => return (before, code),
            }
        }
    }

    /// Whatever comes next but pings, which are answered.
    pub async fn hear(&mut self) -> Heard {
        loop {
            let Some(length) = frame_length(&self.unread) else {
                assert!(self.read().await > 0, "ended without a close frame");
                continue;
            };
            let frame: Vec<u8> = self.unread.drain(..length).collect();
            self.size = length;
            self.compressed += usize::from(frame[0] & 0x40 != 0);
            let mut masked = masked(&frame);
            let next = if self.form.deflated() {
                self.decoder.decode_with(&mut masked, &mut self.inflater)
            } else {
                self.decoder.decode(&mut masked)
            };
            let pong = match next.unwrap().message.expect("a whole frame") {
                Message::Text(text) => {
                    assert_eq!(self.form.subprotocol(), "wsc.v1.json");
                    return Heard::Frame(serde_json::from_str(text).unwrap());
                }
                Message::Binary(bytes) => {
                    assert_eq!(self.form.subprotocol(), "wsc.v1.proto");
                    return Heard::Frame(from_proto(ServerFrame::decode(bytes).unwrap()));
                }
                Message::Pong(payload) => return Heard::Pong(payload.to_vec()),
                Message::Close(close) => {
                    return Heard::Close(close.map_or(1005, |close| close.code));
                }
                Message::Ping(payload) => wsc_wire::encode(Opcode::Pong, payload),
            };
            self.send_bytes(&crate::wire::masked(&pong)).await;
        }
    }
}

/// A server's frame as a client sends it, masked with zeros.
pub fn masked(frame: &[u8]) -> Vec<u8> {
    let header = header_length(frame);
    let mut masked = frame[..header].to_vec();
    masked[1] |= 0x80;
    masked.extend([0; 4]);
    masked.extend(&frame[header..]);
    masked
}

fn header_length(frame: &[u8]) -> usize {
    match frame[1] & 0x7f {
        0..=125 => 2,
        126 => 4,
        _ => 10,
    }
}

/// How long the first frame is, if it is here to its end.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < 2 {
        return None;
    }
    let header = header_length(bytes);
    let digits = bytes.get(2..header)?;
    let payload = match header {
        2 => usize::from(bytes[1]),
        _ => digits
            .iter()
            .fold(0, |length, digit| length << 8 | usize::from(*digit)),
    };
    (bytes.len() >= header + payload).then_some(header + payload)
}

fn text(frame: &Value, name: &str) -> Option<String> {
    frame[name].as_str().map(str::to_owned)
}

fn raw(frame: &Value, name: &str) -> Option<Vec<u8>> {
    frame.get(name).map(|value| value.to_string().into_bytes())
}

pub fn to_proto(frame: &Value) -> ClientFrame {
    ClientFrame {
        r#type: text(frame, "type").unwrap_or_default(),
        id: text(frame, "id"),
        to: text(frame, "to"),
        group: text(frame, "group"),
        ticket_id: text(frame, "ticket_id"),
        broadcast: frame["broadcast"].as_bool(),
        content: raw(frame, "content"),
        data: raw(frame, "data"),
        require_ack: frame["require_ack"].as_bool(),
        reply_to: text(frame, "reply_to"),
        extra: frame
            .get("durable")
            .map(|durable| json!({"durable": durable}).to_string().into_bytes()),
        ..ClientFrame::default()
    }
}

pub fn from_proto(frame: ServerFrame) -> Value {
    let mut value = json!({"type": frame.r#type});
    let texts = [
        ("id", frame.id),
        ("from", frame.from),
        ("from_type", frame.from_type),
        ("to", frame.to),
        ("reply_to", frame.reply_to),
        ("ref", frame.r#ref),
        ("code", frame.code),
        ("message", frame.message),
        ("group", frame.group),
        ("ticket_id", frame.ticket_id),
        ("pos", frame.pos),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            value[name] = text.into();
        }
    }
    for (name, number) in [("seq", frame.seq), ("create_at", frame.create_at)] {
        if let Some(number) = number {
            value[name] = number.into();
        }
    }
    if let Some(extra) = frame.extra {
        let extra: serde_json::Map<_, _> = serde_json::from_slice(&extra).unwrap();
        value.as_object_mut().unwrap().extend(extra);
    }
    for (name, json) in [("content", frame.content), ("data", frame.data)] {
        if let Some(json) = json {
            value[name] = serde_json::from_slice(&json).unwrap();
        }
    }
    if let Some(broadcast) = frame.broadcast {
        value["broadcast"] = broadcast.into();
    }
    value
}
