//! Server-Sent Events: what only this transport has rules for. What it shares with the others is in `transports`.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use wsc_gateway::security::Scopes;

use crate::event_stream::{EventStream, post};
use crate::redis::RedisServer;
use crate::sandbox::{alone, cluster, eventually, token, token_into};
use crate::tickets;

fn own(user: &str) -> String {
    token(user, Scopes::NONE)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_is_at_the_configured_path_and_is_not_held_back() {
    let node = alone(&["wsc.sse.path=/live"]).await;
    let there = EventStream::open(&node, "GET /live", &own("alice"), "").await;
    assert!(there.head.starts_with("http/1.1 200"), "{}", there.head);
    for line in [
        "content-type: text/event-stream",
        "cache-control: no-store",
        "x-accel-buffering: no",
        "connection: close",
    ] {
        assert!(there.head.contains(line), "{line}: {}", there.head);
    }
    assert!(!there.head.contains("content-length"), "{}", there.head);
    let nothing = EventStream::open(&node, "GET /sse", &own("alice"), "").await;
    assert!(nothing.head.starts_with("http/1.1 404"), "{}", nothing.head);
    let (status, _) = post(&node, &own("alice"), "{}").await;
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_told_when_to_come_back_each_at_another_time() {
    let node = alone(&[]).await;
    let mut pauses = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let stream = EventStream::connect(&node, &own("alice")).await;
        pauses.insert(stream.retry.unwrap());
    }
    assert!(pauses.iter().all(|pause| (1000..4000).contains(pause)));
    assert!(pauses.len() > 1, "{pauses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_may_not_have_a_stream_is_refused_with_the_reason() {
    let node = alone(&["wsc.websocketOrigins=https://app.example.com"]).await;
    let elsewhere = "Origin: https://evil.example.com\r\n";
    let bad_id = "Last-Event-ID: 17\r\n";
    let own = own("alice");
    for (request, token, lines, status) in [
        ("GET /sse", "nonsense", "", 401),
        ("GET /sse?access_token=x", own.as_str(), "", 401),
        ("GET /sse", &own, elsewhere, 403),
        // Not even a word about the token to a page from elsewhere.
        ("GET /sse", "nonsense", elsewhere, 403),
        ("GET /sse", &own, bad_id, 400),
        ("HEAD /sse", &own, "", 405),
        ("PUT /sse", &own, "", 405),
        ("GET /sse/messages", &own, "", 405),
    ] {
        let answer = EventStream::open(&node, request, token, lines).await;
        let expected = format!("http/1.1 {status}");
        assert!(
            answer.head.starts_with(&expected),
            "{request} {lines}: {}",
            answer.head
        );
        assert!(answer.head.contains("content-type: application/json"));
    }
    let anonymous = reqwest::get(node.public("/sse")).await.unwrap();
    assert_eq!(anonymous.status(), 401);
    assert!(anonymous.headers().contains_key("www-authenticate"));
    assert_eq!(node.0.hub().stats().connections, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_allowed_origins_may_read_and_send() {
    let node = alone(&["wsc.websocketOrigins=https://app.example.com"]).await;
    let page = "Origin: https://app.example.com\r\n";
    let allow = "access-control-allow-origin: https://app.example.com";
    let stream = EventStream::open(&node, "GET /sse", &own("alice"), page).await;
    assert!(stream.head.contains(allow), "{}", stream.head);
    assert!(stream.head.contains("vary: origin"), "{}", stream.head);
    let refused = EventStream::open(&node, "GET /sse", "nonsense", page).await;
    assert!(refused.head.starts_with("http/1.1 401") && refused.head.contains(allow));
    for path in ["/sse", "/sse/messages"] {
        let request = format!("OPTIONS {path}");
        let asked = EventStream::open(&node, &request, "", page).await;
        assert!(asked.head.starts_with("http/1.1 204"), "{}", asked.head);
        for line in [
            allow,
            "access-control-allow-headers: authorization, content-type, last-event-id",
        ] {
            assert!(asked.head.contains(line), "{}", asked.head);
        }
        let elsewhere = "Origin: https://evil.example.com\r\n";
        let asked = EventStream::open(&node, &request, "", elsewhere).await;
        assert!(asked.head.starts_with("http/1.1 403"), "{}", asked.head);
        assert!(!asked.head.contains("access-control-allow-origin"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_would_watch_is_refused_and_nothing_of_it_stays() {
    let node = alone(&[]).await;
    let watcher = token("watcher", Scopes::PRESENCE);
    let frame = json!({"type": "presence.subscribe", "id": "s", "data": {"users": ["bob"]}});
    let (status, answer) = post(&node, &watcher, frame.to_string()).await;
    assert_eq!(
        (status, &answer["code"]),
        (501, &json!("not_supported")),
        "{answer}"
    );
    assert_eq!(node.0.presence().watching(), 0);
    let mut watching = node.connect_with("watcher", Scopes::PRESENCE).await;
    watching.send(frame).await;
    assert_eq!(watching.next().await["type"], "result");
    assert_eq!(node.0.presence().watching(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_gets_a_comment_every_heartbeat_and_stays() {
    let node = alone(&["wsc.sse.heartbeat=1s", "wsc.sse.timeout=2s"]).await;
    let mut stream = EventStream::connect(&node, &own("alice")).await;
    assert_eq!(stream.welcome["data"]["heartbeat_interval_ms"], 1000);
    let began = Instant::now();
    // Longer than the timeout: taking comments is a sign of life.
    let quiet = tokio::time::timeout(Duration::from_millis(4500), stream.event()).await;
    assert!(quiet.is_err(), "{quiet:?} after {:?}", began.elapsed());
    assert!((3..=5).contains(&stream.comments), "{}", stream.comments);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_takes_nothing_is_given_up_after_the_timeout() {
    let sets = [
        "wsc.sse.heartbeat=1s",
        "wsc.sse.timeout=2s",
        "wsc.slowConsumerPolicy={customer: dropNewest}",
    ];
    let node = alone(&sets).await;
    let stuck = EventStream::connect(&node, &own("stuck"))
        .await
        .into_socket();
    let mut other = EventStream::connect(&node, &own("other")).await;
    let big = json!({"type": "typing", "to": "stuck", "content": "x".repeat(900_000)}).to_string();
    // Dropped only when the socket and the outbox are full.
    let full = || async {
        post(&node, &own("other"), big.as_str()).await;
        node.0.hub().stats().dropped_newest > 0
    };
    eventually("the stream is stuck", full).await;
    // By the gateway, or by the kernel where that is sooner on a busy machine.
    let gone = || async {
        let ends = node.0.hub().stats().disconnects;
        let is_given_up = |why| ends.contains(&(why, 1));
        is_given_up("timeout") || is_given_up("connection_lost")
    };
    eventually("it is given up", gone).await;
    drop(stuck);
    post(
        &node,
        &own("stuck"),
        r#"{"type":"text","to":"other","content":"hi"}"#,
    )
    .await;
    assert_eq!(other.next().await.data["content"], "hi");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_of_a_stream_has_its_own_bound() {
    let sets = [
        "wsc.sse.messageBuffer=2",
        "wsc.messageBufferSize=1000",
        "wsc.outboxBytes=256MiB",
    ];
    let node = alone(&sets).await;
    let slow = EventStream::connect(&node, &own("slow"))
        .await
        .into_socket();
    let big = json!({"type": "typing", "to": "slow", "content": "x".repeat(900_000)}).to_string();
    let gone = || async {
        post(&node, &own("other"), big.as_str()).await;
        node.0
            .hub()
            .stats()
            .disconnects
            .contains(&("slow_consumer", 1))
    };
    eventually("two messages wait, the third is too much", gone).await;
    // What the kernel holds, some 40 MB, and two in the outbox; not the 256 MiB that a WebSocket may have.
    assert!(node.0.hub().stats().bytes_received < 100_000_000);
    drop(slow);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_stored_messages_have_an_id_and_it_is_where_to_resume() {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &[]).await;
    let mut bob = EventStream::connect(&one, &own("bob")).await;
    let (status, receipt) = post(
        &two,
        &own("alice"),
        r#"{"type":"text","id":"m1","to":"bob","content":"m1"}"#,
    )
    .await;
    assert_eq!(
        (status, &receipt["type"]),
        (200, &"receipt".into()),
        "{receipt}"
    );
    let first = bob.next().await;
    assert_eq!(
        (first.name.as_deref(), &first.data["id"]),
        (None, &"m1".into())
    );
    let place = json!({"inbox": receipt["data"]["pos"]});
    let id: Value = serde_json::from_str(first.id.as_deref().unwrap()).unwrap();
    assert_eq!(id, place);
    post(&two, &own("alice"), r#"{"type":"typing","to":"bob"}"#).await;
    assert_eq!(bob.next().await.id, None);
    let last_id = bob.last_id.clone();
    drop(bob);
    for id in ["m2", "m3"] {
        let frame = json!({"type": "text", "id": id, "to": "bob", "content": id});
        assert_eq!(post(&one, &own("alice"), frame.to_string()).await.0, 200);
    }
    // A line of the address is older than the header.
    let mut bob = EventStream::resume(&two, &own("bob"), last_id.as_deref()).await;
    assert_eq!(bob.welcome["data"]["resumed"], true, "{}", bob.welcome);
    for id in ["m2", "m3"] {
        assert_eq!(bob.next().await.data["id"], id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_several_logs_resumes_all_of_them() {
    let node = alone(&[]).await;
    let speaker = token("speaker", Scopes::BROADCAST);
    let news = |id: &str| {
        json!({"type": "news", "id": id, "broadcast": true, "durable": true}).to_string()
    };
    let text = |id: &str| json!({"type": "text", "id": id, "to": "bob"}).to_string();
    let mut bob = EventStream::connect(&node, &own("bob")).await;
    post(&node, &speaker, news("n1")).await;
    post(&node, &speaker, text("m1")).await;
    for id in ["n1", "m1"] {
        assert_eq!(bob.next().await.data["id"], id);
    }
    // What remembers both comes right after.
    post(&node, &speaker, r#"{"type":"typing","to":"bob"}"#).await;
    bob.next().await;
    let last_id = bob.last_id.clone().unwrap();
    let places: Value = serde_json::from_str(&last_id).unwrap();
    assert!(
        places["inbox"].is_string() && places["broadcast"].is_string(),
        "{places}"
    );
    drop(bob);
    post(&node, &speaker, news("n2")).await;
    post(&node, &speaker, text("m2")).await;
    let mut bob = EventStream::resume(&node, &own("bob"), Some(&last_id)).await;
    let mut missed = [bob.next().await, bob.next().await].map(|event| event.data["id"].clone());
    missed.sort_by_key(ToString::to_string);
    assert_eq!(missed, ["m2", "n2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_with_what_became_of_its_frame() {
    let node = alone(&["wsc.ack.enabled=true"]).await;
    let (alice, speaker) = (own("alice"), token("speaker", Scopes::BROADCAST));
    let mut bob = EventStream::connect(&node, &own("bob")).await;
    for (token, frame, status, kind, code) in [
        (
            &alice,
            r#"{"type":"text","id":"c1","to":"bob"}"#,
            200,
            "receipt",
            "",
        ),
        (&alice, r#"{"type":"text","to":"bob"}"#, 200, "receipt", ""),
        (&alice, r#"{"type":"ping","id":"p1"}"#, 200, "pong", ""),
        (&alice, r#"{"type":"typing","to":"bob"}"#, 204, "", ""),
        (&speaker, r#"{"type":"news","broadcast":true}"#, 204, "", ""),
        (
            &alice,
            r#"{"type":"typing","to":"nobody"}"#,
            404,
            "error",
            "offline",
        ),
        (
            &alice,
            r#"{"type":"news","broadcast":true}"#,
            403,
            "error",
            "forbidden",
        ),
        (&alice, r#"{"type":"text","#, 400, "error", "bad_frame"),
        (
            &alice,
            r#"{"type":"welcome","to":"bob"}"#,
            400,
            "error",
            "bad_frame",
        ),
        (
            &alice,
            r#"{"type":"text","to":"bob","broadcast":true}"#,
            400,
            "error",
            "bad_target",
        ),
        (&alice, r#"{"type":"text"}"#, 501, "error", "not_supported"),
    ] {
        let (answered, answer) = post(&node, token, frame).await;
        assert_eq!(answered, status, "{frame}: {answer}");
        assert_eq!(answer["type"].as_str().unwrap_or_default(), kind, "{frame}");
        assert_eq!(answer["code"].as_str().unwrap_or_default(), code, "{frame}");
    }
    let first = bob.next().await.data;
    assert_eq!(
        (&first["from"], &first["from_type"]),
        (&"alice".into(), &"customer".into())
    );
    // Who sends is nobody who is there.
    assert_eq!(node.online().await, ["bob"]);
    let stats = node.0.stats();
    assert_eq!(
        (
            stats.current_connections,
            stats.by_transport.iter().map(|(_, n)| n).sum::<u64>()
        ),
        (1, 1)
    );
    assert!(
        stats.by_transport.contains(&("sse", 1)),
        "{:?}",
        stats.by_transport
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_by_request_reaches_the_sender_and_ends_the_repetitions() {
    let redis = RedisServer::start();
    let sets = [
        "wsc.ack.enabled=true",
        "wsc.ack.timeout=1s",
        "wsc.ack.jitter=false",
    ];
    let [one, two] = cluster(redis.port, &sets).await;
    let mut bob = EventStream::connect(&one, &own("bob")).await;
    let mut alice = two.connect("alice").await;
    alice
        .send(json!({"type": "text", "id": "c1", "to": "bob", "require_ack": true}))
        .await;
    assert_eq!(bob.next().await.data["id"], "c1");
    assert_eq!(bob.next().await.data["id"], "c1", "sent again");
    // Taken by the other node than the one that repeats.
    let ack = r#"{"type":"ack","data":{"id":"c1"}}"#;
    assert_eq!(post(&two, &own("bob"), ack).await.0, 204);
    loop {
        let heard = alice.next().await;
        if heard["data"]["state"] == "delivered" {
            break;
        }
    }
    let repeated = one.0.hub().stats().repeated;
    let more = tokio::time::timeout(Duration::from_secs(3), bob.event()).await;
    assert!(more.is_err(), "{more:?}");
    assert_eq!(one.0.hub().stats().repeated, repeated);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_by_request_ends_the_repetitions_in_a_ticket() {
    let redis = RedisServer::start();
    let sets = ["wsc.ticket.ackTimeout=1s", "wsc.record.enabled=false"];
    let [one, two] = cluster(redis.port, &sets).await;
    let mut ann = two.agent("ann", &[]).await;
    let mut alice = EventStream::connect(&one, &own("alice")).await;
    let open = json!({"type": "ticket.open", "id": "o", "data": {"ticket_id": "t1"}});
    let (status, answer) = post(&two, &own("alice"), open.to_string()).await;
    assert_eq!(status, 200, "{answer}");
    tickets::next(&mut ann, "ticket.assigned").await;
    tickets::done(&mut ann, "ticket.accept", json!({"ticket_id": "t1"})).await;
    tickets::say(&mut ann, "t1", "hello").await;
    for _ in 0..2 {
        while alice.next().await.data["id"] != "hello" {}
    }
    let ack = json!({"type": "ack", "ticket_id": "t1", "data": {"id": "hello"}});
    assert_eq!(post(&two, &own("alice"), ack.to_string()).await.0, 204);
    let repeated = one.0.hub().stats().repeated;
    let more = tokio::time::timeout(Duration::from_secs(3), alice.event()).await;
    assert!(more.is_err(), "{more:?}");
    assert_eq!(one.0.hub().stats().repeated, repeated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_resumes_its_groups_on_another_node_by_the_last_id() {
    let redis = RedisServer::start();
    let sets = ["wsc.group.enabled=true", "wsc.group.autoCreate=true"];
    let [one, two] = cluster(redis.port, &sets).await;
    let [alice, bob] = ["alice", "bob"].map(|user| token_into(user, &["room"]));
    let join = r#"{"type":"group.join","id":"j1","data":{"group":"room"}}"#;
    for token in [&alice, &bob] {
        let (status, result) = post(&one, token, join).await;
        assert_eq!(status, 200, "{result}");
    }
    let say = |id: &str| json!({"type": "text", "id": id, "group": "room"}).to_string();
    let mut stream = EventStream::connect(&one, &bob).await;
    assert_eq!(post(&two, &alice, say("g1")).await.0, 200);
    let first = loop {
        let event = stream.next().await;
        if event.data["id"] == "g1" {
            break event;
        }
    };
    assert!(first.id.is_some(), "{first:?}");
    // What remembers the places in all logs comes right after the message.
    assert_eq!(
        post(&two, &alice, r#"{"type":"typing","to":"bob"}"#)
            .await
            .0,
        204
    );
    while stream.next().await.data["type"] != "typing" {}
    let last_id = stream.last_id.clone().unwrap();
    assert!(last_id.contains("group:room"), "{last_id}");
    drop(stream);
    for id in ["g2", "g3"] {
        assert_eq!(post(&one, &alice, say(id)).await.0, 200);
    }
    let mut stream = EventStream::resume(&two, &bob, Some(&last_id)).await;
    assert_eq!(
        stream.welcome["data"]["resumed"], true,
        "{}",
        stream.welcome
    );
    for id in ["g2", "g3"] {
        assert_eq!(stream.next().await.data["id"], id);
    }
}
