//! Another configuration while a thousand clients are connected: it works, and nobody is disconnected for it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;
use wsc_config::{GatewayConfig, live_keys};
use wsc_gateway::security::Scopes;
use wsc_gateway::settings::Secrets;

use crate::client::Client;
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
    (
        "hooks",
        "[{name: a, on: [groupJoin], target: {local: {port: 1}}}]",
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
    ("wsc.ticket.enableAck", "false"),
    ("wsc.ticket.ackTimeout", "3s"),
    ("wsc.ticket.maxRetry", "1"),
    ("wsc.performance.maxConnectionsPerNode", "1001"),
    ("wsc.performance.enableMetrics", "false"),
    ("wsc.performance.metricsInterval", "30s"),
    ("wsc.performance.enableSlowLog", "false"),
    ("wsc.performance.slowLogThreshold", "3s"),
    ("wsc.security.allowedUserTypes", "[robot]"),
    ("wsc.security.tokenExpiration", "20m"),
    ("wsc.security.jwt.issuer", "issuer"),
    ("wsc.security.jwt.audience", "audience"),
    ("wsc.security.jwt.leeway", "5s"),
    ("wsc.security.allowQueryToken", "true"),
    ("wsc.security.handshakeTimeout", "7s"),
    ("wsc.security.authTimeout", "8s"),
];

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
        let new = config(&[with[0], with[1], &set]);
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

/// What a client or a scrape sees of the key that has just been changed.
async fn works(node: &Node, path: &str) {
    if path.starts_with("wsc.group.") {
        return groups::key_works(node, path).await;
    }
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
        "wsc.security.allowQueryToken" => {
            let query = format!("?access_token={short}");
            assert_eq!(knock(node, &query, &[]).await, 101);
        }
        _ => {}
    }
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
