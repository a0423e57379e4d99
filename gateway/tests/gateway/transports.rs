//! One suite of behaviours over every transport and every form in which a session can be spoken to.

use std::time::Duration;

use serde_json::{Value, json};
use wsc_gateway::security::Scopes;
use wsc_wire::{Opcode, Window};

use crate::redis::RedisServer;
use crate::sandbox::{Node, alone, cluster, eventually, token, token_for, token_into};
use crate::speaker::{Deflated, DeflatedProto, Grpc, Json, Proto, Speaker, Sse, Ws};
use crate::wire::{Form, Heard, Wire};

/// A node that this client can speak to.
async fn node<S: Speaker>(sets: &[&str]) -> Node {
    alone(&[S::SETS, sets].concat()).await
}

/// Two nodes that share a Redis.
async fn nodes<S: Speaker>(redis: &RedisServer, sets: &[&str]) -> [Node; 2] {
    cluster(redis.port, &[S::SETS, sets].concat()).await
}

/// A text that is worth compressing.
fn long(word: &str) -> String {
    [word].repeat(400).join(" ")
}

/// Sends a message that is stored; its receipt.
async fn accepted<S: Speaker>(sender: &mut S, id: &str, to: &str) -> Value {
    let frame = json!({"type": "text", "id": id, "to": to, "content": id});
    sender.send(frame).await;
    let receipt = sender.until("receipt").await;
    assert_eq!(
        (&receipt["data"]["ref"], &receipt["data"]["state"]),
        (&id.into(), &"accepted".into()),
        "{receipt}"
    );
    receipt["data"].clone()
}

async fn welcome_names_the_session<S: Speaker>() {
    let node = node::<S>(&[]).await;
    let client = S::of(&node, "alice", Scopes::NONE).await;
    let data = &client.welcome()["data"];
    assert_eq!(
        (&data["node"], &data["user_id"], &data["user_type"]),
        (&"alone".into(), &"alice".into(), &"customer".into())
    );
    assert!(data["session_id"].as_str().is_some_and(|id| !id.is_empty()));
}

async fn a_message_reaches_its_recipient_with_the_identity_the_server_knows<S: Speaker>() {
    let node = node::<S>(&[]).await;
    let mut alice = S::of(&node, "alice", Scopes::NONE).await;
    let mut bob = S::of(&node, "bob", Scopes::NONE).await;
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

async fn messages_keep_their_order<S: Speaker>() {
    let node = node::<S>(&[]).await;
    let mut alice = S::of(&node, "alice", Scopes::NONE).await;
    let mut bob = S::of(&node, "bob", Scopes::NONE).await;
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

async fn messages_to_users_groups_and_everyone_cross_nodes<S: Speaker>() {
    let redis = RedisServer::start();
    let sets = ["wsc.group.enabled=true", "wsc.group.autoCreate=true"];
    let [one, two] = nodes::<S>(&redis, &sets).await;
    let room = |user: &str| token_into(user, &["room"]);
    let mut bob = S::enter(&two, &room("bob"), None).await.ok().unwrap();
    bob.send(json!({"type": "group.join", "id": "j1", "data": {"group": "room"}}))
        .await;
    assert_eq!(bob.until("result").await["ref"], "j1");
    let mut alice = S::enter(&one, &room("alice"), None).await.ok().unwrap();
    alice
        .send(json!({"type": "group.join", "id": "j2", "data": {"group": "room"}}))
        .await;
    assert_eq!(alice.until("result").await["ref"], "j2");
    let mut speaker = S::of(&one, "speaker", Scopes::BROADCAST).await;
    let direct = json!({"type": "direct", "id": "m1", "to": "bob"});
    let grouped = json!({"type": "grouped", "id": "m2", "group": "room"});
    let news = json!({"type": "news", "id": "m3", "broadcast": true});
    for (sender, frame) in [(0, direct), (0, grouped), (1, news)] {
        let sender = [&mut alice, &mut speaker].into_iter().nth(sender).unwrap();
        sender.send(frame.clone()).await;
        let heard = bob.until(frame["type"].as_str().unwrap()).await;
        assert_eq!(heard["id"], frame["id"]);
        for target in ["to", "group", "broadcast"] {
            assert_eq!(heard.get(target), frame.get(target), "{heard}");
        }
    }
}

async fn broadcast_needs_its_scope<S: Speaker>() {
    let node = node::<S>(&[]).await;
    let mut plain = S::of(&node, "plain", Scopes::NONE).await;
    let mut speaker = S::of(&node, "speaker", Scopes::BROADCAST).await;
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

async fn what_was_stored_for_someone_absent_comes_in_order<S: Speaker>() {
    let node = node::<S>(&[]).await;
    let mut alice = S::of(&node, "alice", Scopes::NONE).await;
    let ids: Vec<String> = (0..20).map(|index| format!("m{index}")).collect();
    for id in &ids {
        accepted(&mut alice, id, "bob").await;
    }
    let mut bob = S::of(&node, "bob", Scopes::NONE).await;
    for id in &ids {
        assert_eq!(bob.next().await["id"], id.as_str());
    }
}

async fn a_session_resumes_on_another_node_where_it_was<S: Speaker>() {
    let redis = RedisServer::start();
    let [one, two] = nodes::<S>(&redis, &[]).await;
    let mut bob = S::of(&one, "bob", Scopes::NONE).await;
    let mut alice = S::of(&two, "alice", Scopes::NONE).await;
    let first = accepted(&mut alice, "m1", "bob").await;
    assert_eq!(first["level"], "stored", "{first}");
    assert_eq!(bob.next().await["pos"], first["pos"]);
    drop(bob);
    for id in ["m2", "m3"] {
        accepted(&mut alice, id, "bob").await;
    }
    let place = json!({"inbox": first["pos"]});
    let token = token("bob", Scopes::NONE);
    let entered = S::enter(&two, &token, Some(&place)).await;
    let mut bob = entered.ok().unwrap();
    assert_eq!(bob.welcome()["data"]["resumed"], true);
    accepted(&mut alice, "m4", "bob").await;
    for id in ["m2", "m3", "m4"] {
        assert_eq!(bob.next().await["id"], id);
    }
}

async fn said_in_room<S: Speaker>(sender: &mut S, id: &str) {
    sender
        .send(json!({"type": "grouped", "id": id, "group": "room"}))
        .await;
    assert_eq!(sender.until("receipt").await["data"]["ref"], id);
}

async fn who_is_told_to_reconnect_goes_on_on_any_node_by_what_the_frame_says<S: Speaker>() {
    let redis = RedisServer::start();
    let sets = ["wsc.group.enabled=true", "wsc.group.autoCreate=true"];
    let [one, two] = nodes::<S>(&redis, &sets).await;
    let room = |user: &str| token_into(user, &["room"]);
    let mut bob = S::enter(&one, &room("bob"), None).await.ok().unwrap();
    let mut alice = S::enter(&two, &room("alice"), None).await.ok().unwrap();
    for client in [&mut alice, &mut bob] {
        let join = json!({"type": "group.join", "id": "j", "data": {"group": "room"}});
        client.send(join).await;
        assert_eq!(client.until("result").await["ref"], "j");
    }
    accepted(&mut alice, "m1", "bob").await;
    said_in_room(&mut alice, "g1").await;
    assert_eq!(bob.until("text").await["id"], "m1");
    assert_eq!(bob.until("grouped").await["id"], "g1");
    let gateway = one.0.clone();
    let draining = tokio::spawn(async move { gateway.drain().await });
    let (before, code) = bob.closed().await;
    let told = &before.last().unwrap()["data"];
    assert_eq!(
        (code, &told["reason"], &told["after_ms"]),
        (1012, &"drain".into(), &0.into())
    );
    accepted(&mut alice, "m2", "bob").await;
    said_in_room(&mut alice, "g2").await;
    let entered = S::enter(&two, &room("bob"), Some(&told["resume"])).await;
    let mut bob = entered.ok().unwrap();
    assert_eq!(bob.welcome()["data"]["resumed"], true, "{told}");
    accepted(&mut alice, "m3", "bob").await;
    said_in_room(&mut alice, "g3").await;
    let mut heard = Vec::new();
    while heard.len() < 4 {
        let frame = bob.next().await;
        if ["text", "grouped"].contains(&frame["type"].as_str().unwrap()) {
            heard.push(frame["id"].as_str().unwrap().to_owned());
        }
    }
    heard.sort();
    assert_eq!(heard, ["g2", "g3", "m2", "m3"], "all that was missed, once");
    draining.await.unwrap();
}

async fn an_acknowledgement_reaches_the_sender_on_another_node<S: Speaker>() {
    let redis = RedisServer::start();
    let [one, two] = nodes::<S>(&redis, &["wsc.ack.enabled=true"]).await;
    let mut alice = S::of(&one, "alice", Scopes::NONE).await;
    let mut bob = S::of(&two, "bob", Scopes::NONE).await;
    let frame = json!({"type": "text", "id": "c1", "to": "bob", "require_ack": true});
    alice.send(frame).await;
    let heard = bob.until("text").await;
    assert_eq!(heard["require_ack"], true);
    for state in ["delivered", "read"] {
        bob.send(json!({"type": "ack", "data": {"id": "c1", "state": state}}))
            .await;
        loop {
            let receipt = alice.until("receipt").await;
            if receipt["data"]["state"] == state {
                assert_eq!(
                    (&receipt["data"]["ref"], &receipt["data"]["by"]),
                    (&"c1".into(), &"bob".into())
                );
                break;
            }
        }
    }
}

async fn a_bad_frame_is_refused_by_name_and_the_session_goes_on<S: Speaker>() {
    let node = node::<S>(&[]).await;
    let mut client = S::of(&node, "alice", Scopes::NONE).await;
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
    client.babble().await;
    assert_eq!(client.next().await["code"], "bad_frame");
    client.say("alice", "still here").await;
    assert_eq!(client.until("text").await["content"], "still here");
}

async fn a_ping_is_answered<S: Speaker>() {
    let node = node::<S>(&[]).await;
    let mut client = S::of(&node, "alice", Scopes::NONE).await;
    client.send(json!({"type": "ping", "id": "p1"})).await;
    assert_eq!(client.next().await, json!({"type": "pong", "id": "p1"}));
}

async fn who_is_kicked_is_told_why<S: Speaker>() {
    let node = node::<S>(&[]).await;
    let mut client = S::of(&node, "alice", Scopes::NONE).await;
    let path = "/v1/users/alice/sessions?reason=enough";
    let (status, _) = node.call("DELETE", path, Value::Null).await;
    assert_eq!(status, 200);
    let (before, code) = client.closed().await;
    assert_eq!(
        before,
        [json!({"type": "kicked", "data": {"reason": "enough"}})]
    );
    assert_eq!(code, 4003);
}

async fn a_drain_says_come_back<S: Speaker>() {
    let node = node::<S>(&[]).await;
    let mut client = S::of(&node, "alice", Scopes::NONE).await;
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

async fn an_expired_token_ends_the_session<S: Speaker>() {
    let node = node::<S>(&["wsc.security.jwt.leeway=0s"]).await;
    let token = token_for("alice", Scopes::NONE, Duration::from_secs(2));
    let mut client = S::enter(&node, &token, None).await.ok().unwrap();
    assert_eq!(client.closed().await, (vec![], 4002));
}

async fn a_token_that_is_taken_back_ends_the_session<S: Speaker>() {
    let node = node::<S>(&[]).await;
    let mut client = S::of(&node, "alice", Scopes::NONE).await;
    let all = json!({"user_id": "alice"});
    let (status, answer) = node.call("POST", "/v1/revocations", all).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(client.closed().await, (vec![], 4012));
}

async fn a_frame_over_the_limit_is_refused<S: Speaker>() {
    let node = node::<S>(&["wsc.security.maxMessageSize=8KiB"]).await;
    let mut client = S::of(&node, "alice", Scopes::NONE).await;
    client.say("alice", &"x".repeat(7000)).await;
    let heard = client.until("text").await;
    assert_eq!(heard["content"].as_str().map(str::len), Some(7000));
    let frame = json!({"type": "text", "to": "alice", "content": "x".repeat(9000)});
    assert_eq!(client.shout(frame).await, S::TOO_LARGE);
}

async fn who_reads_too_slowly_is_cut_and_the_others_do_not_notice<S: Speaker>() {
    let sets = [
        "wsc.messageBufferSize=8",
        "wsc.sse.messageBuffer=8",
        "wsc.performance.enableCompression=false",
    ];
    let node = alone(&sets).await;
    let mut sender = node.connect_with("sender", Scopes::BROADCAST).await;
    let mut good = S::of(&node, "good", Scopes::NONE).await;
    let slow = S::of(&node, "slow", Scopes::NONE).await.freeze();
    let content = "x".repeat(200_000);
    let gone = || async {
        let disconnects = node.0.hub().stats().disconnects;
        disconnects.contains(&("slow_consumer", 1))
    };
    for index in 0.. {
        assert!(index < 2000, "the slow one is never cut");
        let frame = json!({"type": "news", "broadcast": true, "content": content});
        sender.send(frame).await;
        assert_eq!(sender.next().await["type"], "news");
        assert_eq!(good.next().await["type"], "news");
        if gone().await {
            break;
        }
    }
    eventually("its place is free", || async {
        node.0.hub().connections() == 2
    })
    .await;
    drop(slow);
}

async fn a_full_node_refuses_with_503<S: Speaker>() {
    let node = node::<S>(&["wsc.performance.maxConnectionsPerNode=1"]).await;
    let _first = S::of(&node, "first", Scopes::NONE).await;
    let second = S::enter(&node, &token("second", Scopes::NONE), None).await;
    assert_eq!(second.err(), Some(503));
}

async fn a_wrong_token_is_refused_with_401<S: Speaker>() {
    let node = node::<S>(&[]).await;
    let refused = S::enter(&node, "nonsense", None).await;
    assert_eq!(refused.err(), Some(401));
    assert_eq!(node.0.hub().connections(), 0);
}

/// Every behaviour over one transport.
macro_rules! suite {
    ($client:ty, $name:ident: $($behaviour:ident),* $(,)?) => {
        mod $name {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $behaviour() {
                    super::$behaviour::<$client>().await;
                }
            )*
        }
    };
}

macro_rules! suites {
    ($($client:ty, $name:ident;)*) => {
        $(suite!(
            $client, $name:
            welcome_names_the_session,
            a_message_reaches_its_recipient_with_the_identity_the_server_knows,
            messages_keep_their_order,
            messages_to_users_groups_and_everyone_cross_nodes,
            broadcast_needs_its_scope,
            what_was_stored_for_someone_absent_comes_in_order,
            a_session_resumes_on_another_node_where_it_was,
            who_is_told_to_reconnect_goes_on_on_any_node_by_what_the_frame_says,
            an_acknowledgement_reaches_the_sender_on_another_node,
            a_bad_frame_is_refused_by_name_and_the_session_goes_on,
            a_ping_is_answered,
            who_is_kicked_is_told_why,
            a_drain_says_come_back,
            an_expired_token_ends_the_session,
            a_token_that_is_taken_back_ends_the_session,
            a_frame_over_the_limit_is_refused,
            who_reads_too_slowly_is_cut_and_the_others_do_not_notice,
            a_full_node_refuses_with_503,
            a_wrong_token_is_refused_with_401,
        );)*
    };
}

suites! {
    Ws<Json>, json;
    Ws<Proto>, proto;
    Ws<Deflated>, json_deflated;
    Ws<DeflatedProto>, proto_deflated;
    Sse, sse;
    Grpc, grpc;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_of_websocket_is_answered() {
    let node = alone(&[]).await;
    let mut client = Wire::connect(&node, Form::Json, "alice", Scopes::NONE).await;
    client.send_payload(Opcode::Ping, b"there?").await;
    assert_eq!(client.hear().await, Heard::Pong(b"there?".to_vec()));
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
