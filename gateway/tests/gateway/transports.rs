//! One suite of behaviours over every form in which a session can be spoken to.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use wsc_gateway::security::Scopes;
use wsc_wire::{Opcode, Window};

use crate::sandbox::{Node, alone, token, token_for};
use crate::wire::{Form, Heard, Wire};

/// A node on which this form can be agreed on.
async fn node(form: Form, sets: &[&str]) -> Node {
    let compression = format!("wsc.performance.enableCompression={}", form.deflated());
    alone(&[&[compression.as_str()], sets].concat()).await
}

/// A text that is worth compressing.
fn long(word: &str) -> String {
    [word].repeat(400).join(" ")
}

async fn welcome_names_the_session(form: Form) {
    let node = node(form, &[]).await;
    let client = Wire::connect(&node, form, "alice", Scopes::NONE).await;
    let data = &client.welcome["data"];
    assert_eq!(
        (&data["node"], &data["user_id"], &data["user_type"]),
        (&"alone".into(), &"alice".into(), &"customer".into())
    );
    assert!(data["session_id"].as_str().is_some_and(|id| !id.is_empty()));
}

async fn a_message_reaches_its_recipient_with_the_identity_the_server_knows(form: Form) {
    let node = node(form, &[]).await;
    let mut alice = Wire::connect(&node, form, "alice", Scopes::NONE).await;
    let mut bob = Wire::connect(&node, form, "bob", Scopes::NONE).await;
    let content = json!({"text": long("grüße"), "list": [1, 2, {"x": null}]});
    let frame = json!({"type": "text", "id": "c1", "to": "bob", "content": content, "data": {"k": "v"}, "reply_to": "c0"});
    alice.send(frame).await;
    let heard = bob.next().await;
    assert_eq!(heard["content"], content);
    assert_eq!(heard["data"], json!({"k": "v"}));
    assert_eq!(
        (&heard["type"], &heard["id"], &heard["reply_to"]),
        (&"text".into(), &"c1".into(), &"c0".into())
    );
    assert_eq!(
        (
            &heard["from"],
            &heard["from_type"],
            &heard["to"],
            &heard["seq"]
        ),
        (
            &"alice".into(),
            &"customer".into(),
            &"bob".into(),
            &1.into()
        )
    );
}

async fn messages_keep_their_order(form: Form) {
    let node = node(form, &[]).await;
    let mut alice = Wire::connect(&node, form, "alice", Scopes::NONE).await;
    let mut bob = Wire::connect(&node, form, "bob", Scopes::NONE).await;
    for index in 0..50 {
        alice.say("bob", &format!("{index} {}", long("x"))).await;
    }
    for index in 0..50 {
        let content = bob.next().await["content"].as_str().unwrap().to_owned();
        assert!(
            content.starts_with(&format!("{index} ")),
            "{index}: {content:.10}"
        );
    }
}

async fn broadcast_needs_its_scope(form: Form) {
    let node = node(form, &[]).await;
    let mut plain = Wire::connect(&node, form, "plain", Scopes::NONE).await;
    let mut speaker = Wire::connect(&node, form, "speaker", Scopes::BROADCAST).await;
    let frame = json!({"type": "news", "id": "c1", "broadcast": true, "content": "hello"});
    plain.send(frame.clone()).await;
    let refused = plain.next().await;
    assert_eq!(
        (&refused["type"], &refused["code"], &refused["ref"]),
        (&"error".into(), &"forbidden".into(), &"c1".into())
    );
    speaker.send(frame).await;
    for client in [&mut plain, &mut speaker] {
        let heard = client.next().await;
        assert_eq!(
            (&heard["type"], &heard["broadcast"]),
            (&"news".into(), &true.into())
        );
    }
}

async fn a_bad_frame_is_refused_by_name_and_the_session_goes_on(form: Form) {
    let node = node(form, &[]).await;
    let mut client = Wire::connect(&node, form, "alice", Scopes::NONE).await;
    let cases = [
        (
            json!({"type": "t", "id": "c1", "to": "bob", "group": "g"}),
            "bad_target",
            "more than one of",
        ),
        (
            json!({"type": "welcome", "id": "c2", "to": "bob"}),
            "bad_frame",
            "control type",
        ),
        (
            json!({"type": "t", "id": "c3", "to": "bob", "data": [1]}),
            "bad_frame",
            "data: expected an object",
        ),
        (
            json!({"type": "typing", "id": "c4", "to": "nobody"}),
            "offline",
            "nobody has no session",
        ),
    ];
    for (frame, code, part) in cases {
        client.send(frame.clone()).await;
        let refused = client.next().await;
        assert_eq!(
            (&refused["code"], &refused["ref"]),
            (&code.into(), &frame["id"]),
            "{refused}"
        );
        assert!(
            refused["message"].as_str().unwrap().contains(part),
            "{refused}"
        );
    }
    // Whatever is no frame at all in this form.
    client.send_payload(Opcode::Text, b"[").await;
    assert_eq!(client.next().await["code"], "bad_frame");
    client.send_payload(Opcode::Binary, &[0xff]).await;
    assert_eq!(client.next().await["code"], "bad_frame");
    client.say("alice", "still here").await;
    assert_eq!(client.next().await["content"], "still here");
}

async fn pings_are_answered(form: Form) {
    let node = node(form, &[]).await;
    let mut client = Wire::connect(&node, form, "alice", Scopes::NONE).await;
    client.send(json!({"type": "ping", "id": "p1"})).await;
    assert_eq!(client.next().await, json!({"type": "pong", "id": "p1"}));
    client.send_payload(Opcode::Ping, b"there?").await;
    assert_eq!(client.hear().await, Heard::Pong(b"there?".to_vec()));
}

async fn who_is_kicked_is_told_why(form: Form) {
    let node = node(form, &[]).await;
    let mut client = Wire::connect(&node, form, "alice", Scopes::NONE).await;
    let (status, _) = node
        .call(
            "DELETE",
            "/v1/users/alice/sessions?reason=enough",
            serde_json::Value::Null,
        )
        .await;
    assert_eq!(status, 200);
    let (before, code) = client.closed().await;
    assert_eq!(
        before,
        [json!({"type": "kicked", "data": {"reason": "enough"}})]
    );
    assert_eq!(code, 4003);
}

async fn a_drain_says_come_back(form: Form) {
    let node = node(form, &[]).await;
    let mut client = Wire::connect(&node, form, "alice", Scopes::NONE).await;
    let gateway = node.0.clone();
    let drained = tokio::spawn(async move { gateway.drain().await });
    let (before, code) = client.closed().await;
    assert_eq!(
        before.last().map(|frame| &frame["type"]),
        Some(&"reconnect".into())
    );
    assert_eq!(code, 1012);
    drop(client);
    drained.await.unwrap();
}

async fn an_expired_token_ends_the_session(form: Form) {
    let node = node(form, &["wsc.security.jwt.leeway=0s"]).await;
    let token = token_for("alice", Scopes::NONE, Duration::from_secs(2));
    let began = Instant::now();
    let mut client = Wire::connect_for(&node, form, &token).await;
    let (_, code) = client.closed().await;
    assert_eq!(code, 4002);
    assert!(began.elapsed() < Duration::from_secs(8));
}

async fn a_message_over_the_limit_is_refused_with_1009(form: Form) {
    let node = node(form, &["wsc.security.maxMessageSize=8KiB"]).await;
    let mut client = Wire::connect(&node, form, "alice", Scopes::NONE).await;
    client.say("alice", &"x".repeat(7000)).await;
    assert_eq!(
        client.next().await["content"].as_str().map(str::len),
        Some(7000)
    );
    client.say("alice", &"x".repeat(9000)).await;
    let (_, code) = client.closed().await;
    assert_eq!(code, 1009);
}

/// Every behaviour over one form.
macro_rules! suite {
    ($form:ident, $name:ident: $($behaviour:ident),* $(,)?) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $behaviour() {
                    super::$behaviour(super::Form::$form).await;
                }
            )*
        }
    };
}

macro_rules! suites {
    ($($form:ident, $name:ident;)*) => {
        $(suite!(
            $form, $name:
            welcome_names_the_session,
            a_message_reaches_its_recipient_with_the_identity_the_server_knows,
            messages_keep_their_order,
            broadcast_needs_its_scope,
            a_bad_frame_is_refused_by_name_and_the_session_goes_on,
            pings_are_answered,
            who_is_kicked_is_told_why,
            a_drain_says_come_back,
            an_expired_token_ends_the_session,
            a_message_over_the_limit_is_refused_with_1009,
        );)*
    };
}

suites! {
    Json, json;
    Proto, proto;
    Deflated, json_deflated;
    DeflatedProto, proto_deflated;
}

/// What compression alone has rules for.
mod compressed {
    use super::*;

    const ON: &[&str] = &["wsc.performance.enableCompression=true"];
    const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

    async fn node(sets: &[&str]) -> Node {
        alone(&[ON, sets].concat()).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn compression_is_agreed_only_where_it_is_on_and_offered() {
        let token = token("alice", Scopes::NONE);
        let (off, on) = (alone(&[]).await, node(&[]).await);
        for (node, lines, agreed) in [(&off, OFFER, false), (&on, "", false), (&on, OFFER, true)] {
            let wire = Wire::open(node, Form::Json, &token, lines).await;
            assert_eq!(
                wire.head.contains(
                    "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
                ),
                agreed,
                "{}",
                wire.head
            );
        }
        let eight = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8\r\n";
        let wire = Wire::open(&on, Form::Json, &token, eight).await;
        assert!(!wire.head.contains("extensions"), "{}", wire.head);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_message_reaches_clients_of_every_form() {
        let node = node(&[]).await;
        let mut clients = Vec::new();
        for (index, form) in [Form::Json, Form::Proto, Form::Deflated, Form::DeflatedProto]
            .into_iter()
            .enumerate()
        {
            clients.push(
                Wire::connect(&node, form, &format!("user-{index}"), Scopes::BROADCAST).await,
            );
        }
        let content = long("hello");
        for sender in 0..clients.len() {
            let frame = json!({"type": "news", "broadcast": true, "content": content});
            clients[sender].send(frame).await;
            for client in &mut clients {
                let heard = client.next().await;
                assert_eq!(heard["content"], content.as_str());
                assert_eq!(heard["from"], format!("user-{sender}"));
            }
        }
        let compressed: Vec<usize> = clients
            .iter()
            .map(|client| client.compressed.min(4))
            .collect();
        assert_eq!(compressed[..2], [0, 0]);
        assert!(
            compressed[2..].iter().all(|count| *count >= 4),
            "{compressed:?}"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_small_window_is_kept_to() {
        let node = node(&[]).await;
        let lines = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n";
        let mut client =
            Wire::open(&node, Form::Deflated, &token("alice", Scopes::NONE), lines).await;
        assert!(
            client.head.contains("server_max_window_bits=9"),
            "{}",
            client.head
        );
        assert_eq!(client.next().await["type"], "welcome");
        client.say("alice", &long("hello")).await;
        assert_eq!(client.next().await["content"], long("hello"));
        assert!(client.compressed >= 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_level_is_the_configured_one() {
        let mut sizes = Vec::new();
        let words: Vec<String> = (0..3000_u64)
            .map(|number| (number * number % 977).to_string())
            .collect();
        for level in [1, 9] {
            let node = node(&[&format!("wsc.performance.compressionLevel={level}")]).await;
            let mut client = Wire::connect(&node, Form::Deflated, "alice", Scopes::NONE).await;
            client.say("alice", &words.join(" ")).await;
            client.next().await;
            sizes.push(client.size);
        }
        assert!(sizes[1] < sizes[0], "{sizes:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_deflate_bomb_is_refused_with_1009_and_the_node_serves_on() {
        let node = node(&["wsc.security.maxMessageSize=64KiB"]).await;
        let mut client = Wire::connect(&node, Form::Deflated, "alice", Scopes::NONE).await;
        let bomb =
            wsc_wire::Deflater::new(9, Window::Wide).encode(Opcode::Text, &vec![b' '; 32 << 20]);
        assert!(bomb.len() < 64 * 1024);
        client.send_bytes(&crate::wire::masked(&bomb)).await;
        assert_eq!(client.closed().await.1, 1009);
        let mut next = Wire::connect(&node, Form::Deflated, "bob", Scopes::NONE).await;
        next.say("bob", &long("x")).await;
        assert_eq!(next.next().await["type"], "text");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_write_buffer_bounds_what_leaves_in_one_write() {
    let mut writes = Vec::new();
    for size in ["512B", "64KiB"] {
        let node = alone(&[&format!("wsc.performance.writeBufferSize={size}")]).await;
        let mut alice = Wire::connect(&node, Form::Json, "alice", Scopes::NONE).await;
        let before = node.0.hub().stats().writes;
        // All in one read, so that the answers leave in one turn.
        let ping = crate::wire::masked(&wsc_wire::encode(
            Opcode::Text,
            br#"{"type":"ping","id":"0123456789"}"#,
        ));
        alice.send_bytes(&ping.repeat(64)).await;
        for _ in 0..64 {
            assert_eq!(alice.next().await["type"], "pong");
        }
        // What was written in one turn is counted by the next.
        alice.send(json!({"type": "ping"})).await;
        assert_eq!(alice.next().await["type"], "pong");
        writes.push(node.0.hub().stats().writes - before);
    }
    assert!(writes[0] >= 5 && writes[1] < writes[0], "{writes:?}");
}
