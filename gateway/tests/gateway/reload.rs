//! Another configuration while a thousand clients are connected: it works, and nobody is disconnected for it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Error;
use wsc_config::{GatewayConfig, live_keys};
use wsc_gateway::security::Scopes;
use wsc_gateway::session::liveness::TICK;
use wsc_gateway::settings::Secrets;

use crate::client::Client;
use crate::event_stream::EventStream;
use crate::groups;
use crate::sandbox::{API_KEY, Node, alone, config, eventually, options, token, token_for};

const CLIENTS: usize = 1000;

/// A value for every live key that is not its default.
const CHANGES: &[(&str, &str)] = &[
    ("log.level", "debug"),
    ("drain.unreadyDelay", "1s"),
    ("drain.window", "2s"),
    ("drain.ratePerSecond", "7"),
    ("drain.jitter", "0.3"),
    ("rebalance.enabled", "false"),
    ("rebalance.absolute", "60"),
    ("rebalance.relative", "0.3"),
    ("rebalance.ratePerSecond", "7"),
    ("rebalance.jitter", "0.3"),
    ("rebalance.minAge", "7s"),
    (
        "hooks",
        "[{name: a, points: [groupJoin], target: {local: {port: 1}}}]",
    ),
    ("wsc.heartbeatInterval", "40s"),
    ("wsc.clientTimeout", "120s"),
    ("wsc.messageBufferSize", "300"),
    ("wsc.outboxBytes", "2MiB"),
    ("wsc.slowConsumerPolicy", "{customer: dropOldest}"),
    ("wsc.websocketOrigins", "https://app.example.com"),
    ("wsc.presence.maxWatched", "1"),
    ("wsc.group.maxGroupSize", "1"),
    ("wsc.group.maxGroupsPerUser", "1"),
    ("wsc.group.enableBroadcast", "false"),
    ("wsc.group.broadcastRateLimit", "1"),
    ("wsc.group.cacheExpire", "2s"),
    ("wsc.group.autoCreate", "true"),
    ("wsc.group.enableMessageRecord", "false"),
    ("wsc.ticket.enabled", "false"),
    ("wsc.ticket.maxTicketsPerAgent", "3"),
    ("wsc.ticket.autoAssign", "false"),
    ("wsc.ticket.assignStrategy", "random"),
    ("wsc.ticket.ticketTimeout", "1000s"),
    ("wsc.ticket.enableQueueing", "false"),
    ("wsc.ticket.queueTimeout", "200s"),
    ("wsc.ticket.notifyTimeout", "20s"),
    ("wsc.ticket.enableTransfer", "false"),
    ("wsc.ticket.transferMaxTimes", "1"),
    ("wsc.ticket.enableOfflineMessage", "false"),
    ("wsc.ticket.offlineMessageExpire", "1000s"),
    ("wsc.ticket.enableAck", "false"),
    ("wsc.ticket.ackTimeout", "3s"),
    ("wsc.ticket.maxRetry", "1"),
    ("wsc.sse.heartbeat", "20s"),
    ("wsc.sse.timeout", "90s"),
    ("wsc.sse.messageBuffer", "3"),
    ("wsc.performance.maxConnectionsPerNode", "1001"),
    ("wsc.performance.maxMemoryPercent", "95"),
    ("wsc.performance.enableMetrics", "false"),
    ("wsc.performance.metricsInterval", "30s"),
    ("wsc.performance.enableSlowLog", "false"),
    ("wsc.performance.slowLogThreshold", "3s"),
    ("wsc.delivery.retention", "2m"),
    ("wsc.delivery.maxMessages", "2"),
    ("wsc.delivery.dedupeWindow", "1s"),
    ("wsc.delivery.transientTypes", "[text]"),
    ("wsc.record.enabled", "false"),
    ("wsc.record.ttl", "2m"),
    ("wsc.ack.enabled", "true"),
    ("wsc.ack.timeout", "150ms"),
    ("wsc.ack.maxRetries", "1"),
    ("wsc.ack.baseDelay", "200ms"),
    ("wsc.ack.maxDelay", "7s"),
    ("wsc.ack.backoffFactor", "3"),
    ("wsc.ack.jitter", "false"),
    ("wsc.security.maxMessageSize", "2KiB"),
    ("wsc.security.allowedUserTypes", "[robot]"),
    ("wsc.security.tokenExpiration", "20m"),
    ("wsc.security.jwt.issuer", "issuer"),
    ("wsc.security.jwt.audience", "audience"),
    ("wsc.security.jwt.leeway", "5s"),
    ("wsc.allowMultiLogin", "false"),
    ("wsc.maxConnectionsPerUser", "1"),
    ("wsc.connectionPolicy", "kickNew"),
    ("wsc.security.enableRateLimit", "false"),
    ("wsc.security.messageRateLimit.window", "1s"),
    ("wsc.security.messageRateLimit.maxMessages", "1"),
    ("wsc.security.messageRateLimit.maxBytes", "1B"),
    ("wsc.security.messageRateLimit.maxMessagesPerAddress", "1"),
    ("wsc.security.messageRateLimit.maxMessagesPerSession", "1"),
    ("wsc.security.messageRateLimit.maxBytesPerSession", "1B"),
    ("wsc.security.messageRateLimit.blockDuration", "1h"),
    ("wsc.security.maxConnectionsPerAddress", "1"),
    ("wsc.security.maxHandshakesPerAddress", "1"),
    ("wsc.security.enableIpWhitelist", "true"),
    ("wsc.security.whitelistIps", "[127.0.0.1, ::1]"),
    ("wsc.security.blockedIps", "[203.0.113.0/24]"),
    ("wsc.security.trustedProxies", "[127.0.0.1, ::1]"),
    ("wsc.security.maxLoginAttempts", "1"),
    ("wsc.security.loginLockDuration", "1s"),
    ("wsc.security.allowQueryToken", "true"),
    ("wsc.security.handshakeTimeout", "7s"),
    ("wsc.security.authTimeout", "8s"),
];

/// What some changes need beside them: a proxy, to come from elsewhere by, or a list that is not empty.
fn beside(path: &str) -> &'static [&'static str] {
    match path {
        "wsc.security.enableIpWhitelist" => &["wsc.security.whitelistIps=[127.0.0.0/8]", PROXY],
        "wsc.security.blockedIps" | "wsc.security.maxLoginAttempts" => &[PROXY],
        "wsc.security.loginLockDuration" => &["wsc.security.maxLoginAttempts=1", PROXY],
        "wsc.connectionPolicy" => &["wsc.maxConnectionsPerUser=1"],
        "wsc.ack.timeout"
        | "wsc.ack.baseDelay"
        | "wsc.ack.maxDelay"
        | "wsc.ack.backoffFactor"
        | "wsc.ack.jitter" => &["wsc.ack.enabled=true"],
        "wsc.ack.maxRetries" => &["wsc.ack.enabled=true", "wsc.ack.timeout=100ms"],
        "wsc.security.messageRateLimit.window" | "wsc.security.messageRateLimit.blockDuration" => {
            &["wsc.security.messageRateLimit.maxMessages=2"]
        }
        _ => &[],
    }
}

const PROXY: &str = "wsc.security.trustedProxies=[127.0.0.1]";

fn at(config: &GatewayConfig, path: &str) -> Value {
    let value = serde_json::to_value(config).unwrap();
    let found = path
        .split('.')
        .try_fold(&value, |value, key| value.get(key));
    found.cloned().unwrap_or_default()
}

/// The status with which a client is refused; 101 if it is not.
async fn knock(node: &Node, query: &str, headers: &[(&'static str, &str)]) -> u16 {
    match Client::open(&format!("{}{query}", node.ws()), headers).await {
        Ok(_) => 101,
        Err(Error::Http(refusal)) => refusal.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_live_key_is_changed_under_a_thousand_clients_and_none_is_disconnected() {
    let with = [
        "wsc.performance.maxConnectionsPerNode=2000",
        "wsc.group.enabled=true",
    ];
    let node = alone(&with).await;
    let mut clients = Vec::with_capacity(CLIENTS);
    for number in 0..CLIENTS {
        clients.push(node.connect(&format!("user-{number}")).await);
    }
    for path in live_keys() {
        let change = CHANGES.iter().find(|(changed, _)| changed == path);
        let (_, value) = change.unwrap_or_else(|| panic!("{path} is live and is not changed here"));
        let set = format!("{path}={value}");
        // A limit below the number of connections is there, too: it holds for newcomers.
        let mut sets = vec![with[0], with[1], &set];
        sets.extend(beside(path));
        let new = config(&sets);
        assert_ne!(at(&node.0.config(), path), at(&new, path), "{path} changes");
        let changes = node.0.reload(new.clone()).await.unwrap();
        assert!(changes.live.contains(&(*path).to_owned()), "{changes:?}");
        assert_eq!(changes.restart, Vec::<String>::new(), "{path}");
        assert_eq!(at(&node.0.config(), path), at(&new, path), "{path}");
        works(&node, path).await;
    }
    let told = json!({"type": "notice", "content": "still here"});
    let (status, answer) = node.call("POST", "/v1/broadcasts", told).await;
    assert_eq!((status, &answer["local_sessions"]), (200, &json!(CLIENTS)));
    for client in &mut clients {
        assert_eq!(client.next().await["content"], "still here");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_patience_holds_for_who_is_connected() {
    let node = alone(&["wsc.heartbeatInterval=30m", "wsc.clientTimeout=1h"]).await;
    // It reads nothing, and so answers no ping.
    let _mute = node.connect("mute").await;
    let mut alive = node.connect("alive").await;
    // The shards have looked at both, and would look again in half an hour.
    let began = Instant::now();
    while began.elapsed() < 2 * TICK {
        alive.say("alive", "here").await;
        assert_eq!(alive.hear().await, "here");
    }
    let new = config(&["wsc.heartbeatInterval=1s", "wsc.clientTimeout=2s"]);
    node.0.reload(new).await.unwrap();
    let gone = || async { node.0.hub().stats().disconnects.contains(&("timeout", 1)) };
    let waits = async { alive.next().await };
    tokio::select! {
        () = eventually("who answers nothing is given up", gone) => {}
        frame = waits => panic!("{frame}"),
    }
    alive.say("alive", "still here").await;
    assert_eq!(alive.hear().await, "still here");
}

/// Sends so many messages to oneself: for each, zero if it came, or in how many ms the next may be sent.
async fn sent(node: &Node, user: &str, count: usize) -> Vec<u64> {
    let mut client = node.connect(user).await;
    let mut retries = Vec::new();
    for _ in 0..count {
        client.say(user, "x").await;
        let answer = client.next().await;
        retries.push(answer["retry_after_ms"].as_u64().unwrap_or(0));
    }
    retries
}

/// What a client or a scrape sees of the key that has just been changed.
async fn works(node: &Node, path: &str) {
    if path.starts_with("wsc.group.") {
        return groups::key_works(node, path).await;
    }
    rate_works(node, path).await;
    address_works(node, path).await;
    log_works(node, path).await;
    let short = token("late", Scopes::NONE);
    let bearer = format!("Bearer {short}");
    let long = format!(
        "Bearer {}",
        token_for("late", Scopes::NONE, Duration::from_mins(30))
    );
    let (own, origin) = (
        ("authorization", bearer.as_str()),
        ("origin", "https://app.example.com"),
    );
    match path {
        "wsc.sse.heartbeat" | "wsc.sse.timeout" => {
            let stream = EventStream::connect(node, &short).await;
            let (key, ms) = if path == "wsc.sse.timeout" {
                ("client_timeout_ms", 90_000)
            } else {
                ("heartbeat_interval_ms", 20_000)
            };
            assert_eq!(stream.welcome["data"][key], ms);
        }
        "wsc.heartbeatInterval" | "wsc.clientTimeout" => {
            let client = node.connect("late").await;
            let (key, ms) = if path == "wsc.clientTimeout" {
                ("client_timeout_ms", 120_000)
            } else {
                ("heartbeat_interval_ms", 40_000)
            };
            assert_eq!(client.welcome["data"][key], ms);
        }
        "wsc.websocketOrigins" => {
            assert_eq!(knock(node, "", &[own, origin]).await, 101);
            let other = ("origin", "https://other.example.com");
            assert_eq!(knock(node, "", &[own, other]).await, 403);
        }
        "wsc.performance.maxConnectionsPerNode" => {
            // Those who came to try the keys before may still be leaving.
            eventually(
                "the thousand and first gets in, the next does not",
                || async {
                    let Ok(_first) = Client::open(&node.ws(), &[own]).await else {
                        return false;
                    };
                    knock(node, "", &[own]).await == 503
                },
            )
            .await;
        }
        "wsc.performance.enableMetrics" => {
            assert_eq!(node.admin("/metrics").await.0, 404);
        }
        "wsc.security.allowedUserTypes" => {
            assert_eq!(knock(node, "", &[own]).await, 401, "no customers any more");
        }
        "wsc.security.tokenExpiration" => {
            assert_eq!(knock(node, "", &[own]).await, 101);
            assert_eq!(
                knock(node, "", &[("authorization", long.as_str())]).await,
                401
            );
        }
        "wsc.security.jwt.issuer" | "wsc.security.jwt.audience" => {
            assert_eq!(knock(node, "", &[own]).await, 401);
        }
        "wsc.allowMultiLogin" | "wsc.maxConnectionsPerUser" => {
            let mut first = node.connect(path).await;
            let _second = node.connect(path).await;
            assert_eq!(first.closed().await.1, 4003);
        }
        "wsc.connectionPolicy" => {
            let _first = node.connect("late").await;
            assert_eq!(knock(node, "", &[own]).await, 429);
        }
        "wsc.security.enableRateLimit" => {
            assert_eq!(sent(node, path, 5).await, [0, 0, 0, 0, 0]);
        }
        "wsc.security.allowQueryToken" => {
            let query = format!("?access_token={short}");
            assert_eq!(knock(node, &query, &[]).await, 101);
        }
        _ => {}
    }
}

/// The same, of the limits of messages.
async fn rate_works(node: &Node, path: &str) {
    match path {
        "wsc.security.messageRateLimit.window" => {
            let retry = sent(node, path, 3).await;
            assert!(retry[2] > 0 && retry[2] < 2_000, "{retry:?}");
        }
        "wsc.security.messageRateLimit.maxMessages" => {
            let retry = sent(node, path, 2).await;
            assert!(retry[0] == 0 && retry[1] > 2_000, "{retry:?}");
        }
        "wsc.security.messageRateLimit.maxBytes"
        | "wsc.security.messageRateLimit.maxBytesPerSession" => {
            assert!(sent(node, path, 1).await[0] > 0);
        }
        "wsc.security.messageRateLimit.maxMessagesPerAddress" => {
            sent(node, path, 1).await;
            assert!(sent(node, "another", 1).await[0] > 0);
        }
        "wsc.security.messageRateLimit.maxMessagesPerSession" => {
            let retry = sent(node, path, 2).await;
            assert!(retry[0] == 0 && retry[1] > 2_000, "{retry:?}");
            assert_eq!(sent(node, path, 1).await, [0], "another session");
        }
        "wsc.security.messageRateLimit.blockDuration" => {
            let retry = sent(node, path, 3).await;
            assert!(retry[2] > 3_500_000, "{retry:?}");
        }
        _ => {}
    }
}

/// The outcome of a call that sends a message to one user.
async fn posted(node: &Node, to: &str, id: &str) -> Value {
    let message = json!({"to": to, "id": id, "from": "shop", "type": "text", "content": "x"});
    let (status, outcome) = node.call("POST", "/v1/messages", message).await;
    assert_eq!(status, 200, "{outcome}");
    outcome["recipients"][0].clone()
}

/// The same, of what is kept, and of what is sent again until it is acknowledged.
async fn log_works(node: &Node, path: &str) {
    let log = format!("/v1/users/{path}/log");
    match path {
        "wsc.delivery.maxMessages" => {
            for id in ["1", "2", "3"] {
                posted(node, path, id).await;
            }
            let (_, log) = node.call("GET", &log, Value::Null).await;
            let ids: Vec<&Value> = log["messages"].as_array().unwrap().iter().collect();
            let ids: Vec<&Value> = ids.iter().map(|message| &message["id"]).collect();
            assert_eq!(ids, ["2", "3"], "{log}");
        }
        "wsc.delivery.dedupeWindow" => {
            posted(node, path, "1").await;
            assert_eq!(posted(node, path, "1").await["repeated"], true);
            eventually("the window is over", || async {
                posted(node, path, "1").await["repeated"] != true
            })
            .await;
        }
        "wsc.delivery.transientTypes" => {
            let mut client = node.connect(path).await;
            client.say("nobody", "x").await;
            assert_eq!(client.next().await["code"], "offline", "it is not stored");
        }
        "wsc.record.enabled" => {
            posted(node, path, "1").await;
            let (_, log) = node.call("GET", &log, Value::Null).await;
            assert_eq!(log["messages"][0]["record"], Value::Null, "{log}");
        }
        "wsc.ack.enabled" | "wsc.ack.maxRetries" | "wsc.ack.timeout" => {
            let recipient = format!("{path}-recipient");
            let mut bob = node.connect(&recipient).await;
            let mut alice = node.connect(path).await;
            let frame = json!({"type": "text", "id": "1", "to": recipient, "require_ack": true});
            alice.send(frame).await;
            assert_eq!(alice.next().await["data"]["state"], "accepted");
            assert_eq!(bob.next().await["id"], "1");
            match path {
                "wsc.ack.maxRetries" => {
                    assert_eq!(bob.next().await["id"], "1", "sent again");
                    assert_eq!(alice.next().await["data"]["state"], "expired");
                }
                "wsc.ack.timeout" => assert_eq!(bob.next().await["id"], "1", "sent again"),
                _ => {
                    bob.send(json!({"type": "ack", "data": {"id": "1"}})).await;
                    assert_eq!(alice.next().await["data"]["state"], "delivered");
                }
            }
        }
        _ => {}
    }
}

/// The same, of what is judged by a client's address.
async fn address_works(node: &Node, path: &str) {
    let bearer = format!("Bearer {}", token("late", Scopes::NONE));
    let own = ("authorization", bearer.as_str());
    match path {
        "wsc.security.maxConnectionsPerAddress" => {
            assert_eq!(knock(node, "", &[own]).await, 429, "a thousand are there");
        }
        "wsc.security.maxHandshakesPerAddress" => {
            let address = node.0.addresses().ws.unwrap();
            let silent = tokio::net::TcpStream::connect(address).await.unwrap();
            eventually("it is being shaken hands with", || async {
                node.0.hub().pending() == 1
            })
            .await;
            let headers = [own];
            let cut = Client::open(&node.ws(), &headers).await.err();
            assert!(
                matches!(cut, Some(Error::Io(_) | Error::Protocol(_))),
                "{cut:?}"
            );
            drop(silent);
            eventually("there is room again", || async {
                node.0.hub().pending() == 0
            })
            .await;
        }
        "wsc.security.enableIpWhitelist" | "wsc.security.blockedIps" => {
            let elsewhere = ("x-forwarded-for", "203.0.113.9");
            assert_eq!(knock(node, "", &[own, elsewhere]).await, 403);
            assert_eq!(knock(node, "", &[own]).await, 101);
        }
        "wsc.security.trustedProxies" => {
            let unknown = ("x-forwarded-for", "unknown");
            assert_eq!(knock(node, "", &[own, unknown]).await, 400);
        }
        "wsc.security.maxLoginAttempts" | "wsc.security.loginLockDuration" => {
            let elsewhere = if path == "wsc.security.maxLoginAttempts" {
                ("x-forwarded-for", "203.0.113.10")
            } else {
                ("x-forwarded-for", "203.0.113.11")
            };
            let wrong = ("authorization", "Bearer x.y.z");
            assert_eq!(knock(node, "", &[wrong, elsewhere]).await, 401);
            assert_eq!(knock(node, "", &[own, elsewhere]).await, 429);
            if path == "wsc.security.loginLockDuration" {
                eventually("a second is over", || async {
                    knock(node, "", &[own, elsewhere]).await == 101
                })
                .await;
            }
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_size_of_messages_changes_for_calls_and_newcomers_and_not_for_who_was_told_another() {
    let node = alone(&[]).await;
    let mut before = node.connect("before").await;
    node.0
        .reload(config(&["wsc.security.maxMessageSize=2KiB"]))
        .await
        .unwrap();
    let long = "x".repeat(3000);
    before.say("before", &long).await;
    assert_eq!(before.hear().await, long, "as it was told when it came");
    let mut after = node.connect("after").await;
    assert_eq!(after.welcome["data"]["max_message_size"], 2048);
    after.say("after", &long).await;
    assert_eq!(after.closed().await.1, 1009);
    let message = json!({"to": "before", "content": long});
    assert_eq!(node.call("POST", "/v1/messages", message).await.0, 413);
    let message = wsc_proto::v1::SendRequest {
        to: vec![long.clone()],
        message: None,
    };
    let refused = node.grpc().await.send(message).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
    node.0.reload(config(&[])).await.unwrap();
    let message = json!({"to": "before", "content": long});
    assert_eq!(node.call("POST", "/v1/messages", message).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_new_process_waits_for_it_and_is_named() {
    let node = alone(&[]).await;
    let new = config(&[
        "wsc.security.enableAuth=false",
        "wsc.websocketOrigins=https://a.example",
    ]);
    let changes = node.0.reload(new).await.unwrap();
    assert_eq!(changes.live, ["wsc.websocketOrigins"]);
    assert_eq!(changes.restart, ["wsc.security.enableAuth"]);
    assert_eq!(
        knock(&node, "?user_id=eve", &[("origin", "https://a.example")]).await,
        101
    );
    let mut eve = Client::open(&format!("{}?user_id=eve", node.ws()), &[])
        .await
        .unwrap();
    eve.send(json!({"type": "text", "to": "eve", "content": "x"}))
        .await;
    assert_eq!(eve.closed().await.1, 4001, "authentication is still on");
    let status = node.status().await;
    assert_eq!(
        status["reload"]["waiting_for_restart"],
        json!(["wsc.security.enableAuth"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_tokens_and_of_the_api_change_under_a_client_that_stays() {
    let node = alone(&[]).await;
    let mut alice = node.connect("alice").await;
    let old = format!("Bearer {}", token("bob", Scopes::NONE));
    let secrets = Secrets {
        jwt_key: Some("another-key-another-key-another-k".to_owned()),
        api_key: Some("another-api-key-another".to_owned()),
        ..options("x").secrets
    };
    node.0
        .reload_all(config(&[]), Arc::new(secrets))
        .await
        .unwrap();
    assert_eq!(
        knock(&node, "", &[("authorization", old.as_str())]).await,
        401
    );
    let (status, _) = node.call("GET", "/v1/stats", Value::Null).await;
    assert_eq!(status, 401, "{API_KEY} is over");
    alice.say("alice", "still here").await;
    assert_eq!(alice.next().await["content"], "still here");

    let wrong = Secrets {
        jwt_key: Some("short".to_owned()),
        ..options("x").secrets
    };
    let refused = node
        .0
        .reload_all(
            config(&["wsc.websocketOrigins=https://b.example"]),
            Arc::new(wrong),
        )
        .await;
    assert!(refused.is_err());
    assert!(
        node.0.config().wsc.websocket_origins.is_empty(),
        "all of it or nothing"
    );
}
