//! Redis goes and comes back; local delivery goes on.

use std::time::Duration;

use serde_json::json;
use wsc_gateway::cluster::Link;
use wsc_gateway::protocol::LogId;

use crate::etcd::EtcdServer;
use crate::proxy::Proxy;
use crate::redis::RedisServer;
use crate::sandbox::{DEADLINE, Node, cluster, cluster_through, eventually, options, within};
use crate::silently::append;

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
async fn a_session_whose_inbox_was_lost_hears_so_even_if_nothing_more_comes() {
    let mut redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &[]).await;
    let (mut alice, mut bob) = chat_across(&one, &two).await;
    redis.kill();
    redis.wipe();
    redis.restart();
    let told = bob.next().await;
    assert_eq!(
        (&told["type"], &told["data"]["gap"]),
        (&"position".into(), &"lost".into()),
        "{told}"
    );
    let place = told["data"]["pos"].as_str().unwrap().to_owned();
    let (epoch, offset) = place.split_once('.').unwrap();
    assert!(
        epoch != "0" && offset == "0",
        "a place to come back with: {place}"
    );
    eventually("both are ready", || async {
        one.ready().await && two.ready().await
    })
    .await;
    alice.say("bob", "after").await;
    let after = bob.next().await;
    assert_eq!(after["pos"], format!("{epoch}.1"), "and once only: {after}");
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

/// What was said to be stored by the time Redis died, and how much was refused meanwhile.
#[derive(Default)]
struct Verdicts {
    accepted: Vec<String>,
    refused: usize,
}

impl Verdicts {
    async fn hear(&mut self, client: &mut crate::client::Client) {
        let frame = client.next().await;
        let data = &frame["data"];
        if frame["type"] == "receipt" && data["state"] == "accepted" {
            self.accepted.push(data["ref"].as_str().unwrap().to_owned());
        } else if frame["type"] == "error" {
            assert_eq!(frame["code"], "unavailable", "{frame}");
            self.refused += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_accepted_is_lost_while_redis_dies_and_comes_back() {
    const MESSAGES: usize = 300;
    let mut redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &[]).await;
    let (mut alice, mut bob) = chat_across(&one, &two).await;
    let mut verdicts = Verdicts::default();
    for number in 0..MESSAGES {
        if number == MESSAGES / 3 {
            redis.kill();
            let body = json!({"to": ["bob"], "content": "by the API"});
            let (status, answer) = one.call("POST", "/v1/messages", body).await;
            assert_eq!(status, 503, "an honest error within the bound: {answer}");
        }
        if number == 2 * MESSAGES / 3 {
            // A slow node may not have looked at any of them yet.
            while verdicts.refused == 0 {
                verdicts.hear(&mut alice).await;
            }
            redis.restart();
            within(Duration::from_secs(8), "both are ready", || async {
                one.ready().await && two.ready().await
            })
            .await;
        }
        let id = format!("n{number}");
        let frame = json!({"type": "text", "to": "bob", "id": id, "content": id});
        alice.send(frame).await;
    }
    while verdicts.accepted.len() + verdicts.refused < MESSAGES {
        verdicts.hear(&mut alice).await;
    }
    let Verdicts { accepted, refused } = verdicts;
    assert!(
        refused > 0 && accepted.len() >= MESSAGES / 3,
        "{refused} refused"
    );
    assert!(
        accepted.contains(&format!("n{}", MESSAGES - 1)),
        "it healed"
    );
    let mut heard = std::collections::HashSet::new();
    while !accepted.iter().all(|id| heard.contains(id)) {
        heard.insert(bob.hear().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_broadcast_that_could_not_be_read_is_read_when_redis_is_back() {
    let redis = RedisServer::start();
    let proxy = Proxy::to(redis.port).await;
    let (names, ports) = (["node-0", "node-1"].map(options), [redis.port, proxy.port]);
    let [one, two] = cluster_through(ports, &[], names).await;
    let mut alice = two.connect("alice").await;
    let broadcast = async |id: &str| {
        let message = json!({"type": "news", "id": id, "content": id, "durable": true});
        let (status, answer) = one.call("POST", "/v1/broadcasts", message).await;
        assert_eq!(status, 200, "{answer}");
    };
    broadcast("b0").await;
    assert_eq!(alice.next().await["id"], "b0");
    proxy.cut();
    proxy.sever();
    eventually("the other node has no Redis", || async {
        matches!(two.0.cluster().status().link, Link::Down { .. })
    })
    .await;
    let silent =
        json!({"type": "news", "id": "b1", "from": "system", "broadcast": true, "content": "b1"});
    append(&one, &redis, (&LogId::Broadcast, silent), 0).await;
    // It comes by the stream between the nodes and shows that one is missing, which cannot be read now.
    broadcast("b2").await;
    let log = "/v1/broadcasts/log";
    assert_eq!(two.call("GET", log, serde_json::Value::Null).await.0, 503);
    proxy.mend();
    for id in ["b1", "b2"] {
        assert_eq!(alice.next_late(DEADLINE).await["id"], id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_many_users_that_fails_for_one_is_repeated_and_stored_once_for_each() {
    let redis = RedisServer::start();
    let [node] = cluster(redis.port, &[]).await;
    let mut clients = Vec::new();
    for user in ["alice", "bob", "carol"] {
        clients.push(node.connect(user).await);
    }
    let send = async |id: &str| {
        let message = json!({"to": ["alice", "bob", "carol"], "id": id, "content": id});
        node.call("POST", "/v1/messages", message).await
    };
    assert_eq!(send("m1").await.0, 200);
    // Redis refuses to write to what is no log.
    let log = redis.cli(&["keys", "*:u:bob}:log"]);
    redis.cli(&["rename", &log, "aside"]);
    redis.cli(&["set", &log, "no stream"]);
    let (status, answer) = send("m2").await;
    assert_eq!(status, 503, "{answer}");
    redis.cli(&["rename", "aside", &log]);
    let (status, answer) = send("m2").await;
    assert_eq!(status, 200, "{answer}");
    let recipients = answer["recipients"].as_array().unwrap();
    let repeated = recipients.iter().map(|one| one["repeated"] == true);
    assert_eq!(
        repeated.collect::<Vec<_>>(),
        [true, false, true],
        "{answer}"
    );
    assert_eq!(send("m3").await.0, 200);
    for (client, user) in clients.iter_mut().zip(["alice", "bob", "carol"]) {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last| last != "m3") {
            heard.push(client.hear().await);
        }
        if user == "bob" {
            // Who was there had it all the same, and knows it by its id.
            assert_eq!(heard.remove(1), "m2");
        }
        assert_eq!(heard, ["m1", "m2", "m3"], "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_that_goes_is_named_at_once_and_costs_readiness_only_after_a_lease() {
    let (redis, mut etcd) = (RedisServer::start(), EtcdServer::start());
    let endpoints = format!("wsc.distributed.etcd.endpoints=[{}]", etcd.address());
    let sets = [
        "wsc.distributed.nodeDiscovery=etcd",
        "wsc.distributed.nodeTimeout=9s",
        &endpoints,
    ];
    let [one, two] = cluster(redis.port, &sets).await;
    let (mut alice, mut bob) = chat_across(&one, &two).await;
    etcd.kill();
    let readyz = async || -> (u16, serde_json::Value) {
        let (status, body) = one.admin("/readyz").await;
        (status, serde_json::from_str(&body).unwrap())
    };
    let names_etcd = |body: &serde_json::Value| {
        let problems = body["problems"].as_array().unwrap();
        let etcd = |line: &serde_json::Value| line.as_str().unwrap().starts_with("etcd: down");
        problems.iter().any(etcd)
    };
    within(Duration::from_secs(5), "it is named, and ready", || async {
        let (status, body) = readyz().await;
        status == 200 && body["checks"]["etcd"] == "down" && names_etcd(&body)
    })
    .await;
    alice.say("bob", "meanwhile").await;
    assert_eq!(bob.hear().await, "meanwhile");
    eventually("a lease later it is out, and says why", || async {
        let (status, body) = readyz().await;
        let said = body["problems"].to_string();
        let etcd = names_etcd(&body) && body["checks"]["redis"] == "up";
        status == 503 && etcd && said.contains("cluster: not part of it")
    })
    .await;
    assert!(one.admin("/metrics").await.1.contains("wsc_etcd_up 0"));
    assert_eq!(one.admin("/livez").await.0, 200);
    assert_eq!(one.status().await["etcd"], "down");
    etcd.restart();
    eventually("both are ready", || async {
        one.ready().await && two.ready().await
    })
    .await;
    let (_, body) = readyz().await;
    assert_eq!(
        (&body["checks"]["etcd"], &body["problems"]),
        (&"up".into(), &json!([]))
    );
    eventually("everyone is online", || async {
        one.online().await == ["alice", "bob"]
    })
    .await;
    bob.say("alice", "after").await;
    assert_eq!(alice.hear().await, "after");
}
