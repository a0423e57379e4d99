//! The protobuf codec, `wsc.v1.proto`: the frames of `frame.proto` in binary frames.
//!
//! Owns the way between them and the JSON form, which both codecs share: what is wrong with a frame is found in one place,
//! and refused in the same words. `content` and `data` pass through as the bytes they are.

use std::borrow::Cow;
use std::fmt;

use prost::Message as _;
use prost::encoding::{self, DecodeContext};
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use wsc_proto::v1::{ClientFrame, FramePriority, ServerFrame};

use super::codec::{FrameCodec, Payload, Written};
use super::json::{Refusal, string};
use super::{ErrorCode, Priority, RawJson};

/// The WebSocket subprotocol of this codec.
pub const SUBPROTOCOL: &str = "wsc.v1.proto";

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Proto;

impl FrameCodec for Proto {
    fn subprotocol(&self) -> &'static str {
        SUBPROTOCOL
    }

    fn read<'a>(&self, payload: Payload<'a>) -> Result<Cow<'a, str>, Refusal> {
        let bytes = match payload {
            Payload::Binary(bytes) => bytes,
            Payload::Text(_) => {
                let message =
                    format!("text frames are not spoken in {SUBPROTOCOL}, send binary ones");
                return Err(refusal(message, None));
            }
        };
        let frame = ClientFrame::decode(bytes).map_err(|error| refusal(error.to_string(), None))?;
        if let Some(field) = unknown_field(bytes) {
            let message = format!("field {field}: unknown, {SUBPROTOCOL} has 1 to {LAST_FIELD}");
            return Err(refusal(message, frame.id));
        }
        match to_json(&frame) {
            Ok(json) => Ok(Cow::Owned(json)),
            Err(problem) => Err(refusal(problem, frame.id)),
        }
    }

    fn write<'a>(&self, json: &'a [u8]) -> Written<'a> {
        Written::Binary(Cow::Owned(from_json(json).encode_to_vec()))
    }
}

/// The last field of `ClientFrame`, whose numbers have no holes.
const LAST_FIELD: u32 = 12;

/// The number of a field that `ClientFrame` does not have. Decoding passes over it, where JSON has an unknown field refused.
fn unknown_field(mut bytes: &[u8]) -> Option<u32> {
    while !bytes.is_empty() {
        let (field, kind) = encoding::decode_key(&mut bytes).ok()?;
        if !(1..=LAST_FIELD).contains(&field) {
            return Some(field);
        }
        encoding::skip_field(kind, field, &mut bytes, DecodeContext::default()).ok()?;
    }
    None
}

fn refusal(message: String, ref_id: Option<String>) -> Refusal {
    Refusal {
        code: ErrorCode::BadFrame,
        message,
        ref_id: ref_id.filter(|id| id.len() <= super::IdError::MAX_BYTES),
    }
}

/// The JSON form of a client's frame; the error names the field.
fn to_json(frame: &ClientFrame) -> Result<String, String> {
    let ClientFrame {
        r#type,
        id,
        to,
        group,
        ticket_id,
        broadcast,
        content,
        data,
        priority,
        require_ack,
        reply_to,
        extra,
    } = frame;
    let mut out = Vec::with_capacity(frame.encoded_len() + 128);
    out.extend_from_slice(b"{\"type\":");
    string(r#type, &mut out);
    let texts = [
        ("id", id),
        ("to", to),
        ("group", group),
        ("ticket_id", ticket_id),
        ("reply_to", reply_to),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            begin(name, &mut out);
            string(text, &mut out);
        }
    }
    for (name, flag) in [("broadcast", broadcast), ("require_ack", require_ack)] {
        if let Some(flag) = flag {
            begin(name, &mut out);
            out.extend_from_slice(if *flag { b"true" } else { b"false" });
        }
    }
    let priority = FramePriority::try_from(*priority)
        .map_err(|_| format!("priority: unknown value {priority}"))?;
    if priority != FramePriority::Normal {
        begin("priority", &mut out);
        string(word(priority).as_str(), &mut out);
    }
    for (name, json) in [("content", content), ("data", data)] {
        if let Some(json) = json {
            begin(name, &mut out);
            out.extend_from_slice(checked(name, json)?.get().as_bytes());
        }
    }
    if let Some(extra) = extra {
        let object = checked("extra", extra)?.get();
        let fields = object
            .strip_prefix('{')
            .and_then(|fields| fields.strip_suffix('}'))
            .ok_or("extra: expected an object")?;
        if !fields.trim().is_empty() {
            out.push(b',');
            out.extend_from_slice(fields.as_bytes());
        }
    }
    out.push(b'}');
    // Every part is UTF-8.
    String::from_utf8(out).map_err(|error| error.to_string())
}

/// Only whole JSON gets into the frame: else a payload could end its field and begin others.
fn checked<'a>(name: &str, json: &'a [u8]) -> Result<&'a RawJson, String> {
    serde_json::from_slice(json).map_err(|error| format!("{name}: not JSON: {error}"))
}

fn begin(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

const fn word(priority: FramePriority) -> Priority {
    match priority {
        FramePriority::Normal => Priority::Normal,
        FramePriority::Low => Priority::Low,
        FramePriority::High => Priority::High,
        FramePriority::Critical => Priority::Critical,
    }
}

const fn level(priority: Priority) -> FramePriority {
    match priority {
        Priority::Low => FramePriority::Low,
        Priority::Normal => FramePriority::Normal,
        Priority::High => FramePriority::High,
        Priority::Critical => FramePriority::Critical,
    }
}

/// The frame that the JSON codec wrote. A field that `frame.proto` does not have goes to `extra`: nothing is lost.
pub(crate) fn from_json(json: &[u8]) -> ServerFrame {
    let mut frame = ServerFrame::default();
    let mut extra = Vec::new();
    let fields = serde_json::Deserializer::from_slice(json).deserialize_map(Fields);
    // What the gateway wrote itself is an object.
    for (name, raw) in fields.unwrap_or_default() {
        if !set(&mut frame, &name, raw) {
            extra.push(if extra.is_empty() { b'{' } else { b',' });
            string(&name, &mut extra);
            extra.push(b':');
            extra.extend_from_slice(raw.get().as_bytes());
        }
    }
    if !extra.is_empty() {
        extra.push(b'}');
        frame.extra = Some(extra);
    }
    frame
}

/// Puts a field where it belongs; `false` when there is no such place.
fn set(frame: &mut ServerFrame, name: &str, raw: &RawJson) -> bool {
    let json = raw.get();
    let text = |slot: &mut Option<String>| {
        *slot = serde_json::from_str(json).ok();
        slot.is_some()
    };
    let number = |slot: &mut Option<u64>| {
        *slot = serde_json::from_str(json).ok();
        slot.is_some()
    };
    match name {
        "type" => serde_json::from_str(json)
            .map(|kind| frame.r#type = kind)
            .is_ok(),
        "id" => text(&mut frame.id),
        "from" => text(&mut frame.from),
        "from_type" => text(&mut frame.from_type),
        "to" => text(&mut frame.to),
        "group" => text(&mut frame.group),
        "ticket_id" => text(&mut frame.ticket_id),
        "reply_to" => text(&mut frame.reply_to),
        "ref" => text(&mut frame.r#ref),
        "code" => text(&mut frame.code),
        "message" => text(&mut frame.message),
        "pos" => text(&mut frame.pos),
        "seq" => number(&mut frame.seq),
        "create_at" => number(&mut frame.create_at),
        "broadcast" => {
            frame.broadcast = serde_json::from_str(json).ok();
            frame.broadcast.is_some()
        }
        "priority" => serde_json::from_str(json)
            .map(|priority: Priority| frame.priority = level(priority).into())
            .is_ok(),
        "content" => {
            frame.content = Some(json.into());
            true
        }
        "data" => {
            frame.data = Some(json.into());
            true
        }
        _ => false,
    }
}

/// The fields of an object in their order, values as they stand.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(String, &'de RawJson)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::with_capacity(12);
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Control;
    use super::super::json::{self, ClientFrame as Neutral, Command};
    use super::*;

    fn read(frame: &ClientFrame) -> Result<String, Refusal> {
        let bytes = frame.encode_to_vec();
        Proto
            .read(Payload::Binary(&bytes))
            .map(std::borrow::Cow::into_owned)
    }

    fn full() -> ClientFrame {
        ClientFrame {
            r#type: "te\"xt".into(),
            id: Some("c1".into()),
            to: Some("böb\n".into()),
            content: Some(br#" {"a": [1,  2]} "#.to_vec()),
            data: Some(br#"{"k":"v"}"#.to_vec()),
            priority: FramePriority::High.into(),
            require_ack: Some(false),
            reply_to: Some("c0".into()),
            ..ClientFrame::default()
        }
    }

    #[test]
    fn a_frame_means_what_the_same_frame_in_json_means() {
        let text = read(&full()).expect("read");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            value,
            serde_json::json!({"type": "te\"xt", "id": "c1", "to": "böb\n", "content": {"a": [1, 2]}, "data": {"k": "v"},
                "priority": "high", "require_ack": false, "reply_to": "c0"})
        );
        let frame = Neutral::parse(&text).expect("parses");
        assert_eq!(
            frame
                .command()
                .map(|_| ())
                .expect_err("a control character")
                .code,
            ErrorCode::BadTarget
        );
    }

    #[test]
    fn content_passes_through_as_the_bytes_it_is() {
        let frame = ClientFrame {
            to: Some("bob".into()),
            ..full()
        };
        let text = read(&frame).expect("read");
        let frame = Neutral::parse(&text).expect("parses");
        let Ok(Command::Send { body, .. }) = frame.command() else {
            panic!("not a send")
        };
        assert_eq!(body.content.map(RawJson::get), Some(r#"{"a": [1,  2]}"#));
    }

    #[test]
    fn more_than_one_target_is_refused_as_in_json() {
        let frame = ClientFrame {
            to: Some("bob".into()),
            broadcast: Some(true),
            ..full()
        };
        let text = read(&frame).expect("read");
        let refusal = Neutral::parse(&text)
            .expect("parses")
            .command()
            .map(|_| ())
            .expect_err("two targets");
        assert_eq!(
            (refusal.code, refusal.ref_id.as_deref()),
            (ErrorCode::BadTarget, Some("c1"))
        );
    }

    #[test]
    fn a_payload_cannot_leave_its_field() {
        for payload in [
            &br#"1,"broadcast":true"#[..],
            b"{}}",
            b"",
            b"\"",
            b"\xff",
            b"tru",
        ] {
            for (name, frame) in [
                (
                    "content",
                    ClientFrame {
                        content: Some(payload.to_vec()),
                        ..full()
                    },
                ),
                (
                    "data",
                    ClientFrame {
                        data: Some(payload.to_vec()),
                        ..full()
                    },
                ),
                (
                    "extra",
                    ClientFrame {
                        extra: Some(payload.to_vec()),
                        ..full()
                    },
                ),
            ] {
                let refusal = read(&frame).expect_err("refused");
                assert_eq!(refusal.code, ErrorCode::BadFrame);
                assert_eq!(refusal.ref_id.as_deref(), Some("c1"));
                assert!(refusal.message.starts_with(name), "{}", refusal.message);
            }
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_by_name() {
        let text = Proto.read(Payload::Text("{}")).expect_err("text");
        assert!(text.message.contains("wsc.v1.proto"), "{}", text.message);
        assert!(Proto.read(Payload::Binary(&[0xff])).is_err());
        let priority = ClientFrame {
            priority: 9,
            ..full()
        };
        let refusal = read(&priority).expect_err("priority");
        assert_eq!(refusal.message, "priority: unknown value 9");
        let list = ClientFrame {
            extra: Some(b"[1]".to_vec()),
            ..full()
        };
        assert!(read(&list).is_err());
    }

    #[test]
    fn an_unknown_field_is_refused_as_in_json() {
        let all = ClientFrame {
            group: Some("g".into()),
            ticket_id: Some("t".into()),
            broadcast: Some(true),
            extra: Some(b"{}".to_vec()),
            ..full()
        };
        assert!(read(&all).is_ok(), "every field that there is");
        // Field 13, a string; field 99, a number; field 2000, eight bytes.
        for (field, bytes) in [
            (13, &b"\x6a\x01x"[..]),
            (99, b"\x98\x06\x07"),
            (2000, b"\x81\x7d12345678"),
        ] {
            for first in [true, false] {
                let known = full().encode_to_vec();
                let parts = if first {
                    [bytes, &known]
                } else {
                    [&known, bytes]
                };
                let refusal = Proto
                    .read(Payload::Binary(&parts.concat()))
                    .expect_err("refused");
                assert_eq!(refusal.code, ErrorCode::BadFrame);
                assert_eq!(refusal.ref_id.as_deref(), Some("c1"));
                let said = format!("field {field}: unknown");
                assert!(refusal.message.starts_with(&said), "{}", refusal.message);
            }
        }
        let frame = ClientFrame {
            extra: Some(br#"{"contents":1}"#.to_vec()),
            ..full()
        };
        let text = read(&frame).expect("JSON says what is wrong with it");
        let refusal = Neutral::parse(&text).map(|_| ()).expect_err("unknown");
        assert!(refusal.message.contains("contents"), "{}", refusal.message);
    }

    #[test]
    fn fields_that_the_file_does_not_have_go_both_ways() {
        let frame = ClientFrame {
            extra: Some(br#"{"seq": 7}"#.to_vec()),
            ..full()
        };
        let text = read(&frame).expect("read");
        assert!(text.ends_with(r#","seq": 7}"#), "{text}");
        let frame = from_json(br#"{"type":"t","new":{"a":1},"seq":"seven","ref":"c1"}"#);
        assert_eq!(
            frame.extra.as_deref(),
            Some(&br#"{"new":{"a":1},"seq":"seven"}"#[..])
        );
        assert_eq!(frame.r#ref.as_deref(), Some("c1"));
    }

    #[test]
    fn what_the_server_writes_has_every_field_in_its_place() {
        let frame = from_json(
            br#"{"type":"text","id":"m1","from":"alice","from_type":"customer","to":"bob","seq":7,"create_at":5,
                "priority":"critical","reply_to":"c0","content":"he said \"hi\"\n","data":{"k": 1},"pos":"3.4"}"#,
        );
        let expected = ServerFrame {
            r#type: "text".into(),
            id: Some("m1".into()),
            from: Some("alice".into()),
            from_type: Some("customer".into()),
            to: Some("bob".into()),
            seq: Some(7),
            create_at: Some(5),
            priority: FramePriority::Critical.into(),
            reply_to: Some("c0".into()),
            content: Some(br#""he said \"hi\"\n""#.to_vec()),
            data: Some(br#"{"k": 1}"#.to_vec()),
            pos: Some("3.4".into()),
            ..ServerFrame::default()
        };
        assert_eq!(frame, expected);
    }

    #[test]
    fn an_error_frame_names_code_message_and_frame() {
        let refusal = refusal("to: too long".into(), Some("c1".into()));
        let frame = from_json(&json::control(&Control::Error(&refusal)));
        assert_eq!(
            (
                frame.r#type.as_str(),
                frame.code.as_deref(),
                frame.message.as_deref(),
                frame.r#ref.as_deref()
            ),
            ("error", Some("bad_frame"), Some("to: too long"), Some("c1"))
        );
    }
}
