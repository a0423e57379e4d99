//! How much clients may send.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::interval;
use wsc_gateway::security::Scopes;

use crate::client::Client;
use crate::redis::RedisServer;
use crate::sandbox::{Node, alone, cluster, eventually, token};

const PROXY: &str = "wsc.security.trustedProxies=[127.0.0.1]";
const FIVE: &str = "wsc.security.messageRateLimit.maxMessages=5";

/// Sends one message to oneself: `Ok` when it arrives, otherwise the error frame.
async fn send(client: &mut Client) -> Result<(), Value> {
    let user = client.welcome["data"]["user_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let frame = json!({"type": "n", "id": "m1", "to": user, "content": "x", "durable": false});
    client.send(frame).await;
    loop {
        let answer = client.next().await;
        match answer["type"].as_str() {
            Some("n") => return Ok(()),
            Some("error") => return Err(answer),
            _ => {}
        }
    }
}

async fn refused(client: &mut Client) -> u64 {
    let error = send(client).await.unwrap_err();
    assert_eq!(error["code"], "rate_limited", "{error}");
    assert_eq!(error["ref"], "m1");
    error["retry_after_ms"].as_u64().unwrap()
}

async fn from(node: &Node, user: &str, address: &str) -> Client {
    let bearer = format!("Bearer {}", token(user, Scopes::NONE));
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-forwarded-for", address),
    ];
    let mut client = Client::open(&node.ws(), &headers).await.unwrap();
    client.welcome = client.next().await;
    client
}

/// Of what is sent without a pause more than one message is taken, and fewer than ten.
async fn some_are_taken(client: &mut Client) {
    let mut sent = 0;
    while send(client).await.is_ok() {
        sent += 1;
        assert!(sent < 10);
    }
    assert!(sent > 1, "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_much_is_told_when_to_try_again_and_then_may() {
    // Short enough that asking again and again until there is room is no abuse.
    let second = "wsc.security.messageRateLimit.window=1s";
    let node = alone(&[FIVE, second]).await;
    let mut alice = node.connect("alice").await;
    for _ in 0..5 {
        send(&mut alice).await.unwrap();
    }
    let retry = refused(&mut alice).await;
    assert!((1..=1_200).contains(&retry), "{retry}");
    for _ in 0..20 {
        alice.send(json!({"type": "ping"})).await;
        assert_eq!(alice.next().await["type"], "pong", "pings cost nothing");
    }
    send(&mut node.connect("bob").await).await.unwrap();
    let again = tokio::sync::Mutex::new(alice);
    eventually("there is room again", || async {
        send(&mut *again.lock().await).await.is_ok()
    })
    .await;
    let metrics = node.admin("/metrics").await.1;
    assert!(metrics.contains("wsc_limits_met_total{limit=\"message_rate\"}"));
    assert!(metrics.contains("wsc_errors_total{code=\"rate_limited\"}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_in_a_minute_is_the_default_and_off_is_off() {
    assert_eq!(
        wsc_config::GatewayConfig::default()
            .wsc
            .security
            .message_rate_limit
            .max_messages,
        100
    );
    let node = alone(&["wsc.security.messageRateLimit.maxMessages=100"]).await;
    let mut alice = node.connect("alice").await;
    for _ in 0..100 {
        send(&mut alice).await.unwrap();
    }
    assert!(refused(&mut alice).await > 50_000);
    let node = alone(&[FIVE, "wsc.security.enableRateLimit=false"]).await;
    let mut alice = node.connect("alice").await;
    for _ in 0..20 {
        send(&mut alice).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_sessions_of_a_user_share_what_it_may_send() {
    let node = alone(&[FIVE]).await;
    let mut first = node.connect("alice").await;
    for _ in 0..3 {
        send(&mut first).await.unwrap();
    }
    drop(first);
    let mut second = node.connect("alice").await;
    for _ in 0..2 {
        send(&mut second).await.unwrap();
    }
    refused(&mut second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_exceeded_the_limit_is_blocked_for_as_long_as_is_set() {
    let block = "wsc.security.messageRateLimit.blockDuration=1h";
    let node = alone(&[FIVE, "wsc.security.messageRateLimit.window=1s", block]).await;
    let mut alice = node.connect("alice").await;
    for _ in 0..5 {
        send(&mut alice).await.unwrap();
    }
    assert!(refused(&mut alice).await > 3_500_000);
    let mut pace = interval(Duration::from_millis(300));
    for _ in 0..5 {
        pace.tick().await;
        assert!(
            refused(&mut alice).await > 3_500_000,
            "the window has room, the block stays"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_limited_beside_messages() {
    let node = alone(&["wsc.security.messageRateLimit.maxBytes=300B"]).await;
    some_are_taken(&mut node.connect("alice").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_limited_whoever_sends_from_it_and_others_are_not() {
    let limit = "wsc.security.messageRateLimit.maxMessagesPerAddress=3";
    let node = alone(&[PROXY, limit]).await;
    let mut alice = from(&node, "alice", "203.0.113.9").await;
    let mut bob = from(&node, "bob", "203.0.113.9").await;
    let mut carol = from(&node, "carol", "198.51.100.7").await;
    send(&mut alice).await.unwrap();
    send(&mut alice).await.unwrap();
    send(&mut bob).await.unwrap();
    refused(&mut bob).await;
    refused(&mut alice).await;
    send(&mut carol).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_limited_by_itself_and_leaves_the_rest_to_the_users_others() {
    let own = "wsc.security.messageRateLimit.maxMessagesPerSession=3";
    let node = alone(&[FIVE, own]).await;
    let mut first = node.connect("alice").await;
    let mut second = node.connect("alice").await;
    for _ in 0..3 {
        send(&mut first).await.unwrap();
        // It comes to both.
        assert_eq!(second.next().await["type"], "n");
    }
    let error = send(&mut first).await.unwrap_err();
    assert_eq!(
        (&error["code"], &error["message"]),
        (
            &"rate_limited".into(),
            &"too many messages of this session, this one was not taken".into()
        ),
        "{error}"
    );
    assert!(error["retry_after_ms"].as_u64() > Some(50_000), "{error}");
    let metrics = node.admin("/metrics").await.1;
    assert!(metrics.contains("wsc_limits_met_total{limit=\"session_rate\"} 1"));
    for _ in 0..2 {
        send(&mut second).await.unwrap();
    }
    let error = send(&mut second).await.unwrap_err();
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("of this user"),
        "what was refused is not counted: {error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_a_session_are_limited_by_themselves() {
    let node = alone(&["wsc.security.messageRateLimit.maxBytesPerSession=300B"]).await;
    for _ in 0..2 {
        some_are_taken(&mut node.connect("alice").await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_on_and_on_is_closed() {
    let node = alone(&["wsc.security.messageRateLimit.maxMessages=1"]).await;
    let mut alice = node.connect("alice").await;
    send(&mut alice).await.unwrap();
    for _ in 0..101 {
        alice.feed(json!({"type": "n", "to": "alice"})).await;
    }
    alice.flush().await;
    let (errors, code) = alice.closed().await;
    assert_eq!((errors.len(), code), (100, 4022));
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_are_not_limited_by_it() {
    let node = alone(&["wsc.security.messageRateLimit.maxMessages=1"]).await;
    let mut alice = node.connect("alice").await;
    for number in 0..20 {
        let message = json!({"to": "alice", "content": number});
        assert_eq!(node.call("POST", "/v1/messages", message).await.0, 200);
        while alice.next().await["content"] != number {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_nodes_hear_what_a_user_has_sent_and_that_it_is_blocked() {
    let redis = RedisServer::start();
    let sets = [
        "wsc.security.messageRateLimit.maxMessages=20",
        "wsc.security.messageRateLimit.blockDuration=1h",
    ];
    let [one, two, three] = cluster(redis.port, &sets).await;
    let mut alice = one.connect("alice").await;
    for _ in 0..20 {
        send(&mut alice).await.unwrap();
    }
    // In time for two exchanges: the other node does not give her twenty more.
    let mut again = two.connect("alice").await;
    let mut pace = interval(Duration::from_millis(250));
    let mut sent = 0;
    loop {
        pace.tick().await;
        match send(&mut again).await {
            Ok(()) => sent += 1,
            Err(error) => {
                break assert!(error["retry_after_ms"].as_u64().unwrap() > 3_500_000);
            }
        }
        assert!(sent < 20, "nobody has heard");
    }
    let mut third = three.connect("alice").await;
    let mut sent = 0;
    loop {
        pace.tick().await;
        if send(&mut third).await.is_err() {
            break;
        }
        sent += 1;
        assert!(sent < 20, "nobody has heard of the block");
    }
    send(&mut two.connect("bob").await).await.unwrap();
}

fn auth(token: &str) -> Value {
    json!({"type": "auth", "id": "r1", "data": {"token": token}})
}

#[tokio::test(flavor = "multi_thread")]
async fn new_tokens_over_a_live_session_are_counted_as_messages() {
    let node = alone(&[FIVE]).await;
    let mut alice = node.connect("alice").await;
    for _ in 0..5 {
        alice.send(auth(&token("alice", Scopes::NONE))).await;
        assert_eq!(alice.next().await["type"], "result");
    }
    alice.send(auth(&token("alice", Scopes::NONE))).await;
    let refused = alice.next().await;
    assert_eq!(
        (&refused["code"], &refused["ref"]),
        (&"rate_limited".into(), &"r1".into()),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_over_a_live_session_lock_out_like_others_and_leave_the_session_alone() {
    let node = alone(&["wsc.security.maxLoginAttempts=2"]).await;
    let mut alice = node.connect("alice").await;
    let wrong = format!("{}x", token("alice", Scopes::NONE));
    for _ in 0..2 {
        alice.send(auth(&wrong)).await;
        assert_eq!(alice.next().await["code"], "unauthenticated");
    }
    // Not even a right one is looked at now, here or at the handshake.
    alice.send(auth(&token("alice", Scopes::NONE))).await;
    let refused = alice.next().await;
    assert_eq!(refused["code"], "rate_limited", "{refused}");
    assert!(refused["retry_after_ms"].as_u64() > Some(1000), "{refused}");
    let headers = [("authorization", &*format!("Bearer {wrong}"))];
    let refused = Client::open(&node.ws(), &headers).await.err().unwrap();
    assert!(
        matches!(&refused, tokio_tungstenite::tungstenite::Error::Http(answer) if answer.status() == 429),
        "{refused}"
    );
    send(&mut alice).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledging_what_was_asked_for_is_free_and_anything_else_is_counted() {
    let node = alone(&[FIVE, "wsc.ack.enabled=true"]).await;
    let mut bob = node.connect("bob").await;
    for number in 0..6 {
        let id = format!("m{number}");
        let message = json!({"to": "bob", "id": id, "content": "x", "require_ack": true});
        assert_eq!(node.call("POST", "/v1/messages", message).await.0, 200);
        let heard = bob.next().await;
        for state in ["delivered", "read"] {
            let data = json!({"id": heard["id"], "from": heard["from"], "state": state});
            bob.send(json!({"type": "ack", "data": data})).await;
        }
    }
    let unasked = json!({"type": "ack", "id": "a1", "data": {"id": "nothing"}});
    for _ in 0..6 {
        bob.send(unasked.clone()).await;
    }
    let refused = bob.next().await;
    assert_eq!(
        (&refused["code"], &refused["ref"]),
        (&"rate_limited".into(), &"a1".into()),
        "the sixth of those: {refused}"
    );
    bob.send(json!({"type": "ping", "id": "p"})).await;
    assert_eq!(bob.next().await["id"], "p");
}
