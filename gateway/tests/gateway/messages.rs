//! Messages between sessions of one node.

use std::time::Instant;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use wsc_gateway::security::Scopes;

use crate::sandbox::{DEADLINE, alone, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_message_reaches_all_sessions_of_its_user_and_nobody_else() {
    let node = alone(&[]).await;
    let (mut alice, mut carol) = (node.connect("alice").await, node.connect("carol").await);
    let mut bobs = [
        node.connect("bob").await,
        node.connect("bob").await,
        node.connect("bob").await,
    ];
    let data = json!({"k": [1, 2, {"deep": null}]});
    alice.send(json!({"type": "note", "id": "a1", "to": "bob", "content": "hi ☕", "data": data, "from": "mallory"})).await;
    for bob in &mut bobs {
        let frame = bob.next().await;
        assert_eq!(
            (
                &frame["type"],
                &frame["id"],
                &frame["from"],
                &frame["from_type"],
                &frame["seq"],
                &frame["content"]
            ),
            (
                &"note".into(),
                &"a1".into(),
                &"alice".into(),
                &"customer".into(),
                &1.into(),
                &"hi ☕".into()
            )
        );
        assert_eq!(frame["data"], data);
        assert!(frame["create_at"].as_u64().unwrap() > 1_700_000_000_000);
    }
    carol.send(json!({"type": "ping", "id": "p"})).await;
    assert_eq!(
        carol.next().await,
        json!({"type": "pong", "id": "p"}),
        "carol heard nothing before"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_sender_arrive_in_order() {
    let node = alone(&[]).await;
    let (mut alice, mut bob) = (node.connect("alice").await, node.connect("bob").await);
    for number in 0..200 {
        alice
            .feed(json!({"type": "n", "to": "bob", "content": number}))
            .await;
    }
    alice.flush().await;
    for number in 0..200 {
        let frame = bob.next().await;
        assert_eq!(
            (&frame["content"], &frame["seq"]),
            (&number.into(), &(number + 1).into())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_needs_the_scope_and_reaches_everyone() {
    let node = alone(&[]).await;
    let mut alice = node.connect("alice").await;
    let mut bob = node.connect_with("bob", Scopes::BROADCAST).await;
    alice
        .send(json!({"type": "text", "id": "b1", "broadcast": true}))
        .await;
    let refused = alice.next().await;
    assert_eq!(
        (&refused["code"], &refused["ref"]),
        (&"forbidden".into(), &"b1".into())
    );
    bob.send(json!({"type": "text", "broadcast": true, "content": "all"}))
        .await;
    assert_eq!(
        (alice.hear().await, bob.hear().await),
        ("all".into(), "all".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_frame_is_answered_and_the_connection_goes_on() {
    let node = alone(&[]).await;
    let mut alice = node.connect("alice").await;
    for (frame, code) in [
        ("{", "bad_frame"),
        (r#"{"type":"t","to":"x","too":1}"#, "bad_frame"),
        (r#"{"type":"t","to":"x","broadcast":true}"#, "bad_target"),
        (r#"{"type":"typing","to":"nobody"}"#, "offline"),
        (r#"{"type":"t","group":"g"}"#, "not_supported"),
    ] {
        alice.send_raw(Message::text(frame)).await;
        let error = alice.next().await;
        assert_eq!(
            (&error["type"], &error["code"]),
            (&"error".into(), &code.into()),
            "{frame}: {error}"
        );
    }
    alice.send_raw(Message::binary(vec![1, 2])).await;
    assert_eq!(alice.next().await["code"], "bad_frame");
    alice.say("alice", "still here").await;
    assert_eq!(alice.hear().await, "still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_send_list_and_kick() {
    let node = alone(&[]).await;
    let (mut alice, mut bob) = (node.connect("alice").await, node.connect("bob").await);
    eventually("both are online", || async {
        node.online().await == ["alice", "bob"]
    })
    .await;

    let message = json!({"to": ["bob", "nobody"], "type": "notice", "content": {"n": 1}});
    let (status, sent) = node.call("POST", "/v1/messages", message).await;
    assert_eq!(status, 200, "{sent}");
    assert_eq!(
        (
            &sent["recipients"][0]["local_sessions"],
            &sent["recipients"][1]["local_sessions"]
        ),
        (&1.into(), &0.into())
    );
    let heard = bob.next().await;
    assert_eq!(
        (&heard["from"], &heard["content"], &heard["id"]),
        (&"system".into(), &json!({"n": 1}), &sent["id"])
    );

    let (_, sessions) = node
        .call("GET", "/v1/users/bob/sessions", Value::Null)
        .await;
    assert_eq!(
        sessions["sessions"][0]["session_id"],
        bob.welcome["data"]["session_id"]
    );

    let (status, kicked) = node
        .call(
            "DELETE",
            "/v1/users/bob/sessions?reason=enough",
            Value::Null,
        )
        .await;
    assert_eq!(
        (status, &kicked["local_sessions"]),
        (200, &1.into()),
        "{kicked}"
    );
    let (before, code) = bob.closed().await;
    assert_eq!(
        (before, code),
        (
            vec![json!({"type": "kicked", "data": {"reason": "enough"}})],
            4003
        )
    );
    eventually("bob is gone", || async { node.online().await == ["alice"] }).await;

    let (_, stats) = node.call("GET", "/v1/stats", Value::Null).await;
    assert_eq!(
        (&stats["connections"], &stats["users"]),
        (&1.into(), &1.into()),
        "{stats}"
    );
    assert_eq!(
        node.call("POST", "/v1/broadcasts", json!({"content": "all"}))
            .await
            .1["local_sessions"],
        1
    );
    assert_eq!(alice.hear().await, "all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_costs_one_write_per_socket_and_turn() {
    let node = alone(&[]).await;
    let mut sender = node.connect_with("sender", Scopes::BROADCAST).await;
    let mut listeners = Vec::new();
    for index in 0..20 {
        listeners.push(node.connect(&format!("listener-{index}")).await);
    }
    // A burst may reach the gateway in a few pieces, and in as many as it has messages where others want the processor.
    let until = Instant::now() + DEADLINE;
    loop {
        let before = node.0.hub().stats();
        for number in 0..64 {
            sender
                .feed(json!({"type": "n", "broadcast": true, "content": number}))
                .await;
        }
        sender.flush().await;
        for listener in &mut listeners {
            for number in 0..64 {
                assert_eq!(listener.next().await["content"], number);
            }
        }
        let after = node.0.hub().stats();
        let frames = after.messages_sent - before.messages_sent;
        let writes = after.writes - before.writes;
        assert!(frames >= 20 * 64);
        if writes * 4 <= frames {
            return;
        }
        assert!(
            Instant::now() < until,
            "{writes} writes for {frames} frames"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_critical_message_overtakes_what_waits_for_a_slow_client() {
    let sets = ["wsc.messageBufferSize=2000", "wsc.outboxBytes=512MiB"];
    let node = alone(&sets).await;
    let (mut alice, mut bob) = (node.connect("alice").await, node.connect("bob").await);
    let text = "x".repeat(200_000);
    // More than the kernel holds.
    for number in 0..400 {
        let data = json!({"number": number});
        let frame = json!({"type": "typing", "to": "bob", "content": text, "data": data});
        alice.send(frame).await;
    }
    let frame = json!({"type": "typing", "to": "bob", "priority": "critical"});
    alice.send(frame).await;
    alice.send(json!({"type": "ping"})).await;
    assert_eq!(alice.next().await["type"], "pong");
    let mut urgent = None;
    for at in 0..=400 {
        let heard = bob.next().await;
        if heard["priority"] == "critical" {
            urgent = Some(at);
        } else {
            let passed = usize::from(urgent.is_some());
            assert_eq!(heard["data"]["number"], at - passed, "order of the others");
        }
    }
    assert!(urgent.is_some_and(|at| at < 400), "{urgent:?}");
}
