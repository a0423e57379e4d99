//! Who is online, as handlers and watching clients of whole gateways hear it, over a real Redis.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use wsc_gateway::app::Gateway;
use wsc_gateway::cluster::{Backend, RedisParams};
use wsc_gateway::security::Scopes;
use wsc_gateway::service::Event;

use crate::client::Client;
use crate::nodes;
use crate::redis::RedisServer;
use crate::sandbox::{Node, alone, cluster, config, eventually, options};

type Heard = Arc<Mutex<Vec<Event>>>;

/// Gateways whose handlers write into one list.
async fn listening<const N: usize>(redis: &RedisServer, sets: &[&str]) -> ([Node; N], Heard) {
    let port = format!("wsc.redis.port={}", redis.port);
    let mut all = vec![
        "wsc.distributed.enabled=true",
        "wsc.distributed.clusterName=test",
        "wsc.redis.host=127.0.0.1",
        "wsc.distributed.nodeTimeout=3s",
        "wsc.distributed.nodeSyncInterval=1s",
        "wsc.distributed.healthCheckInterval=1s",
        &port,
    ];
    all.extend(sets);
    let heard = Heard::default();
    let mut nodes = Vec::new();
    for index in 0..N {
        let mut options = options(&format!("node-{index}"));
        for family in ["user.*", "client.*"] {
            let heard = heard.clone();
            let handler = move |event| {
                heard.lock().push(event);
                async {}
            };
            options.extensions.on_event(family, handler).unwrap();
        }
        nodes.push(Node(Gateway::start(config(&all), options).await.unwrap()));
    }
    for node in &nodes {
        eventually("nodes see each other", || async {
            node.0.cluster().status().peers.len() == N - 1 && node.ready().await
        })
        .await;
    }
    (nodes.try_into().ok().unwrap(), heard)
}

/// What was said of a user, each word once, by generation.
fn words(heard: &Heard, user: &str) -> Vec<String> {
    let mut words: Vec<(u64, String)> = heard
        .lock()
        .iter()
        .filter(|event| event.subject.as_deref() == Some(user) && event.name.starts_with("user."))
        .map(|event| {
            (
                event.data["generation"].as_u64().unwrap(),
                event.name.clone(),
            )
        })
        .collect();
    words.sort();
    words.dedup();
    words.into_iter().map(|(_, name)| name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_hear_once_that_a_user_came_and_went_wherever_their_sessions_are() {
    let redis = RedisServer::start();
    let ([one, two, three], heard) = listening(&redis, &["wsc.presence.offlineDelay=400ms"]).await;
    let first = one.connect("alice").await;
    let second = two.connect("alice").await;
    eventually("online", || async {
        words(&heard, "alice") == ["user.online"]
    })
    .await;
    drop(first);
    drop(second);
    let third = three.connect("alice").await;
    let bob = one.connect("bob").await;
    drop(bob);
    eventually("bob came and went", || async {
        words(&heard, "bob") == ["user.online", "user.offline"]
    })
    .await;
    assert_eq!(
        words(&heard, "alice"),
        ["user.online"],
        "she was never gone"
    );
    drop(third);
    eventually("alice went", || async {
        words(&heard, "alice") == ["user.online", "user.offline"]
    })
    .await;
    let mut times: HashMap<String, usize> = HashMap::new();
    for event in heard.lock().iter() {
        *times.entry(event.id.clone()).or_default() += 1;
    }
    assert!(
        times.values().all(|times| *times == 1),
        "no node died: {times:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_killed_node_are_told_by_the_one_that_reaps_it() {
    let redis = RedisServer::start();
    let ([one, _two], heard) = listening(&redis, &["wsc.presence.offlineDelay=100ms"]).await;
    let backend = Backend::Redis(RedisParams::at("127.0.0.1", redis.port));
    let dying = nodes::Node::start(nodes::params("dying", &backend, Duration::from_secs(3)));
    dying.ready().await;
    let session = dying.up("carol");
    eventually("carol is online", || async {
        one.online().await == ["carol"]
    })
    .await;
    dying.crash().await;
    eventually("carol is gone", || async {
        words(&heard, "carol") == ["user.online", "user.offline"]
    })
    .await;
    let heard = heard.lock();
    let lost = heard
        .iter()
        .find(|event| event.name == "client.disconnected");
    let lost = lost.unwrap();
    assert_eq!(lost.id, format!("{session}/client.disconnected"));
    assert_eq!(lost.data["reason"], "node_lost");
    assert_eq!(lost.data["node"], "dying");
    assert!(lost.data["epoch"].as_u64().unwrap() > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_it_is_the_same() {
    let heard = Heard::default();
    let hears = heard.clone();
    let mut options = options("alone");
    let handler = move |event| {
        hears.lock().push(event);
        async {}
    };
    options.extensions.on_event("user.*", handler).unwrap();
    let config = config(&["wsc.presence.offlineDelay=200ms"]);
    let node = Node(Gateway::start(config, options).await.unwrap());
    drop(node.connect("alice").await);
    eventually("alice came and went", || async {
        words(&heard, "alice") == ["user.online", "user.offline"]
    })
    .await;
}

async fn subscribe(client: &mut Client, users: &[&str]) -> Value {
    client
        .send(json!({"type": "presence.subscribe", "id": "s", "data": {"users": users}}))
        .await;
    client.next().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_watches_hears_how_users_stand_and_what_changes_on_any_node() {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &["wsc.presence.offlineDelay=100ms"]).await;
    let bob = two.connect("bob").await;
    eventually("bob is there", || async { one.online().await == ["bob"] }).await;
    let mut alice = one.connect_with("alice", Scopes::PRESENCE).await;
    let standing = subscribe(&mut alice, &["bob", "carol"]).await;
    assert_eq!(
        (&standing["type"], &standing["ref"]),
        (&json!("result"), &json!("s"))
    );
    let users = &standing["data"]["users"];
    assert_eq!(
        (&users[0]["user"], &users[0]["online"]),
        (&json!("bob"), &json!(true))
    );
    assert_eq!(
        (&users[1]["user"], &users[1]["online"]),
        (&json!("carol"), &json!(false))
    );
    drop(bob);
    let gone = alice.next().await;
    assert_eq!(
        (&gone["type"], &gone["data"]["user"]),
        (&json!("presence"), &json!("bob"))
    );
    assert_eq!(gone["data"]["online"], false);
    assert!(gone["data"]["generation"].as_u64() > users[0]["generation"].as_u64());
    let _carol = one.connect("carol").await;
    let come = alice.next().await;
    assert_eq!(
        (&come["data"]["user"], &come["data"]["online"]),
        (&json!("carol"), &json!(true))
    );
    alice
        .send(json!({"type": "presence.unsubscribe", "id": "u", "data": {"users": ["bob"]}}))
        .await;
    assert_eq!(alice.next().await["ref"], "u");
    let _bob = two.connect("bob").await;
    let _dan = subscribe(&mut alice, &["dan"]).await;
    let _dan = two.connect("dan").await;
    let come = alice.next().await;
    assert_eq!(
        come["data"]["user"], "dan",
        "nothing of bob any more: {come}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_takes_a_scope_and_is_bounded() {
    let node = alone(&["wsc.presence.maxWatched=2"]).await;
    let mut nosy = node.connect("nosy").await;
    let refused = subscribe(&mut nosy, &["bob"]).await;
    assert_eq!(
        (&refused["code"], &refused["ref"]),
        (&json!("forbidden"), &json!("s"))
    );
    let mut alice = node.connect_with("alice", Scopes::PRESENCE).await;
    assert_eq!(
        subscribe(&mut alice, &["bob", "eve"]).await["type"],
        "result"
    );
    let refused = subscribe(&mut alice, &["dan"]).await;
    let message = "a session may watch 2 users (wsc.presence.maxWatched)";
    assert_eq!(
        (&refused["code"], &refused["message"]),
        (&json!("forbidden"), &json!(message))
    );
    let refused = subscribe(&mut alice, &[]).await;
    assert_eq!(refused["code"], "bad_frame");
    let config = config(&["wsc.presence.maxWatched=3"]);
    node.0.reload(config).await.unwrap();
    assert_eq!(subscribe(&mut alice, &["dan"]).await["type"], "result");
}
