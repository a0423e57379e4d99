//! The JSON codec, `wsc.v1.json`: frames in, frames out.
//!
//! The envelope is parsed and written here; `content` and `data` are passed through as the bytes they came in. Every key
//! a client may send is known: an unknown one is refused, so that nothing a client says is lost without a word.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use serde::de::{IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::codec::{FrameCodec, Payload, Written};
use super::{
    Control, ErrorCode, GroupId, Message, MessageBody, Position, Priority, RawJson, Resume, Target,
    TicketId, UserId,
};
use crate::log::{About, AckState};

/// The WebSocket subprotocol of this codec.
pub const SUBPROTOCOL: &str = "wsc.v1.json";

/// The codec: the neutral form itself, in text frames.
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl FrameCodec for Json {
    fn subprotocol(&self) -> &'static str {
        SUBPROTOCOL
    }

    fn read<'a>(&self, payload: Payload<'a>) -> Result<Cow<'a, str>, Refusal> {
        match payload {
            Payload::Text(text) => Ok(Cow::Borrowed(text)),
            Payload::Binary(_) => Err(Refusal {
                code: ErrorCode::BadFrame,
                message: format!("binary frames are not spoken in {SUBPROTOCOL}, send text"),
                ref_id: None,
            }),
        }
    }

    fn write<'a>(&self, json: &'a [u8]) -> Written<'a> {
        Written::Text(Cow::Borrowed(json))
    }
}

/// Longest `id`, `reply_to`, `group` and `ticket_id` in bytes.
const MAX_ID: usize = 128;
/// Longest `type` in bytes.
const MAX_TYPE: usize = 64;
/// Types that mean something to the protocol itself; no message can have them.
const CONTROL_TYPES: [&str; 14] = [
    "welcome",
    "ping",
    "pong",
    "auth",
    "ack",
    "error",
    "receipt",
    "reconnect",
    "kicked",
    "presence",
    "result",
    "resume",
    "position",
    "records",
];
/// What the types of commands begin with; no message can have these either.
const CALL_PREFIXES: [&str; 4] = ["group.", "ticket.", "agent.", "presence."];

/// Why a frame was not taken: what an `error` frame tells its sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The code.
    pub code: ErrorCode,
    /// What is wrong and where.
    pub message: String,
    /// The id of the frame, if it had one that could be read.
    pub ref_id: Option<String>,
}

/// A frame from a client.
#[derive(Debug)]
pub struct ClientFrame<'a>(Raw<'a>);

/// What a client's frame asks for.
#[derive(Debug)]
pub enum Command<'a> {
    /// Answer `pong` with the same id.
    Ping(Option<&'a str>),
    /// Take this token as the session's identity.
    Auth(Auth<'a>),
    /// Run a command of another part of the service.
    Call(Call<'a>),
    /// Send a message.
    Send {
        /// Where to.
        target: Target,
        /// What.
        body: MessageBody<'a>,
    },
    /// Take the client's word for a message it got.
    Ack(Ack<'a>),
    /// Remember that the client has its inbox up to here.
    Position(Position),
}

/// A client's word for a message it got.
#[derive(Debug)]
pub struct Ack<'a> {
    /// The message's id.
    pub id: Cow<'a, str>,
    /// Whose message; `None`: that of every sender who gave it this id.
    pub from: Option<Cow<'a, str>>,
    /// What has become of it.
    pub state: AckState,
    /// The ticket it is in, if it is in one.
    pub ticket: Option<TicketId>,
}

impl Ack<'_> {
    /// The messages it is about.
    pub fn about(&self) -> About<'_> {
        About {
            id: &self.id,
            sender: self.from.as_deref(),
        }
    }
}

/// What an `auth` frame brings.
#[derive(Debug, Deserialize)]
pub struct Auth<'a> {
    #[serde(borrow)]
    token: Text<'a>,
    /// Where the client was in the logs it followed.
    #[serde(default)]
    pub resume: Option<Resume>,
}

impl Auth<'_> {
    /// The token.
    pub fn token(&self) -> &str {
        &self.token.0
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inbox {
    inbox: Position,
}

/// A command that is neither a message nor the connection's own business: `group.*`, `ticket.*`, `agent.*` and
/// `presence.*`.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Which.
    pub kind: &'a str,
    /// The client's id for it; the answer refers to it.
    pub id: Option<&'a str>,
    /// What it is about.
    pub data: Option<&'a RawJson>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    to: Option<Text<'a>>,
    #[serde(borrow)]
    group: Option<Text<'a>>,
    #[serde(borrow)]
    ticket_id: Option<Text<'a>>,
    broadcast: Option<bool>,
    #[serde(borrow)]
    content: Option<&'a RawJson>,
    #[serde(borrow)]
    data: Option<&'a RawJson>,
    priority: Option<Priority>,
    require_ack: Option<bool>,
    durable: Option<bool>,
    #[serde(borrow)]
    reply_to: Option<Text<'a>>,
    // The server sets these; a client that echoes a message back may send them, and they mean nothing.
    #[serde(rename = "from")]
    _from: Option<IgnoredAny>,
    #[serde(rename = "from_type")]
    _from_type: Option<IgnoredAny>,
    #[serde(rename = "seq")]
    _seq: Option<IgnoredAny>,
    #[serde(rename = "create_at")]
    _create_at: Option<IgnoredAny>,
}

/// A string that borrows where it has no escapes (serde's own `Option<Cow>` always copies).
#[derive(Debug)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

impl<'a> ClientFrame<'a> {
    /// Parses one text frame.
    pub fn parse(text: &'a str) -> Result<Self, Refusal> {
        let bad = |message| Refusal {
            code: ErrorCode::BadFrame,
            message,
            ref_id: None,
        };
        // serde would take an array as the fields in their order.
        if !text.trim_start().starts_with('{') {
            return Err(bad("expected a JSON object".to_owned()));
        }
        serde_json::from_str(text)
            .map(Self)
            .map_err(|error| bad(error.to_string()))
    }

    /// Checks the fields against each other and says what is asked for.
    pub fn command(&self) -> Result<Command<'_>, Refusal> {
        let raw = &self.0;
        let id = raw.id.as_ref().map(|id| id.0.as_ref());
        bounded(id, MAX_ID)
            .map_err(|problem| self.refuse(ErrorCode::BadFrame, format!("id: {problem}")))?;
        match raw.kind.0.as_ref() {
            "ping" => Ok(Command::Ping(id)),
            "auth" => self
                .data("data.token, a string, and perhaps data.resume, an object of positions")
                .map(Command::Auth),
            "ack" => self.ack(),
            "position" => {
                let position: Inbox = self.data("data.inbox, EPOCH.OFFSET")?;
                Ok(Command::Position(position.inbox))
            }
            kind if is_call(kind) => Ok(Command::Call(Call {
                kind,
                id,
                data: raw.data,
            })),
            kind => self.send(id, kind),
        }
    }

    /// The client's own id for it.
    pub fn id(&self) -> Option<&str> {
        self.0.id.as_ref().map(|id| id.0.as_ref())
    }

    /// A refusal that refers to this frame.
    pub fn refuse(&self, code: ErrorCode, message: String) -> Refusal {
        let ref_id = self
            .0
            .id
            .as_ref()
            .filter(|id| id.0.len() <= MAX_ID)
            .map(|id| id.0.to_string());
        Refusal {
            code,
            message,
            ref_id,
        }
    }

    /// What `data` says, which for this command must be an object with just these fields.
    fn data<'s, T: Deserialize<'s>>(&'s self, expected: &str) -> Result<T, Refusal> {
        let object = self
            .0
            .data
            .map(RawJson::get)
            .filter(|data| data.starts_with('{'));
        match object.map(serde_json::from_str) {
            Some(Ok(data)) => Ok(data),
            Some(Err(error)) => {
                Err(self.refuse(ErrorCode::BadFrame, format!("expected {expected}: {error}")))
            }
            None => Err(self.refuse(ErrorCode::BadFrame, format!("expected {expected}"))),
        }
    }

    fn ack(&self) -> Result<Command<'_>, Refusal> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Data<'a> {
            #[serde(borrow)]
            id: Text<'a>,
            #[serde(borrow)]
            from: Option<Text<'a>>,
            #[serde(borrow)]
            state: Option<Text<'a>>,
        }
        let ack: Data<'_> =
            self.data("data.id, a message's id, and perhaps data.from and data.state")?;
        let from = ack.from.map(|from| from.0);
        for (field, text) in [("id", Some(&*ack.id.0)), ("from", from.as_deref())] {
            bounded(text, MAX_ID).map_err(|problem| {
                self.refuse(ErrorCode::BadFrame, format!("data.{field}: {problem}"))
            })?;
        }
        let word = ack.state.as_ref().map_or("delivered", |state| &state.0);
        let state = AckState::parse(word).ok_or_else(|| {
            let message = format!("data.state: {word:?} is neither delivered nor read");
            self.refuse(ErrorCode::BadFrame, message)
        })?;
        let ticket = self.0.ticket_id.as_ref().map(|ticket| self.ticket(ticket));
        Ok(Command::Ack(Ack {
            id: ack.id.0,
            from,
            state,
            ticket: ticket.transpose()?,
        }))
    }

    fn send<'s>(&'s self, id: Option<&'s str>, kind: &'s str) -> Result<Command<'s>, Refusal> {
        let raw = &self.0;
        let body = MessageBody {
            kind,
            id,
            content: raw.content,
            data: raw.data,
            priority: raw.priority.unwrap_or_default(),
            reply_to: raw.reply_to.as_ref().map(|text| text.0.as_ref()),
            durable: raw.durable,
            require_ack: raw.require_ack.unwrap_or_default(),
        };
        check_body(&body).map_err(|(field, problem)| {
            self.refuse(ErrorCode::BadFrame, format!("{field}: {problem}"))
        })?;
        Ok(Command::Send {
            target: self.target()?,
            body,
        })
    }

    fn ticket(&self, id: &Text<'_>) -> Result<TicketId, Refusal> {
        TicketId::new(&id.0)
            .map_err(|error| self.refuse(ErrorCode::BadTarget, format!("ticket_id: {error}")))
    }

    fn target(&self) -> Result<Target, Refusal> {
        let raw = &self.0;
        let bad = |message| self.refuse(ErrorCode::BadTarget, message);
        let broadcast = raw.broadcast.unwrap_or_default();
        let named = |field, error| bad(format!("{field}: {error}"));
        match (&raw.to, &raw.group, &raw.ticket_id, broadcast) {
            (None, None, None, false) => Ok(Target::Application),
            (Some(to), None, None, false) => UserId::new(&to.0)
                .map(Target::User)
                .map_err(|error| named("to", error)),
            (None, Some(group), None, false) => GroupId::new(&group.0)
                .map(Target::Group)
                .map_err(|error| named("group", error)),
            (None, None, Some(ticket), false) => self.ticket(ticket).map(Target::Ticket),
            (None, None, None, true) => Ok(Target::Broadcast),
            _ => Err(bad(
                "more than one of to, group, ticket_id and broadcast".into()
            )),
        }
    }
}

/// Checks what a client or a backend wants to send; the field at fault and what is wrong with it.
pub fn check_body(body: &MessageBody<'_>) -> Result<(), (&'static str, String)> {
    let MessageBody {
        kind,
        id,
        content: _,
        data,
        priority: _,
        reply_to,
        durable: _,
        require_ack: _,
    } = body;
    bounded(Some(kind), MAX_TYPE).map_err(|problem| ("type", problem))?;
    if is_control(kind) {
        return Err((
            "type",
            format!("{kind:?} is a control type of the protocol"),
        ));
    }
    bounded(*id, MAX_ID).map_err(|problem| ("id", problem))?;
    bounded(*reply_to, MAX_ID).map_err(|problem| ("reply_to", problem))?;
    match data {
        Some(data) if !data.get().starts_with('{') => {
            Err(("data", "expected an object".to_owned()))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a type belongs to the protocol.
pub(super) fn is_control(kind: &str) -> bool {
    CONTROL_TYPES.contains(&kind) || is_call(kind)
}

fn is_call(kind: &str) -> bool {
    CALL_PREFIXES.iter().any(|prefix| kind.starts_with(prefix))
}

fn bounded(text: Option<&str>, max: usize) -> Result<(), String> {
    match text {
        Some(text) if text.is_empty() || text.len() > max => {
            Err(format!("has {} bytes, allowed are 1 to {max}", text.len()))
        }
        Some(_) | None => Ok(()),
    }
}

/// Writes a message as its recipients see it.
pub fn write_message(message: &Message<'_>, out: &mut Vec<u8>) {
    let Message {
        target,
        sender,
        id,
        create_at,
        body,
    } = message;
    let MessageBody {
        kind,
        id: _,
        content,
        data,
        priority,
        reply_to,
        durable: _,
        require_ack,
    } = body;
    out.extend_from_slice(b"{\"type\":");
    string(kind, out);
    field("id", id, out);
    field("from", sender.id, out);
    field("from_type", sender.kind, out);
    match target {
        Target::User(user) => field("to", user.as_str(), out),
        Target::Group(group) => field("group", group.as_str(), out),
        Target::Ticket(ticket) => field("ticket_id", ticket.as_str(), out),
        Target::Broadcast => out.extend_from_slice(b",\"broadcast\":true"),
        Target::Application => {}
    }
    put(
        out,
        format_args!(",\"seq\":{},\"create_at\":{create_at}", sender.seq),
    );
    if *priority != Priority::default() {
        field("priority", priority.as_str(), out);
    }
    if let Some(reply_to) = reply_to {
        field("reply_to", reply_to, out);
    }
    if *require_ack {
        out.extend_from_slice(b",\"require_ack\":true");
    }
    raw_field("content", *content, out);
    raw_field("data", *data, out);
    out.push(b'}');
}

/// The priority of a message as [`write_message`] wrote it; `None`: it is a frame of the protocol's own.
///
/// Every message has its number and time, and the priority right behind it if it is not the usual one. None of it can be part of a field
/// before: quotes are escaped there.
pub fn priority_of(json: &[u8]) -> Option<Priority> {
    const NUMBER: &[u8] = b",\"seq\":";
    const TIME: &[u8] = b",\"create_at\":";
    const PRIORITY: &[u8] = b",\"priority\":\"";
    let past_digits = |rest: &[u8]| rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let at = json.windows(NUMBER.len()).position(|part| part == NUMBER)?;
    let rest = json.get(at + NUMBER.len()..)?;
    let rest = rest.get(past_digits(rest)..)?.strip_prefix(TIME)?;
    let digits = past_digits(rest);
    let Some(named) = rest.get(digits..)?.strip_prefix(PRIORITY) else {
        return Some(Priority::default());
    };
    let word = named.split(|byte| *byte == b'"').next()?;
    let all = [
        Priority::Low,
        Priority::Normal,
        Priority::High,
        Priority::Critical,
    ];
    all.into_iter()
        .find(|priority| priority.as_str().as_bytes() == word)
}

/// Who sent a message, as [`write_message`] wrote it; `None`: it is a frame of the protocol's own.
pub fn sender_of(json: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Sent<'a> {
        #[serde(borrow)]
        from: Text<'a>,
    }
    let sent: Sent<'_> = serde_json::from_slice(json).ok()?;
    Some(sent.from.0)
}

/// What the `welcome` frame tells a new session.
#[derive(Debug, Serialize)]
pub struct Welcome<'a> {
    /// The session's id.
    pub session_id: String,
    /// The node that holds it.
    pub node: &'a str,
    /// Whose session it is.
    pub user_id: &'a str,
    /// The user's type.
    pub user_type: &'a str,
    /// How often the server pings a quiet connection.
    pub heartbeat_interval_ms: u64,
    /// How long the server waits for any sign of life.
    pub client_timeout_ms: u64,
    /// The largest message in bytes.
    pub max_message_size: usize,
    /// Whether this session continues an earlier one.
    pub resumed: bool,
}

/// Writes a frame of the protocol's own.
pub fn control(control: &Control<'_>) -> Vec<u8> {
    match control {
        Control::Welcome(welcome) => with_data("welcome", None, welcome),
        Control::Pong(id) => bare("pong", "id", *id),
        Control::Error(refusal) => error(refusal, None),
        Control::Limited {
            refusal,
            retry_after_ms,
        } => error(refusal, Some(*retry_after_ms)),
        Control::Reconnect {
            reason,
            after_ms,
            resume,
        } => with_data(
            "reconnect",
            None,
            &Reconnect {
                reason,
                after_ms: *after_ms,
                resume: *resume,
            },
        ),
        Control::Kicked { reason } => with_data("kicked", None, &Kicked { reason }),
        Control::Result { ref_id, data } => with_data("result", *ref_id, data),
        Control::Event { kind, data } => with_data(kind, None, data),
    }
}

#[derive(Serialize)]
struct Reconnect<'a> {
    reason: &'a str,
    after_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    resume: Option<&'a RawJson>,
}

#[derive(Serialize)]
struct Kicked<'a> {
    reason: &'a str,
}

fn error(refusal: &Refusal, retry_after_ms: Option<u64>) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(b"{\"type\":\"error\"");
    field("code", refusal.code.as_str(), &mut out);
    field("message", &refusal.message, &mut out);
    if let Some(ref_id) = &refusal.ref_id {
        field("ref", ref_id, &mut out);
    }
    if let Some(millis) = retry_after_ms {
        put(&mut out, format_args!(",\"retry_after_ms\":{millis}"));
    }
    out.push(b'}');
    out
}

fn bare(kind: &str, name: &str, value: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(b"{\"type\":");
    string(kind, &mut out);
    if let Some(value) = value {
        field(name, value, &mut out);
    }
    out.push(b'}');
    out
}

fn with_data<T: Serialize + ?Sized>(kind: &str, ref_id: Option<&str>, data: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"type\":");
    string(kind, &mut out);
    if let Some(ref_id) = ref_id {
        field("ref", ref_id, &mut out);
    }
    out.extend_from_slice(b",\"data\":");
    write(data, &mut out);
    out.push(b'}');
    out
}

fn field(name: &str, value: &str, out: &mut Vec<u8>) {
    put(out, format_args!(",\"{name}\":"));
    string(value, out);
}

fn raw_field(name: &str, value: Option<&RawJson>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        put(out, format_args!(",\"{name}\":"));
        out.extend_from_slice(value.get().as_bytes());
    }
}

pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    write(&text, out);
}

// Writing to memory cannot fail, and none of the types written here has a failing `Serialize`.
fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok());
}

fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
