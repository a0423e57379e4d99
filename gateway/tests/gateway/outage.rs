//! Redis goes and comes back; local delivery goes on.

use std::time::Duration;

use serde_json::json;

use crate::redis::RedisServer;
use crate::sandbox::{Node, cluster, eventually, within};

async fn chat_across(one: &Node, two: &Node) -> (crate::client::Client, crate::client::Client) {
    let (mut alice, mut bob) = (one.connect("alice").await, two.connect("bob").await);
    eventually("both are online", || async {
        one.online().await.len() == 2 && two.online().await.len() == 2
    })
    .await;
    alice.say("bob", "before").await;
    assert_eq!(bob.hear().await, "before");
    (alice, bob)
}

#[tokio::test(flavor = "multi_thread")]
async fn local_delivery_goes_on_and_the_rest_heals_by_itself() {
    let mut redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &[]).await;
    let (mut alice, mut bob) = chat_across(&one, &two).await;
    let mut ann = one.connect("ann").await;
    redis.kill();
    within(Duration::from_secs(5), "readiness says so", || async {
        !one.ready().await && !two.ready().await
    })
    .await;
    assert!(one.admin("/metrics").await.1.contains("wsc_redis_up 0"));
    assert_eq!(one.admin("/livez").await.0, 200);

    alice.say("ann", "local").await;
    assert_eq!(ann.hear().await, "local");
    let error = alice.next().await;
    assert_eq!(error["code"], "unavailable", "it was not stored: {error}");
    alice
        .send(json!({"type": "text", "id": "far", "to": "bob"}))
        .await;
    let error = alice.next().await;
    assert_eq!(
        (&error["code"], &error["ref"]),
        (&"unavailable".into(), &"far".into()),
        "{error}"
    );

    redis.restart();
    within(Duration::from_secs(8), "both are ready", || async {
        one.ready().await && two.ready().await
    })
    .await;
    eventually("everyone is online again", || async {
        two.online().await == ["alice", "ann", "bob"]
    })
    .await;
    alice.say("bob", "after").await;
    assert_eq!(bob.hear().await, "after", "and nobody was disconnected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_lost_everything_is_told_again() {
    let mut redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &[]).await;
    let (mut alice, mut bob) = chat_across(&one, &two).await;
    redis.kill();
    redis.wipe();
    redis.restart();
    eventually("everyone is online again", || async {
        one.online().await == ["alice", "bob"] && one.ready().await
    })
    .await;
    eventually("both are ready", || async {
        one.ready().await && two.ready().await
    })
    .await;
    bob.say("alice", "after").await;
    assert_eq!(alice.hear().await, "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_starts_without_redis_and_joins_when_it_comes() {
    let mut redis = RedisServer::start();
    redis.kill();
    let port = format!("wsc.redis.port={}", redis.port);
    let sets = [
        "wsc.distributed.enabled=true",
        "wsc.redis.host=127.0.0.1",
        &port,
    ];
    let gateway = wsc_gateway::app::Gateway::start(
        crate::sandbox::config(&sets),
        crate::sandbox::options("early"),
    );
    let node = Node(gateway.await.unwrap());
    let mut alice = node.connect("alice").await;
    alice.say("alice", "me").await;
    assert_eq!(alice.hear().await, "me");
    assert!(!node.ready().await);
    redis.restart();
    eventually("the node is ready", || async { node.ready().await }).await;
    eventually("alice is online", || async {
        node.online().await == ["alice"]
    })
    .await;
}
