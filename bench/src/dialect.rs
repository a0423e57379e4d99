//! What is said on a connection to each kind of server: how a member gets into its room, publishes and is echoed.
//!
//! A message carries a mark, `#` and twelve digits: its number, by which the generator knows when it was meant to be
//! sent, and whether anything was lost, repeated or out of order.

use std::sync::Arc;

use clap::ValueEnum;
use rustls::ClientConfig;

use crate::frame::Opcode;
use crate::handshake::{Deflate, Request};
use crate::{nats, token};

/// What fills messages.
const WORDS: [&str; 32] = [
    "order", "shipped", "street", "total", "12.50", "Friday", "customer", "delayed", "parcel",
    "the", "and", "by", "to", "from", "message", "17", "2026", "received", "answer", "please",
    "thanks", "waiting", "agent", "ticket", "invoice", "paid", "open", "closed", "today",
    "tomorrow", "number", "again",
];

/// How many bytes a mark has.
pub const MARK: usize = 13;

/// The language of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// What the small peers of this repository speak: `?room=` joins, `ready` is the first message, `P` publishes what
    /// follows to the room, `E` echoes it.
    Plain,
    /// The gateway: `wsc.v1.json`.
    Wsc,
    /// Centrifuge's JSON.
    Centrifuge,
    /// socket.io over engine.io 4.
    SocketIo,
    /// NATS by its own WebSocket listener.
    Nats,
}

/// Who a connection is.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its number: user `u17` is number 17.
    pub number: usize,
    /// The room it is in.
    pub room: usize,
}

/// How members are let in.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The server's language.
    pub dialect: Dialect,
    /// The path of the handshake; the default of the dialect when empty.
    pub path: String,
    /// The key that signs tokens, where members have some.
    pub key: Option<String>,
    /// Whether compression is offered.
    pub deflate: Deflate,
    /// Whose certificates are trusted, where it goes by TLS.
    pub tls: Option<Arc<ClientConfig>>,
}

/// One step of getting in: what is waited for, then what is said.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The first message that contains this ends the wait; nothing is waited for when it is empty.
    pub until: &'static str,
    /// What a member says then, if anything.
    pub say: Option<fn(&Member) -> String>,
}

const fn step(until: &'static str, say: Option<fn(&Member) -> String>) -> Step {
    Step { until, say }
}

impl Entry {
    /// The handshake of a member.
    pub fn request(&self, member: &Member) -> anyhow::Result<Request> {
        let Member { number, room } = member;
        let path = match (self.path.as_str(), self.dialect) {
            ("", Dialect::Plain | Dialect::Wsc) => "/ws",
            ("", Dialect::Centrifuge) => "/connection/websocket",
            ("", Dialect::SocketIo) => "/socket.io/",
            ("", Dialect::Nats) => "/",
            (path, _) => path,
        };
        let mint = |key: &String| token::mint(key, &user(*number));
        let token = self.key.as_ref().map(mint).transpose()?;
        let query = match self.dialect {
            Dialect::Wsc if token.is_none() => format!("?user_id={}", user(*number)),
            Dialect::SocketIo => format!("?EIO=4&transport=websocket&room={room}"),
            Dialect::Plain | Dialect::Centrifuge => format!("?room={room}"),
            Dialect::Wsc | Dialect::Nats => String::new(),
        };
        Ok(Request {
            path: format!("{path}{query}"),
            token,
            deflate: self.deflate,
        })
    }
}

impl Dialect {
    /// What a member does until its session stands.
    pub fn entrance(self) -> &'static [Step] {
        const PLAIN: [Step; 1] = [step("ready", None)];
        const WSC: [Step; 1] = [step("\"welcome\"", None)];
        const CENTRIFUGE: [Step; 2] = [
            step("", Some(|_| r#"{"id":1,"connect":{}}"#.to_owned())),
            step("\"connect\"", None),
        ];
        const SOCKET_IO: [Step; 2] = [step("0{", Some(|_| "40".to_owned())), step("ready", None)];
        const NATS: [Step; 2] = [step("INFO ", Some(nats::enter)), step("PONG", None)];
        match self {
            Self::Plain => &PLAIN,
            Self::Wsc => &WSC,
            Self::Centrifuge => &CENTRIFUGE,
            Self::SocketIo => &SOCKET_IO,
            Self::Nats => &NATS,
        }
    }

    /// What a member whose session stands says to get into its room, where that is not part of connecting.
    pub fn join(self, member: &Member) -> Option<String> {
        match self {
            Self::Wsc => Some(format!(
                r#"{{"type":"group.join","id":"j","data":{{"group":"r{}"}}}}"#,
                member.room
            )),
            Self::Plain | Self::Centrifuge | Self::SocketIo | Self::Nats => None,
        }
    }

    /// What messages to the server are.
    pub fn opcode(self) -> Opcode {
        match self {
            Self::Nats => Opcode::Binary,
            Self::Plain | Self::Wsc | Self::Centrifuge | Self::SocketIo => Opcode::Text,
        }
    }

    /// A publish of `size` bytes to the member's room.
    pub fn publish(self, member: &Member, number: u64, size: usize) -> Vec<u8> {
        let Member { room, .. } = member;
        let body = body(number, size);
        match self {
            Self::Plain => format!("P{body}"),
            Self::Wsc => format!(r#"{{"type":"bench","group":"r{room}","content":"{body}"}}"#),
            Self::Centrifuge => format!(r#"{{"send":{{"data":"{body}"}}}}"#),
            Self::SocketIo => format!(r#"42["p","{body}"]"#),
            Self::Nats => nats::publish(*room, &body),
        }
        .into_bytes()
    }

    /// A publish like [`Dialect::publish`], that is kept for members who come back where a server has that.
    pub fn keep(self, member: &Member, number: u64, size: usize) -> Vec<u8> {
        let (room, body) = (member.room, body(number, size));
        match self {
            Self::Wsc => format!(
                r##"{{"type":"text","id":"#{number:012}","group":"r{room}","content":"{body}"}}"##
            )
            .into_bytes(),
            Self::Plain | Self::Centrifuge | Self::SocketIo | Self::Nats => {
                self.publish(member, number, size)
            }
        }
    }

    /// A message of `size` bytes for user number `reader` alone, who is in a room of that number; nothing where a server has
    /// no such thing.
    pub fn direct(self, reader: usize, number: u64, size: usize) -> Vec<u8> {
        let body = body(number, size);
        match self {
            Self::Wsc => {
                let user = user(reader);
                format!(r#"{{"type":"bench","to":"{user}","content":"{body}"}}"#)
            }
            Self::Centrifuge => format!(r#"{{"send":{{"data":"@{reader} {body}"}}}}"#),
            Self::Nats => nats::publish(reader, &body),
            Self::Plain | Self::SocketIo => String::new(),
        }
        .into_bytes()
    }

    /// A message of `size` bytes that is stored for user number `reader` and answered by a receipt; nothing where a server
    /// has no such thing. The receipt repeats the id, and so the mark.
    pub fn store(self, reader: usize, number: u64, size: usize) -> Vec<u8> {
        let (reader, body) = (user(reader), body(number, size));
        match self {
            Self::Wsc => format!(
                r##"{{"type":"text","id":"#{number:012}","to":"{reader}","content":"{body}"}}"##
            )
            .into_bytes(),
            Self::Plain | Self::Centrifuge | Self::SocketIo | Self::Nats => Vec::new(),
        }
    }

    /// A message of `size` bytes that comes back to the member alone, who is alone in its room.
    pub fn echo(self, member: &Member, number: u64, size: usize) -> Vec<u8> {
        let body = body(number, size);
        match self {
            Self::Plain => format!("E{body}"),
            Self::Wsc => return self.direct(member.number, number, size),
            Self::Centrifuge => format!(r#"{{"id":{},"rpc":{{"data":"{body}"}}}}"#, number + 2),
            Self::SocketIo => format!(r#"42["e","{body}"]"#),
            Self::Nats => nats::publish(member.room, &body),
        }
        .into_bytes()
    }

    /// The first message in what frames have brought, and how many bytes it takes there; `None` when it is not all there
    /// yet. Centrifuge puts what goes out together into one frame, line by line; for NATS frames are pieces of a stream.
    pub fn first(self, bytes: &[u8]) -> anyhow::Result<Option<(&[u8], usize)>> {
        let whole = (!bytes.is_empty()).then_some((bytes, bytes.len()));
        match self {
            Self::Plain | Self::Wsc | Self::SocketIo => Ok(whole),
            Self::Centrifuge => {
                let line = bytes.split(|byte| *byte == b'\n').next();
                let cut = line.filter(|line| line.len() < bytes.len());
                Ok(cut.map(|line| (line, line.len() + 1)).or(whole))
            }
            Self::Nats => nats::first(bytes),
        }
    }

    /// Whether the server says that it will not have this member, or not any longer.
    pub fn refuses(self, message: &[u8]) -> bool {
        self == Self::Nats && message.starts_with(b"-ERR")
    }

    /// Whether the server tells of itself, which answers nothing.
    pub fn aside(self, message: &[u8]) -> bool {
        self == Self::Nats && message.starts_with(b"INFO ")
    }

    /// The answer to what the server asks within its own protocol to see whether the client lives.
    pub fn heartbeat(self, message: &[u8]) -> Option<&'static [u8]> {
        match (self, message) {
            (Self::Centrifuge, b"{}") => Some(b"{}"),
            (Self::SocketIo, b"2") => Some(b"3"),
            (Self::Nats, b"PING") => Some(b"PONG\r\n"),
            _ => None,
        }
    }
}

fn user(number: usize) -> String {
    format!("u{number}")
}

/// The mark and what fills the message up to its size.
pub(crate) fn body(number: u64, size: usize) -> String {
    let mut body = format!("#{number:012}");
    // Words in no order that repeats soon: what compresses as text does.
    let mut state = number;
    while body.len() < size {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let word = WORDS
            .get(usize::try_from(state >> 59).unwrap_or(0))
            .unwrap_or(&"and");
        body.extend([" ", word]);
    }
    body.truncate(size.max(MARK));
    body
}

/// The number in a message's mark. `hint` is where the last mark was: messages of one server look alike.
pub fn mark(message: &[u8], hint: &mut usize) -> Option<u64> {
    if message.get(*hint) != Some(&b'#') {
        *hint = message.iter().position(|byte| *byte == b'#')?;
    }
    let digits = message.get(*hint + 1..*hint + MARK)?;
    digits.iter().try_fold(0, |number: u64, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u64::from(digit - b'0'))
    })
}

/// Whether a message tells a member that it is in its room.
pub fn joined(message: &[u8]) -> bool {
    contains(message, br#""ref":"j""#) && contains(message, br#""generation""#)
}

/// Whether `message` has `part` in it.
pub fn contains(message: &[u8], part: &[u8]) -> bool {
    message.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_wherever_a_dialect_puts_it() {
        let member = Member { number: 3, room: 1 };
        let mut hint = 0;
        for dialect in Dialect::value_variants() {
            for number in [0, 7, 123_456_789] {
                let message = dialect.publish(&member, number, 128);
                assert_eq!(mark(&message, &mut hint), Some(number));
                assert!(message.len() >= 128);
                let echo = dialect.echo(&member, number, 128);
                assert_eq!(mark(&echo, &mut hint), Some(number));
                let direct = dialect.direct(5, number, 128);
                let has = !matches!(dialect, Dialect::Plain | Dialect::SocketIo);
                assert_eq!(mark(&direct, &mut hint), has.then_some(number));
            }
        }
    }

    #[test]
    fn a_frame_of_several_messages_is_taken_apart_where_a_dialect_has_that() {
        let told = |dialect: Dialect, mut bytes: &'static [u8]| {
            let mut told = Vec::new();
            while let Some((message, used)) = dialect.first(bytes).unwrap() {
                told.push(message);
                bytes = &bytes[used..];
            }
            (told, bytes)
        };
        assert_eq!(
            told(Dialect::Centrifuge, b"{}\n{1}\n{2}"),
            (vec![&b"{}"[..], b"{1}", b"{2}"], &b""[..])
        );
        assert_eq!(
            told(Dialect::Nats, b"PING\r\nMSG r0 1 3\r\nabc\r\nPI"),
            (vec![&b"PING"[..], b"abc"], &b"PI"[..])
        );
        for dialect in [Dialect::Plain, Dialect::Wsc, Dialect::SocketIo] {
            let lines = &b"a\r\nb\n"[..];
            assert_eq!(told(dialect, lines), (vec![lines], &b""[..]));
            assert_eq!(told(dialect, b""), (vec![], &b""[..]));
        }
    }

    #[test]
    fn what_has_no_mark_is_no_message() {
        for message in [&b"ready"[..], b"#12", b"#1234567890ab", b""] {
            assert_eq!(mark(message, &mut 0), None);
        }
    }
}
