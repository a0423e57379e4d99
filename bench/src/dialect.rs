//! What is said on a connection to each kind of server: how a member gets into its room, publishes and is echoed.
//!
//! A message carries a mark, `#` and twelve digits: its number, by which the generator knows when it was meant to be
//! sent, and whether anything was lost, repeated or out of order.

use std::sync::Arc;

use clap::ValueEnum;
use rustls::ClientConfig;

use crate::handshake::{Deflate, Request};
use crate::token;

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
    /// The key that signs tokens of the gateway.
    pub key: Option<String>,
    /// Whether compression is offered.
    pub deflate: Deflate,
    /// Whose certificates are trusted, where it goes by TLS.
    pub tls: Option<Arc<ClientConfig>>,
}

/// One step of getting in: what is waited for, then what is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The first message that contains this ends the wait; nothing is waited for when it is empty.
    pub until: &'static str,
    /// What is said then, if anything.
    pub say: Option<&'static str>,
}

const fn step(until: &'static str, say: Option<&'static str>) -> Step {
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
            (path, _) => path,
        };
        let (query, token) = match (self.dialect, &self.key) {
            (Dialect::Wsc, Some(key)) => (String::new(), Some(token::mint(key, &user(*number))?)),
            (Dialect::Wsc, None) => (format!("?user_id={}", user(*number)), None),
            (Dialect::SocketIo, _) => (format!("?EIO=4&transport=websocket&room={room}"), None),
            (Dialect::Plain | Dialect::Centrifuge, _) => (format!("?room={room}"), None),
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
            step("", Some(r#"{"id":1,"connect":{}}"#)),
            step("\"connect\"", None),
        ];
        const SOCKET_IO: [Step; 2] = [step("0{", Some("40")), step("ready", None)];
        match self {
            Self::Plain => &PLAIN,
            Self::Wsc => &WSC,
            Self::Centrifuge => &CENTRIFUGE,
            Self::SocketIo => &SOCKET_IO,
        }
    }

    /// What a member whose session stands says to get into its room, where that is not part of connecting.
    pub fn join(self, member: &Member) -> Option<String> {
        match self {
            Self::Wsc => Some(format!(
                r#"{{"type":"group.join","id":"j","data":{{"group":"r{}"}}}}"#,
                member.room
            )),
            Self::Plain | Self::Centrifuge | Self::SocketIo => None,
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
            Self::Plain | Self::Centrifuge | Self::SocketIo => self.publish(member, number, size),
        }
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
            Self::Plain | Self::Centrifuge | Self::SocketIo => Vec::new(),
        }
    }

    /// A message of `size` bytes that comes back to the member alone.
    pub fn echo(self, member: &Member, number: u64, size: usize) -> Vec<u8> {
        let body = body(number, size);
        match self {
            Self::Plain => format!("E{body}"),
            Self::Wsc => {
                let user = user(member.number);
                format!(r#"{{"type":"bench","to":"{user}","content":"{body}"}}"#)
            }
            Self::Centrifuge => format!(r#"{{"id":{},"rpc":{{"data":"{body}"}}}}"#, number + 2),
            Self::SocketIo => format!(r#"42["e","{body}"]"#),
        }
        .into_bytes()
    }

    /// The messages in a frame: centrifuge puts what goes out together into one, line by line.
    pub fn messages(self, frame: &[u8]) -> impl Iterator<Item = &[u8]> {
        frame.split(move |byte| self == Self::Centrifuge && *byte == b'\n')
    }

    /// The answer to what the server asks within its own protocol to see whether the client lives.
    pub fn heartbeat(self, message: &[u8]) -> Option<&'static [u8]> {
        match (self, message) {
            (Self::Centrifuge, b"{}") => Some(b"{}"),
            (Self::SocketIo, b"2") => Some(b"3"),
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
            }
        }
    }

    #[test]
    fn what_has_no_mark_is_no_message() {
        for message in [&b"ready"[..], b"#12", b"#1234567890ab", b""] {
            assert_eq!(mark(message, &mut 0), None);
        }
    }
}
