//! Durable messages: stored before `accepted`, there for whoever comes back, on whatever node.

use serde_json::{Value, json};
use wsc_gateway::log::{Awaited, MessageName};
use wsc_gateway::protocol::{LogId, UserId};
use wsc_gateway::security::Scopes;

use crate::client::Client;
use crate::proxy::Proxy;
use crate::redis::RedisServer;
use crate::sandbox::{DEADLINE, Node, alone, cluster, cluster_through, eventually, options, token};
use crate::silently::append;

/// What is asked for of a node that stores.
async fn accepted(client: &mut Client, id: &str, to: &str) -> Value {
    client
        .send(json!({"type": "text", "id": id, "to": to, "content": id}))
        .await;
    let receipt = client.next().await;
    assert_eq!(receipt["type"], "receipt", "{receipt}");
    assert_eq!(receipt["data"]["ref"], id, "{receipt}");
    receipt["data"].clone()
}

async fn come_back(node: &Node, user: &str, resume: &Value) -> Client {
    let resume: String = url_encoded(&resume.to_string());
    let url = format!("{}?resume={resume}", node.ws());
    Client::connect(&url, &token(user, Scopes::NONE))
        .await
        .unwrap()
}

pub fn url_encoded(text: &str) -> String {
    let bytes: Vec<String> = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    bytes.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_cannot_be_filled_is_told() {
    let node = alone(&["wsc.delivery.maxMessages=2"]).await;
    let mut alice = node.connect("alice").await;
    let first = accepted(&mut alice, "m0", "bob").await;
    for id in ["m1", "m2", "m3"] {
        accepted(&mut alice, id, "bob").await;
    }
    let mut bob = come_back(&node, "bob", &json!({"inbox": first["pos"]})).await;
    assert_eq!(bob.welcome["data"]["resumed"], false, "{}", bob.welcome);
    let told = bob.next().await;
    assert_eq!(
        (&told["type"], &told["data"]["gap"]),
        (&"position".into(), &"trimmed".into()),
        "{told}"
    );
    assert_eq!(
        (bob.hear().await, bob.hear().await),
        ("m2".into(), "m3".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_repeats_its_id_gets_the_first_result() {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &[]).await;
    let mut bob = one.connect("bob").await;
    let mut alice = one.connect("alice").await;
    let first = accepted(&mut alice, "m1", "bob").await;
    let mut again = two.connect("alice").await;
    let second = accepted(&mut again, "m1", "bob").await;
    assert_eq!(first["pos"], second["pos"]);
    assert_eq!(second["repeated"], true, "{second}");
    accepted(&mut alice, "m2", "bob").await;
    assert_eq!(
        (bob.hear().await, bob.hear().await),
        ("m1".into(), "m2".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn transient_types_and_what_is_not_to_be_stored_are_not() {
    let node = alone(&["wsc.delivery.transientTypes=[seen]"]).await;
    let mut alice = node.connect("alice").await;
    for frame in [
        json!({"type": "seen", "id": "t", "to": "bob"}),
        json!({"type": "text", "id": "t", "to": "bob", "durable": false}),
    ] {
        alice.send(frame).await;
        assert_eq!(alice.next().await["code"], "offline");
    }
    accepted(&mut alice, "kept", "bob").await;
    assert_eq!(node.connect("bob").await.hear().await, "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_acceptance_none_nothing_is_stored_and_durable_is_refused() {
    let node = alone(&["wsc.delivery.acceptance=none"]).await;
    let mut alice = node.connect("alice").await;
    alice
        .send(json!({"type": "text", "id": "t", "to": "bob"}))
        .await;
    assert_eq!(alice.next().await["code"], "offline");
    alice
        .send(json!({"type": "text", "id": "t", "to": "bob", "durable": true}))
        .await;
    assert_eq!(alice.next().await["code"], "not_supported");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_reaches_the_sender_from_another_node() {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &["wsc.ack.enabled=true"]).await;
    let (mut alice, mut bob) = (one.connect("alice").await, two.connect("bob").await);
    alice
        .send(json!({"type": "text", "id": "m1", "to": "bob", "require_ack": true}))
        .await;
    assert_eq!(alice.next().await["data"]["state"], "accepted");
    let message = bob.next().await;
    assert_eq!(message["require_ack"], true, "{message}");
    for state in ["delivered", "read"] {
        bob.send(json!({"type": "ack", "data": {"id": "m1", "state": state}}))
            .await;
        let receipt = alice.next().await;
        let data = &receipt["data"];
        assert_eq!(
            (&receipt["type"], &data["ref"], &data["state"], &data["by"]),
            (
                &"receipt".into(),
                &"m1".into(),
                &state.into(),
                &"bob".into()
            )
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sender_hears_of_an_acknowledgement_that_redis_took_though_its_answer_was_lost() {
    let redis = RedisServer::start();
    let proxy = Proxy::to(redis.port).await;
    let nodes = ["node-0", "node-1"].map(options);
    let ports = [redis.port, proxy.port];
    let [one, two] = cluster_through(ports, &["wsc.ack.enabled=true"], nodes).await;
    let (mut alice, mut bob) = (one.connect("alice").await, two.connect("bob").await);
    for id in ["m0", "m1"] {
        alice
            .send(json!({"type": "text", "id": id, "to": "bob", "require_ack": true}))
            .await;
        assert_eq!(alice.next().await["data"]["state"], "accepted");
        assert_eq!(bob.next().await["id"], id);
    }
    // Redis has got to know the script.
    bob.send(json!({"type": "ack", "data": {"id": "m0"}})).await;
    assert_eq!(alice.next().await["data"]["ref"], "m0");
    proxy.mute();
    bob.send(json!({"type": "ack", "data": {"id": "m1"}})).await;
    let key = redis.cli(&["keys", "*:u:bob}:acks"]);
    eventually("redis has his word", || async {
        redis.cli(&["hget", &key, "m1"]).ends_with(" bob")
    })
    .await;
    proxy.sever();
    proxy.unmute();
    let refused = bob.next_late(DEADLINE).await;
    assert_eq!(refused["code"], "unavailable", "{refused}");
    let receipt = alice.next_late(DEADLINE).await;
    let data = &receipt["data"];
    assert_eq!(
        (&data["ref"], &data["state"], &data["by"]),
        (&"m1".into(), &"delivered".into(), &"bob".into()),
        "{receipt}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_repeated_until_it_is_acknowledged_and_its_sender_hears_when_it_never_was() {
    let rules = [
        "wsc.ack.enabled=true",
        "wsc.ack.timeout=100ms",
        "wsc.ack.baseDelay=10ms",
        "wsc.ack.maxDelay=20ms",
        "wsc.ack.maxRetries=2",
    ];
    let node = alone(&rules).await;
    let (mut alice, mut bob) = (node.connect("alice").await, node.connect("bob").await);
    alice
        .send(json!({"type": "text", "id": "m1", "to": "bob", "content": "x", "require_ack": true}))
        .await;
    assert_eq!(alice.next().await["data"]["state"], "accepted");
    for _ in 0..3 {
        assert_eq!(bob.next().await["id"], "m1", "once and two repetitions");
    }
    assert_eq!(alice.next().await["data"]["state"], "expired");
    // The next one is acknowledged and so comes only once.
    alice
        .send(json!({"type": "text", "id": "m2", "to": "bob", "content": "x", "require_ack": true}))
        .await;
    assert_eq!(bob.next().await["id"], "m2");
    bob.send(json!({"type": "ack", "data": {"id": "m2"}})).await;
    for state in ["accepted", "delivered"] {
        assert_eq!(alice.next().await["data"]["state"], state);
    }
    let (_, metrics) = node.admin("/metrics").await;
    assert!(
        metrics.contains("wsc_messages_repeated_total 2\n"),
        "{metrics}"
    );
}

/// In which share of what waits a user's messages are.
fn share(user: &str) -> u8 {
    let message = MessageName::new("alice", "m");
    let user = UserId::new(user).unwrap();
    let ticket = None;
    Awaited {
        user,
        ticket,
        message,
    }
    .share()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_given_up_keeps_no_other_from_being_given_up_once() {
    let redis = RedisServer::start();
    let rules = [
        "wsc.ack.enabled=true",
        "wsc.ack.timeout=1s",
        "wsc.ack.baseDelay=10ms",
        "wsc.ack.maxDelay=10ms",
        "wsc.ack.maxRetries=1",
    ];
    let [node] = cluster(redis.port, &rules).await;
    let mut alice = node.connect("alice").await;
    let mut others = (0..100).map(|number| format!("user-{number}"));
    let other = others.find(|user| share(user) == share("bob")).unwrap();
    for (id, to) in [("m0", other.as_str()), ("m1", "bob"), ("m2", &other)] {
        let message = json!({"type": "text", "id": id, "to": to, "require_ack": true});
        alice.send(message).await;
        assert_eq!(alice.next().await["data"]["state"], "accepted");
    }
    let key = redis.cli(&["KEYS", "*u:bob}:acks"]).trim().to_owned();
    redis.cli(&["RENAME", &key, "aside"]);
    redis.cli(&["SET", &key, "not a hash"]);
    let mut expired = Vec::new();
    for _ in 0..2 {
        let receipt = alice.next().await;
        assert_eq!(receipt["data"]["state"], "expired", "{receipt}");
        expired.push(receipt["data"]["ref"].clone());
    }
    expired.sort_by_key(Value::to_string);
    assert_eq!(expired, ["m0", "m2"]);
    // It is tried at each look; the others are told of no more.
    eventually("it has failed at several looks", || async {
        let told = redis.cli(&["INFO", "errorstats"]);
        let count = told.split("errorstat_WRONGTYPE:count=").nth(1);
        let count = count.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        count.unwrap_or(0) >= 4
    })
    .await;
    redis.cli(&["RENAME", "aside", &key]);
    let receipt = alice.next().await;
    let data = &receipt["data"];
    assert_eq!(
        (&data["state"], &data["ref"]),
        (&"expired".into(), &"m1".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_is_to_acknowledge_is_stored_though_others_of_its_batch_cannot_be_remembered() {
    let redis = RedisServer::start();
    let [node] = cluster(redis.port, &["wsc.ack.enabled=true"]).await;
    let mut alice = node.connect("alice").await;
    accepted(&mut alice, "m0", "bob").await;
    let log = redis.cli(&["KEYS", "*u:bob}:log"]).trim().to_owned();
    let due = format!("due:{}}}:acks", share("bob"));
    let due = log.replace("u:bob}:log", &due);
    redis.cli(&["SET", &due, "no set"]);
    // What comes while others are being stored is one batch.
    redis.pause();
    for (id, to, ack) in [
        ("m1", "carol", false),
        ("m2", "bob", true),
        ("m3", "dave", false),
    ] {
        let message = json!({"type": "text", "id": id, "to": to, "require_ack": ack});
        alice.send(message).await;
    }
    alice.send(json!({"type": "ping", "id": "m4"})).await;
    let answered = alice.next().await;
    assert_eq!(answered["type"], "pong", "all were read: {answered}");
    redis.resume();
    let mut told = Vec::new();
    for _ in 0..3 {
        let frame = alice.next().await;
        let name = frame.get("ref").unwrap_or(&frame["data"]["ref"]);
        told.push((frame["type"].clone(), name.clone()));
    }
    let wanted = [("receipt", "m1"), ("error", "m2"), ("receipt", "m3")];
    assert_eq!(told, wanted.map(|(kind, id)| (kind.into(), id.into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_more_logs_than_are_looked_at_is_not_resumed_but_gets_its_inbox() {
    let node = alone(&[]).await;
    let mut alice = node.connect("alice").await;
    let first = accepted(&mut alice, "m0", "bob").await;
    accepted(&mut alice, "m1", "bob").await;
    for (groups, resumed) in [(127, true), (128, false)] {
        let mut places = json!({"inbox": first["pos"]});
        for group in 0..groups {
            places[format!("group:g{group}")] = "1.1".into();
        }
        let mut bob = come_back(&node, "bob", &places).await;
        assert_eq!(bob.welcome["data"]["resumed"], resumed, "{}", bob.welcome);
        assert_eq!(bob.hear().await, "m1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acknowledges_for_someone_else() {
    let node = alone(&["wsc.ack.enabled=true"]).await;
    let (mut alice, mut mallory) = (node.connect("alice").await, node.connect("mallory").await);
    alice
        .send(json!({"type": "text", "id": "m1", "to": "bob", "require_ack": true}))
        .await;
    assert_eq!(alice.next().await["data"]["state"], "accepted");
    mallory
        .send(json!({"type": "ack", "data": {"id": "m1"}}))
        .await;
    mallory.send(json!({"type": "ping", "id": "p"})).await;
    assert_eq!(mallory.next().await["type"], "pong");
    alice.send(json!({"type": "ping", "id": "p"})).await;
    assert_eq!(alice.next().await["type"], "pong", "no receipt came before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_gets_everything_that_is_stored_in_order_unless_it_is_disconnected() {
    for policy in ["spill", "dropOldest", "dropNewest"] {
        // Larger than half of the outbox, and more of them than half.
        for (filler, messages) in [(64, 200), (600, 20)] {
            slow_reader_gets_all(policy, filler * 1024, messages).await;
        }
    }
}

async fn slow_reader_gets_all(policy: &str, filler: usize, messages: usize) {
    let policy = format!("wsc.slowConsumerPolicy.customer={policy}");
    let sets = [
        policy.as_str(),
        "wsc.messageBufferSize=4",
        "wsc.security.enableRateLimit=false",
    ];
    let node = alone(&sets).await;
    let (mut alice, mut bob) = (node.connect("alice").await, node.connect("bob").await);
    let filler = "x".repeat(filler);
    for number in 0..messages {
        alice
            .feed(json!({"type": "n", "to": "bob", "content": number, "data": {"filler": filler}}))
            .await;
    }
    alice.flush().await;
    for number in 0..messages {
        assert_eq!(bob.next().await["content"], number, "{policy}");
    }
    let (_, metrics) = node.admin("/metrics").await;
    assert!(!metrics.contains("wsc_messages_spilled_total 0\n"));
    assert!(metrics.contains("wsc_messages_spilled_total "), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_was_told_for_everyone_is_read_from_the_log() {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &[]).await;
    let mut sender = one.connect_with("sender", Scopes::BROADCAST).await;
    let (mut alice, mut bob) = (one.connect("alice").await, two.connect("bob").await);
    let silently = async |id: &str| {
        let message =
            json!({"type": "text", "id": id, "from": "ann", "broadcast": true, "content": id});
        append(&two, &redis, (&LogId::Broadcast, message), 0).await;
    };
    let mut say = async |content: &str| {
        sender
            .send(json!({"type": "text", "broadcast": true, "durable": true, "content": content}))
            .await;
    };
    let mut heard = async || [alice.hear().await, bob.hear().await];
    say("first").await;
    assert_eq!(heard().await, ["first"; 2]);
    silently("second").await;
    assert_eq!(heard().await, ["second"; 2], "by a look");
    silently("third").await;
    say("fourth").await;
    assert_eq!(
        heard().await,
        ["third"; 2],
        "before what shows that there is one"
    );
    assert_eq!(heard().await, ["fourth"; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_wedged_link_lost_is_read_from_the_log() {
    let mut redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &[]).await;
    let (mut alice, mut bob) = (one.connect("alice").await, two.connect("bob").await);
    accepted(&mut alice, "m1", "bob").await;
    assert_eq!(bob.hear().await, "m1");
    redis.kill();
    eventually("the loss of redis is noticed", || async {
        one.status().await["redis"] != "up"
    })
    .await;
    alice
        .send(json!({"type": "text", "id": "m2", "to": "bob", "content": "m2"}))
        .await;
    let refused = alice.next().await;
    assert_eq!(
        (&refused["code"], &refused["ref"]),
        (&"unavailable".into(), &"m2".into())
    );
    redis.restart();
    // The sender repeats until it is accepted, as a client would.
    let mut state = Value::Null;
    while state != "accepted" {
        alice
            .send(json!({"type": "text", "id": "m2", "to": "bob", "content": "m2"}))
            .await;
        state = alice.next().await["data"]["state"].clone();
    }
    assert_eq!(bob.hear().await, "m2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_and_what_became_of_its_messages_can_be_read_on_any_node() {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &["wsc.ack.enabled=true"]).await;
    let (mut alice, mut bob) = (one.connect("alice").await, one.connect("bob").await);
    let first = accepted(&mut alice, "m1", "bob").await;
    assert_eq!(bob.hear().await, "m1");
    alice
        .send(json!({"type": "text", "id": "m2", "to": "bob", "require_ack": true}))
        .await;
    bob.next().await;
    bob.send(json!({"type": "ack", "data": {"id": "m2"}})).await;
    eventually("the record says so", || async {
        let (_, log) = two.call("GET", "/v1/users/bob/log", Value::Null).await;
        log["messages"][1]["record"]["delivered_at"].is_u64()
    })
    .await;
    let after = first["pos"].as_str().unwrap();
    let path = format!("/v1/users/bob/log?after={after}&limit=1");
    let (status, log) = two.call("GET", &path, Value::Null).await;
    assert_eq!(status, 200, "{log}");
    let logged = &log["messages"][0];
    assert_eq!(
        (&logged["id"], &logged["record"]["sender"]),
        (&"m2".into(), &"alice".into()),
        "{log}"
    );
    assert_eq!(logged["message"]["from"], "alice", "{log}");
    assert_eq!(
        (&log["more"], &log["next"]),
        (&false.into(), &logged["pos"])
    );
    for wrong in ["after=x", "since=1&after=1.1", "limit=0"] {
        let (status, error) = two
            .call("GET", &format!("/v1/users/bob/log?{wrong}"), Value::Null)
            .await;
        assert_eq!(status, 400, "{wrong}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_records_a_log_has_none() {
    let node = alone(&["wsc.record.enabled=false"]).await;
    let mut alice = node.connect("alice").await;
    accepted(&mut alice, "m1", "bob").await;
    let (_, log) = node.call("GET", "/v1/users/bob/log", Value::Null).await;
    assert_eq!(log["messages"][0]["id"], "m1", "{log}");
    assert_eq!(log["messages"][0]["record"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_someone_sent_is_found_by_its_sender_on_any_node_with_what_became_of_it() {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &["wsc.ack.enabled=true"]).await;
    let (mut alice, mut bob) = (one.connect("alice").await, two.connect("bob").await);
    let first = accepted(&mut alice, "m1", "eve").await;
    alice
        .send(json!({"type": "text", "id": "m2", "to": "bob", "require_ack": true}))
        .await;
    bob.next().await;
    bob.send(json!({"type": "ack", "data": {"id": "m2", "state": "read"}}))
        .await;
    let path = "/v1/records?sender=alice";
    eventually("the record says so", || async {
        let (_, sent) = two.call("GET", path, Value::Null).await;
        sent["records"][1]["record"]["read_at"].is_u64()
    })
    .await;
    let (status, page) = two
        .call("GET", &format!("{path}&limit=1"), Value::Null)
        .await;
    let sent = &page["records"][0];
    assert_eq!(
        (status, &sent["log"], &sent["id"], &sent["pos"]),
        (200, &"inbox:eve".into(), &"m1".into(), &first["pos"]),
        "{page}"
    );
    let cursor = page["next_cursor"].as_str().unwrap();
    let (_, page) = two
        .call("GET", &format!("{path}&cursor={cursor}"), Value::Null)
        .await;
    assert_eq!(page["records"][0]["log"], "inbox:bob", "{page}");
    assert_eq!(page["records"].as_array().unwrap().len(), 1);
    for wrong in ["", "?sender=", "?sender=a&limit=0", "?sender=a&cursor=x"] {
        let (status, error) = two
            .call("GET", &format!("/v1/records{wrong}"), Value::Null)
            .await;
        assert_eq!(status, 400, "{wrong}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_senders_that_give_one_id_each_hear_of_their_own_message() {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &["wsc.ack.enabled=true"]).await;
    let mut bob = two.connect("bob").await;
    let (mut alice, mut carol) = (one.connect("alice").await, two.connect("carol").await);
    let frame = json!({"type": "text", "id": "c1", "to": "bob", "require_ack": true});
    for sender in [&mut alice, &mut carol] {
        sender.send(frame.clone()).await;
        assert_eq!(sender.next().await["data"]["state"], "accepted");
    }
    let from = [bob.next().await, bob.next().await].map(|message| message["from"].clone());
    assert_eq!(from, ["alice", "carol"]);
    bob.send(json!({"type": "ack", "data": {"id": "c1", "from": "alice"}}))
        .await;
    let receipt = alice.next().await;
    assert_eq!(receipt["data"]["state"], "delivered", "{receipt}");
    // Without a name both are meant: of alice's it is news that it was read, of carol's everything.
    bob.send(json!({"type": "ack", "data": {"id": "c1", "state": "read"}}))
        .await;
    for sender in [&mut alice, &mut carol] {
        let receipt = sender.next().await;
        let data = &receipt["data"];
        assert_eq!(
            (&data["ref"], &data["state"], &data["by"]),
            (&"c1".into(), &"read".into(), &"bob".into()),
            "{receipt}"
        );
    }
    bob.send(json!({"type": "ack", "id": "x", "data": {"id": "c1", "from": ""}}))
        .await;
    let refused = bob.next().await;
    assert_eq!(refused["code"], "bad_frame", "{refused}");
}
