//! Redis dies, is wiped, falls silent, is not there yet: the cluster says so, loses no memory over it, and heals by itself.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::support::nodes::{Node, params, user, within};
use crate::support::proxy::Proxy;
use crate::support::redis::RedisServer;
use bytes::Bytes;
use tokio::time::Instant;
use wsc_gateway::cluster::{Backend, ClusterError, Forward, Link, RedisParams};

fn node(name: &str, server: &RedisServer, timeout: Duration) -> Node {
    let backend = Backend::Redis(RedisParams::at("127.0.0.1", server.port));
    Node::start(params(name, &backend, timeout))
}

async fn pair(server: &RedisServer, timeout: Duration) -> [Node; 2] {
    let nodes = ["a", "b"].map(|name| node(name, server, timeout));
    for node in &nodes {
        node.ready().await;
        node.knows(1).await;
    }
    nodes[0].up("ann");
    nodes[1].up("bob");
    nodes[0].sees_online(&["ann", "bob"]).await;
    nodes
}

fn is_down(node: &Node) -> bool {
    matches!(node.cluster.status().link, Link::Down { .. })
}

/// Everything that crosses between nodes works in both directions.
async fn all_is_well(a: &Node, b: &Node) {
    a.ready().await;
    b.ready().await;
    a.sees_online(&["ann", "bob"]).await;
    within(5, "a to b", async || {
        matches!(a.send(&["bob"], "again").await.as_deref(), Ok([1]))
    })
    .await;
    within(5, "b to a", async || {
        matches!(b.send(&["ann"], "again").await.as_deref(), Ok([1]))
    })
    .await;
    within(5, "it arrived", async || {
        a.hub.got("ann").contains(&"again".to_owned())
            && b.hub.got("bob").contains(&"again".to_owned())
    })
    .await;
}

async fn fails_at_once(node: &Node) {
    let start = Instant::now();
    for _ in 0..100 {
        let failed = node.send(&["bob"], "lost").await.unwrap_err();
        assert!(matches!(failed, ClusterError::Disconnected), "{failed:?}");
    }
    assert!(
        start.elapsed() < Duration::from_millis(200),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_killed_and_back_with_its_data() {
    let mut server = RedisServer::start();
    let [a, b] = pair(&server, Duration::from_mins(1)).await;
    let epoch = a.cluster.status().epoch;
    server.kill();
    within(5, "both notice", async || is_down(&a) && is_down(&b)).await;
    fails_at_once(&a).await;
    assert!(matches!(
        a.cluster.online(None, 10).await,
        Err(ClusterError::Disconnected)
    ));
    let gone = b.up("gone");
    b.down(gone);
    b.up("new");
    server.restart();
    let back = Instant::now();
    within(5, "what happened meanwhile is written", async || {
        a.online().await == ["ann", "bob", "new"]
    })
    .await;
    within(5, "forwarding works", async || {
        matches!(a.send(&["new"], "hi").await.as_deref(), Ok([1]))
    })
    .await;
    assert!(
        back.elapsed() < Duration::from_secs(5),
        "{:?}",
        back.elapsed()
    );
    assert_eq!(a.cluster.status().epoch, epoch, "the lease was still there");
    assert!(a.cluster.stats().reconnects.load(Relaxed) >= 1);
    let [disconnected, ..] = &a.cluster.stats().failures;
    assert!(disconnected.load(Relaxed) >= 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_killed_and_back_with_nothing() {
    let mut server = RedisServer::start();
    let [a, b] = pair(&server, Duration::from_mins(1)).await;
    let epoch = a.cluster.status().epoch;
    server.kill();
    within(5, "both notice", async || is_down(&a) && is_down(&b)).await;
    server.wipe();
    server.restart();
    all_is_well(&a, &b).await;
    assert!(a.cluster.status().epoch > epoch, "registered anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_flushed_under_a_living_link() {
    let server = RedisServer::start();
    let [a, b] = pair(&server, Duration::from_secs(2)).await;
    server.cli(&["flushall"]);
    within(5, "both have registered and written anew", async || {
        a.online().await == ["ann", "bob"] && b.online().await == ["ann", "bob"]
    })
    .await;
    all_is_well(&a, &b).await;
    assert_eq!(a.cluster.stats().reconnects.load(Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_redis_is_noticed_within_five_seconds_and_work_does_not_pile_up() {
    let server = RedisServer::start();
    let [a, b] = pair(&server, Duration::from_mins(1)).await;
    server.pause();
    let start = Instant::now();
    let sender = async {
        while !is_down(&a) {
            let (users, json) = (vec![user("bob")], Bytes::from_static(b"?"));
            let report = Box::new(|_: Result<Vec<usize>, ClusterError>| {});
            let begun = Instant::now();
            a.cluster
                .forward(Forward::Users {
                    users,
                    parcel: json.into(),
                    report,
                })
                .await;
            assert!(
                begun.elapsed() < Duration::from_millis(1500),
                "waits a second at most"
            );
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(
        sender,
        within(5, "both notice", async || is_down(&a) && is_down(&b))
    );
    assert!(start.elapsed() <= Duration::from_secs(5));
    within(3, "what was queued has failed", async || {
        a.send(&["bob"], "-").await.is_err()
    })
    .await;
    fails_at_once(&a).await;
    server.resume();
    all_is_well(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_is_cut_or_forbidden_is_noticed() {
    let server = RedisServer::start();
    let [a, b] = pair(&server, Duration::from_mins(1)).await;
    let before = a.cluster.stats().reconnects.load(Relaxed);
    server.cli(&["client", "kill", "type", "pubsub"]);
    let reconnected = async || a.cluster.stats().reconnects.load(Relaxed) > before;
    within(5, "reconnected", reconnected).await;
    all_is_well(&a, &b).await;
    server.cli(&["acl", "setuser", "default", "resetchannels"]);
    within(5, "noticed", async || is_down(&a) && is_down(&b)).await;
    server.cli(&["acl", "setuser", "default", "allchannels"]);
    all_is_well(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wedged_subscription_is_noticed_by_the_canary_within_five_seconds() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port).await;
    let backend = |port| Backend::Redis(RedisParams::at("127.0.0.1", port));
    let a = Node::start(params("a", &backend(server.port), Duration::from_mins(1)));
    let b = Node::start(params("b", &backend(proxy.port), Duration::from_mins(1)));
    a.up("ann");
    b.up("bob");
    all_is_well(&a, &b).await;
    let before = b.cluster.stats().reconnects.load(Relaxed);
    proxy.wedge();
    let reconnected = async || b.cluster.stats().reconnects.load(Relaxed) > before;
    within(5, "reconnected", reconnected).await;
    assert_eq!(b.cluster.stats().canaries_lost.load(Relaxed), 1);
    a.send(&["bob"], "after").await.unwrap();
    within(5, "bob hears again", async || {
        b.hub.got("bob").contains(&"after".to_owned())
    })
    .await;
    all_is_well(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_before_redis_joins_when_it_comes() {
    let mut server = RedisServer::start();
    server.kill();
    let [a, b] = ["a", "b"].map(|name| node(name, &server, Duration::from_mins(1)));
    a.up("ann");
    b.up("bob");
    let reason = async || match a.cluster.status().link {
        Link::Down { last_error, .. } => last_error.contains("refused"),
        Link::Alone | Link::Up => false,
    };
    within(5, "the status says why", reason).await;
    fails_at_once(&a).await;
    server.restart();
    all_is_well(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_refuses_writes_is_named_and_heals() {
    let server = RedisServer::start();
    let [a, b] = pair(&server, Duration::from_secs(2)).await;
    server.cli(&["config", "set", "min-replicas-to-write", "1"]);
    within(5, "the leases run out", async || {
        a.online().await.is_empty()
    })
    .await;
    let named = async || match a.cluster.status().link {
        Link::Down { last_error, .. } => last_error.contains("NOREPLICAS"),
        Link::Alone | Link::Up => false,
    };
    within(5, "the status names it", named).await;
    server.cli(&["config", "set", "min-replicas-to-write", "0"]);
    all_is_well(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_full_is_named_and_heals() {
    let server = RedisServer::start();
    let [a, b] = pair(&server, Duration::from_secs(2)).await;
    server.cli(&["config", "set", "maxmemory", "1"]);
    let named = async || match a.cluster.status().link {
        Link::Down { last_error, .. } => last_error.contains("OOM"),
        Link::Alone | Link::Up => false,
    };
    within(5, "the status names it", named).await;
    server.cli(&["config", "set", "maxmemory", "0"]);
    all_is_well(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_became_a_replica_is_dialled_anew() {
    let server = RedisServer::start();
    let [a, b] = pair(&server, Duration::from_secs(2)).await;
    server.cli(&["replicaof", "127.0.0.1", "1"]);
    let reconnects = async || a.cluster.stats().reconnects.load(Relaxed) > 0;
    within(5, "its name is asked for again", reconnects).await;
    server.cli(&["replicaof", "no", "one"]);
    all_is_well(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_without_redis_ends_within_its_deadline() {
    let mut server = RedisServer::start();
    let [a, _b] = pair(&server, Duration::from_mins(1)).await;
    server.pause();
    let start = Instant::now();
    assert!(a.cluster.leave().await.is_err());
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
    server.kill();
    a.crash().await;
}
