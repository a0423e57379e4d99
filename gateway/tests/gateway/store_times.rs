//! How long Redis and etcd take is seen from outside, by what they are asked for; a silent Redis is seen as its deadline.

use std::time::Duration;

use serde_json::json;

use crate::etcd::EtcdServer;
use crate::redis::RedisServer;
use crate::sandbox::{Node, cluster, eventually, within};

/// How many answers were noted under this label, and how long they took in all.
async fn noted(node: &Node, name: &str, label: &str) -> (u64, f64) {
    let (_, text) = node.admin("/metrics").await;
    let of = |what: &str| {
        let start = format!("{name}_{what}{{{label}}} ");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(start.as_str()));
        line.map_or(0.0, |value| value.parse::<f64>().unwrap())
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let count = of("count") as u64;
    (count, of("sum"))
}

const REDIS: &str = "wsc_redis_command_duration_seconds";
const ETCD: &str = "wsc_etcd_call_duration_seconds";

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_redis_and_etcd_are_timed_by_what_was_asked() {
    let (redis, etcd) = (RedisServer::start(), EtcdServer::start());
    let endpoints = format!("wsc.distributed.etcd.endpoints=[{}]", etcd.address());
    let sets = [
        "wsc.distributed.nodeDiscovery=etcd",
        "wsc.group.enabled=true",
        "wsc.group.autoCreate=true",
        &endpoints,
    ];
    let [one, two] = cluster(redis.port, &sets).await;
    let (mut alice, _bob) = (one.connect("alice").await, two.connect("bob").await);
    let agent = two.agent("ann", &[]).await;
    let hello = json!({"type": "text", "id": "h", "to": "bob", "content": "hello"});
    alice.send(hello).await;
    let body = json!({"id": "red"});
    assert!(one.call("POST", "/v1/groups", body).await.0 < 300);
    for part in [
        "registry",
        "directory",
        "presence",
        "messages",
        "logs",
        "groups",
        "tickets",
        "limits",
        "revocations",
    ] {
        let label = format!("part=\"{part}\"");
        eventually(&label, || async { noted(&one, REDIS, &label).await.0 > 0 }).await;
    }
    for call in ["read", "write", "grant", "renew", "watch"] {
        let label = format!("call=\"{call}\"");
        eventually(&label, || async { noted(&one, ETCD, &label).await.0 > 0 }).await;
    }
    drop(agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_silent_shows_as_its_deadline() {
    let redis = RedisServer::start();
    let [one] = cluster(redis.port, &[]).await;
    let label = "part=\"logs\"";
    let (before, _) = noted(&one, REDIS, label).await;
    redis.pause();
    let body = json!({"to": "bob", "type": "text", "content": "hello"});
    let _refused = one.call("POST", "/v1/messages", body).await;
    within(Duration::from_secs(10), "it is noted", || async {
        let (count, sum) = noted(&one, REDIS, label).await;
        count > before && sum >= 1.9
    })
    .await;
    redis.resume();
}
