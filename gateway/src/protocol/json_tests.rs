//! What the JSON codec takes, refuses and writes.

use super::super::Sender;
use super::*;

fn refusal(text: &str) -> Refusal {
    match ClientFrame::parse(text) {
        Err(refusal) => refusal,
        Ok(frame) => frame
            .command()
            .map(|command| format!("{command:?}"))
            .expect_err("taken"),
    }
}

#[test]
fn a_direct_message_is_taken_with_its_payload_untouched() {
    let text = r#"{"type":"text","id":"c1","to":"bob","content":{"a": [1,  2]},"data":{"k":"v"},"priority":"high"}"#;
    let frame = ClientFrame::parse(text).expect("parses");
    let Ok(Command::Send { target, body }) = frame.command() else {
        panic!("not a send")
    };
    assert_eq!(target, Target::User(UserId::new("bob").expect("valid")));
    assert_eq!(body.content.map(RawJson::get), Some(r#"{"a": [1,  2]}"#));
    assert_eq!(
        (body.id, body.priority, body.require_ack),
        (Some("c1"), Priority::High, false)
    );
}

#[test]
fn what_the_server_writes_is_json_with_the_payload_spliced_in() {
    let content = serde_json::value::to_raw_value("he said \"hi\"\n").expect("json");
    let body = MessageBody {
        kind: "te\"xt",
        id: None,
        content: Some(&content),
        data: None,
        priority: Priority::Critical,
        reply_to: Some("c0"),
        durable: None,
        require_ack: false,
    };
    let target = Target::User(UserId::new("bob").expect("valid"));
    let sender = Sender {
        id: "alice",
        kind: "customer",
        seq: 7,
    };
    let mut out = Vec::new();
    write_message(
        &Message {
            target: &target,
            sender,
            id: "m1",
            create_at: 5,
            body,
        },
        &mut out,
    );
    let value: serde_json::Value = serde_json::from_slice(&out).expect("valid JSON");
    assert_eq!(
        value,
        serde_json::json!({"type": "te\"xt", "id": "m1", "from": "alice", "from_type": "customer", "to": "bob", "seq": 7,
            "create_at": 5, "priority": "critical", "reply_to": "c0", "content": "he said \"hi\"\n"})
    );
}

#[test]
fn a_client_cannot_say_who_it_is_from() {
    let text =
        r#"{"type":"text","to":"bob","from":"admin","from_type":"admin","seq":9,"create_at":1}"#;
    let frame = ClientFrame::parse(text).expect("parses");
    assert!(matches!(frame.command(), Ok(Command::Send { .. })));
}

#[test]
fn what_is_wrong_is_named() {
    let long = "x".repeat(129);
    let cases = [
        ("{", ErrorCode::BadFrame, "EOF"),
        ("[]", ErrorCode::BadFrame, "expected a JSON object"),
        ("", ErrorCode::BadFrame, "expected a JSON object"),
        (
            r#"{"type":"auth","data":["t"]}"#,
            ErrorCode::BadFrame,
            "data.token",
        ),
        (
            r#"{"to":"bob"}"#,
            ErrorCode::BadFrame,
            "missing field `type`",
        ),
        (
            r#"{"type":"t","too":"bob"}"#,
            ErrorCode::BadFrame,
            "unknown field `too`",
        ),
        (
            r#"{"type":"t","to":5}"#,
            ErrorCode::BadFrame,
            "expected a string",
        ),
        (
            r#"{"type":"","to":"bob"}"#,
            ErrorCode::BadFrame,
            "type: has 0 bytes",
        ),
        (
            r#"{"type":"t","to":"bob","data":[1]}"#,
            ErrorCode::BadFrame,
            "data: expected an object",
        ),
        (
            r#"{"type":"t","to":"bob","priority":"urgent"}"#,
            ErrorCode::BadFrame,
            "unknown variant `urgent`",
        ),
        (
            r#"{"type":"t","to":""}"#,
            ErrorCode::BadTarget,
            "to: user id has 0 bytes",
        ),
        (
            r#"{"type":"t","to":"bob","broadcast":true}"#,
            ErrorCode::BadTarget,
            "more than one of",
        ),
        (r#"{"type":"welcome"}"#, ErrorCode::BadFrame, "control type"),
        (
            r#"{"type":"auth","data":{}}"#,
            ErrorCode::BadFrame,
            "data.token",
        ),
        (
            r#"{"type":"ack","reply_to":"m1"}"#,
            ErrorCode::BadFrame,
            "data.id",
        ),
        (
            &format!(r#"{{"type":"t","id":"{long}"}}"#),
            ErrorCode::BadFrame,
            "id: has 129 bytes",
        ),
    ];
    for (text, code, part) in cases {
        let refusal = refusal(text);
        assert_eq!(refusal.code, code, "{text}");
        assert!(
            refusal.message.contains(part),
            "{text}: {}",
            refusal.message
        );
    }
}

#[test]
fn an_error_refers_to_the_frame_it_answers() {
    let refusal = refusal(r#"{"type":"t","id":"c9","to":"a","group":"g"}"#);
    assert_eq!(refusal.ref_id.as_deref(), Some("c9"));
    let value: serde_json::Value =
        serde_json::from_slice(&control(&Control::Error(&refusal))).expect("valid JSON");
    assert_eq!(
        (&value["type"], &value["code"], &value["ref"]),
        (&"error".into(), &"bad_target".into(), &"c9".into())
    );
}

#[test]
fn escaped_strings_are_read_and_deep_payloads_do_not_overflow() {
    let frame = ClientFrame::parse(r#"{"type":"text","to":"b\u00f6b"}"#).expect("parses");
    let Ok(Command::Send {
        target: Target::User(user),
        ..
    }) = frame.command()
    else {
        panic!("not a send")
    };
    assert_eq!(user.as_str(), "böb");
    let deep = format!(
        r#"{{"type":"t","to":"b","content":{}1{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    // Taken or refused, but the stack holds.
    let _ = ClientFrame::parse(&deep).map(|frame| frame.command().is_ok());
}
