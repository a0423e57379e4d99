//! What a client may not do, and what becomes of one that does.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::Message;
use wsc_gateway::security::Scopes;

use crate::sandbox::{alone, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_is_given_up_and_a_talking_one_is_not() {
    let node = alone(&["wsc.heartbeatInterval=1s", "wsc.clientTimeout=2s"]).await;
    // Never read again, so that no pong is sent.
    let silent = node.connect("silent").await.into_inner();
    let mut alive = node.connect("alive").await;
    let began = Instant::now();
    let disconnects = || async { node.0.hub().stats().disconnects.contains(&("timeout", 1)) };
    let watch = eventually("the silent one is given up", disconnects);
    tokio::pin!(watch);
    let mut pings = tokio::time::interval(Duration::from_millis(300));
    loop {
        tokio::select! {
            () = &mut watch => break,
            _ = pings.tick() => alive.send(json!({"type": "ping"})).await,
        }
    }
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "given up after {:?}",
        began.elapsed()
    );
    drop(silent);
    alive.say("alive", "here").await;
    while alive.next().await["type"] != "text" {}
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_pings_a_quiet_client() {
    let node = alone(&["wsc.heartbeatInterval=1s", "wsc.clientTimeout=3s"]).await;
    let mut quiet = node.connect("quiet").await;
    let began = Instant::now();
    // Reading answers pings, which keeps the session alive well beyond the timeout.
    let frame = tokio::time::timeout(Duration::from_secs(5), quiet.next_raw()).await;
    assert!(
        frame.is_err(),
        "closed after {:?}: {frame:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_big_and_a_protocol_violation_have_their_codes() {
    let node = alone(&["wsc.security.maxMessageSize=4KiB"]).await;
    let mut big = node.connect("big").await;
    big.send_raw(Message::text("x".repeat(5000))).await;
    assert_eq!(big.closed().await.1, 1009);

    let mut socket = node.connect("rude").await.into_inner();
    let MaybeTlsStream::Plain(raw) = socket.get_mut() else {
        panic!("plain")
    };
    raw.write_all(&[0x81, 0x02, b'h', b'i']).await.unwrap();
    let mut rude = crate::client::Client::from_socket(socket);
    assert_eq!(rude.closed().await.1, 1002);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_too_many_pieces_is_ended_by_its_code_and_counted() {
    let node = alone(&[]).await;
    let mut socket = node.connect("eve").await.into_inner();
    let MaybeTlsStream::Plain(raw) = socket.get_mut() else {
        panic!("plain")
    };
    // Empty, masked, none of them the last.
    let mut pieces = vec![0x01, 0x80, 0, 0, 0, 0];
    for _ in 0..wsc_wire::MAX_FRAGMENTS {
        pieces.extend([0x00, 0x80, 0, 0, 0, 0]);
    }
    raw.write_all(&pieces).await.unwrap();
    let mut eve = crate::client::Client::from_socket(socket);
    assert_eq!(eve.closed().await.1, 1008);
    let counted = "wsc_limits_met_total{limit=\"fragments\"} 1\n";
    eventually("it is counted", || async {
        node.admin("/metrics").await.1.contains(counted)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_without_end_is_abuse() {
    let node = alone(&[]).await;
    let mut fool = node.connect("fool").await;
    for _ in 0..150 {
        fool.feed(json!("nonsense")).await;
    }
    fool.flush().await;
    let (errors, code) = fool.closed().await;
    assert_eq!((errors.len(), code), (100, 4006));
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_do_not_make_up_for_nonsense() {
    let node = alone(&[]).await;
    let mut fool = node.connect("fool").await;
    for _ in 0..150 {
        fool.feed(json!("nonsense")).await;
        fool.feed(json!({"type": "ping"})).await;
    }
    fool.flush().await;
    assert_eq!(fool.closed().await.1, 4006);
}

#[tokio::test(flavor = "multi_thread")]
async fn words_about_tickets_that_there_are_not_do_not_make_up_for_nonsense() {
    let node = alone(&[]).await;
    let mut mallory = node.connect("mallory").await;
    for _ in 0..2 {
        for _ in 0..60 {
            mallory.feed(json!({"type": ""})).await;
        }
        mallory
            .feed(json!({"type": "ack", "ticket_id": "none", "data": {"id": "m"}}))
            .await;
    }
    mallory.flush().await;
    let (frames, code) = mallory.closed().await;
    assert_eq!(code, 4006, "{} frames", frames.len());
    assert!(frames.iter().any(|frame| frame["code"] == "not_found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_not_a_slow_reader() {
    let node = alone(&["wsc.messageBufferSize=4"]).await;
    let (mut alice, mut bob) = (node.connect("alice").await, node.connect("bob").await);
    for number in 0..1000 {
        alice
            .feed(json!({"type": "n", "to": "bob", "content": number}))
            .await;
    }
    alice.flush().await;
    for number in 0..1000 {
        assert_eq!(bob.next().await["content"], number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_of_users_may_lose_messages_instead() {
    let sets = [
        "wsc.messageBufferSize=8",
        "wsc.slowConsumerPolicy={customer: dropOldest}",
    ];
    let node = alone(&sets).await;
    let mut sender = node.connect_with("sender", Scopes::BROADCAST).await;
    let mut slow = node.connect("slow").await;
    let content = "x".repeat(200_000);
    let mut sent = 0;
    while node.0.hub().stats().dropped_oldest == 0 {
        assert!(sent < 500, "nothing was ever dropped");
        sender
            .send(json!({"type": "text", "broadcast": true, "content": content}))
            .await;
        sender.hear().await;
        sent += 1;
    }
    sender.send(json!({"type": "last", "to": "slow"})).await;
    let mut seqs = Vec::new();
    loop {
        let frame = slow.next().await;
        seqs.push(frame["seq"].as_u64().unwrap());
        if frame["type"] == "last" {
            break;
        }
    }
    assert!(
        seqs.is_sorted() && seqs.len() < sent + 1,
        "{seqs:?} of {sent}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_half_closes_with_a_full_socket_leaves_nothing_behind() {
    let sets = ["wsc.outboxBytes=64MiB", "wsc.messageBufferSize=1000"];
    let node = alone(&sets).await;
    let mut mute = node.connect("mute").await.into_inner();
    let mut sender = node.connect("sender").await;
    let content = "x".repeat(500_000);
    // More than both kernels' buffers hold, less than the outbox takes.
    for _ in 0..60 {
        sender.say("mute", &content).await;
    }
    sender.send(json!({"type": "ping"})).await;
    assert_eq!(sender.next().await["type"], "pong", "all were taken");
    assert_eq!(node.0.hub().connections(), 2);
    let MaybeTlsStream::Plain(raw) = mute.get_mut() else {
        panic!("plain")
    };
    raw.shutdown().await.unwrap();
    eventually("the connection has left", || async {
        node.0.hub().connections() == 1
    })
    .await;
    let port = node.0.addresses().ws.unwrap().port();
    eventually("its socket is gone", || async { held(port) == 1 }).await;
    drop(mute);
}

/// Sockets of the gateway's side that a process holds, by the kernel's own table.
fn held(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{port:04X}");
    let open = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let (address, _, state) = (fields.next(), fields.next(), fields.next());
        // 01 ESTABLISHED, 08 CLOSE_WAIT.
        address.is_some_and(|address| address.ends_with(&local))
            && matches!(state, Some("01" | "08"))
    };
    table.lines().filter(open).count()
}
