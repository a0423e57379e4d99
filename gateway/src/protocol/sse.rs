//! Frames as Server-Sent Events. Pure.
//!
//! `data:` is the frame as `wsc.v1.json` has it. Messages are events without a name, which a browser hands to
//! `onmessage` whatever their type; the gateway's own frames are named after theirs. A stored message has an `id:`, which
//! a browser sends as `Last-Event-ID` when it comes back: the same words as `resume`.

use bytes::Bytes;
use serde::Serialize;

use super::disconnect::CloseCode;
use super::{LogId, Mark, Position};

/// What is sent down a quiet stream: a comment, of which clients make nothing.
pub(super) const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// The longest `id:`. It comes back as a header line, and those are bounded.
const ID_MAX: usize = 4 * 1024;

/// A frame given as JSON, with its place if it is in a log.
pub(super) fn event(json: &[u8], mark: Option<&Mark>) -> Bytes {
    let mut out = Vec::with_capacity(json.len() + 96);
    if let Some(mark) = mark
        && let Some(id) = id(&[(&mark.log, mark.position)])
    {
        out.extend_from_slice(&id);
    }
    if let Some(kind) = kind(json).filter(|kind| super::json::is_control(kind)) {
        line("event", kind.as_bytes(), &mut out);
    }
    data(json, &mut out);
    out.into()
}

/// The type, which every frame that the gateway writes begins with; one with escapes in it is none of the gateway's own.
fn kind(json: &[u8]) -> Option<&str> {
    let rest = json.strip_prefix(b"{\"type\":\"")?;
    let kind = rest.split(|byte| *byte == b'"').next()?;
    std::str::from_utf8(kind).ok()
}

/// The last event of a stream: what a close frame says on a WebSocket.
pub(super) fn close(told: CloseCode) -> Bytes {
    #[derive(Serialize)]
    struct Close {
        code: u16,
        reason: &'static str,
        reconnect: bool,
    }
    let close = Close {
        code: told.code,
        reason: told.reason,
        reconnect: told.reconnect,
    };
    let json = serde_json::json!({"type": "close", "data": close}).to_string();
    let mut out = Vec::with_capacity(json.len() + 32);
    line("event", b"close", &mut out);
    data(json.as_bytes(), &mut out);
    out.into()
}

/// Where a client is in all the logs that it follows, for its next `Last-Event-ID`: an event without data, which clients
/// remember and show nobody. `None`: more than a header line holds.
pub fn places(places: &[(&LogId, Position)]) -> Option<Bytes> {
    let mut out = id(places)?;
    out.push(b'\n');
    Some(out.into())
}

fn id(places: &[(&LogId, Position)]) -> Option<Vec<u8>> {
    let mut out = b"id: ".to_vec();
    super::resume::write(places, &mut out);
    out.push(b'\n');
    (out.len() <= ID_MAX).then_some(out)
}

/// JSON may have line ends between its tokens; each line is a `data:` of its own, and clients join them again.
fn data(json: &[u8], out: &mut Vec<u8>) {
    for piece in json.split(|byte| matches!(byte, b'\n' | b'\r')) {
        if !piece.is_empty() {
            line("data", piece, out);
        }
    }
    out.push(b'\n');
}

fn line(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::event as event_of;
    use super::*;
    use crate::protocol::{Disconnect, GroupId, Resume, Start, UserId};

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    fn position(epoch: u64, offset: u64) -> Position {
        Position { epoch, offset }
    }

    #[test]
    fn a_message_is_an_event_without_a_name_and_a_frame_of_the_gateway_has_its_types() {
        let event = event_of(br#"{"type":"text"}"#, None);
        assert_eq!(text(&event), "data: {\"type\":\"text\"}\n\n");
        let event = event_of(br#"{"type":"pong"}"#, None);
        assert_eq!(text(&event), "event: pong\ndata: {\"type\":\"pong\"}\n\n");
    }

    #[test]
    fn the_id_of_a_stored_message_is_where_to_resume() {
        let bob = UserId::new("bob").unwrap();
        let mark = Mark {
            log: LogId::Inbox(bob.clone()),
            position: position(3, 4),
            ack: None,
            start: Start::Here,
        };
        let event = event_of(b"{}", Some(&mark));
        assert_eq!(text(&event), "id: {\"inbox\":\"3.4\"}\ndata: {}\n\n");
        let group = LogId::Group(GroupId::new("a \"b\"").unwrap());
        let all = [(&mark.log, mark.position), (&group, position(5, 6))];
        let event = places(&all).unwrap();
        let id = text(&event).strip_prefix("id: ").unwrap().trim_end();
        let resume = Resume::parse(id).unwrap();
        let read = resume.places(&bob);
        assert!(read.contains(&(mark.log, mark.position)));
        assert!(read.contains(&(group, position(5, 6))));
    }

    #[test]
    fn an_id_that_no_header_line_holds_is_not_sent() {
        let logs: Vec<LogId> = (0..400)
            .map(|number| LogId::Group(GroupId::new(&format!("group-{number}")).unwrap()))
            .collect();
        let all: Vec<_> = logs.iter().map(|log| (log, position(1, 2))).collect();
        assert_eq!(places(&all), None);
        assert!(places(&all[..100]).is_some());
    }

    #[test]
    fn no_payload_begins_a_line_of_its_own() {
        let event = event_of(b"{\"content\":[1,\r\n2,\n\nid: 7\r]}", None);
        assert_eq!(
            text(&event),
            "data: {\"content\":[1,\ndata: 2,\ndata: id: 7\ndata: ]}\n\n"
        );
    }

    #[test]
    fn the_last_event_says_whether_to_come_back() {
        let event = close(Disconnect::Kicked.describe());
        let data = text(&event).lines().nth(1).unwrap();
        let frame: serde_json::Value =
            serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(
            (&frame["data"]["code"], &frame["data"]["reconnect"]),
            (&4003.into(), &false.into())
        );
    }
}
