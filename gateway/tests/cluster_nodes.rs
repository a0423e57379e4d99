//! Several nodes in one process behave as one cluster: who gets what, in which order, and who counts as alive.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/nodes.rs"]
#[allow(dead_code, unreachable_pub)]
mod nodes;
#[path = "support/redis.rs"]
#[allow(dead_code, unreachable_pub)]
mod redis_server;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use nodes::{Node, Recorder, params, reporter, user, within};
use redis_server::RedisServer;
use tokio::time::Instant;
use wsc_gateway::cluster::memory::MemoryStore;
use wsc_gateway::cluster::{Backend, ClusterError, Forward, Link, Password, RedisParams};

const TIMEOUT: Duration = Duration::from_millis(1500);

/// A backend, and what must live as long as it is used.
struct Ground {
    backend: Backend,
    server: Option<RedisServer>,
}

impl Ground {
    fn memory() -> Self {
        Self {
            backend: Backend::Memory(MemoryStore::new()),
            server: None,
        }
    }

    fn redis() -> Self {
        let server = RedisServer::start();
        let backend = Backend::Redis(RedisParams::at("127.0.0.1", server.port));
        Self {
            backend,
            server: Some(server),
        }
    }

    fn node(&self, name: &str) -> Node {
        Node::start(params(name, &self.backend, TIMEOUT))
    }

    async fn nodes<const N: usize>(&self, names: [&str; N]) -> [Node; N] {
        let nodes = names.map(|name| self.node(name));
        for node in &nodes {
            node.ready().await;
            node.knows(N - 1).await;
        }
        nodes
    }
}

macro_rules! behaviours {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Ground::memory()).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Ground::redis()).await;
            })*
        }
    };
}

behaviours!(
    a_direct_message_reaches_only_the_nodes_that_hold_the_user,
    a_message_to_many_users_is_one_envelope_per_node,
    ten_thousand_messages_arrive_in_the_order_they_were_sent,
    a_user_who_moves_is_found_on_the_new_node,
    a_broadcast_reaches_every_other_node,
    kicks_reach_the_session_wherever_it_is,
    a_crashed_node_is_gone_from_every_view_within_the_node_timeout,
    a_node_that_leaves_is_gone_at_once,
    leftovers_of_nodes_that_died_unseen_are_reaped,
    an_older_process_of_the_same_name_is_fenced,
    a_late_leave_of_the_older_process_changes_nothing,
    an_overflow_of_changes_ends_in_a_right_directory,
    a_malformed_envelope_harms_nobody,
);

async fn a_direct_message_reaches_only_the_nodes_that_hold_the_user(ground: Ground) {
    let [a, b, c] = ground.nodes(["a", "b", "c"]).await;
    b.up("bob");
    a.sees_online(&["bob"]).await;
    assert_eq!(a.send(&["bob"], "hi").await.unwrap(), [1]);
    within(5, "bob's node has it", async || b.hub.got("bob") == ["hi"]).await;
    c.up("bob");
    within(5, "bob is on two nodes", async || {
        a.send(&["bob"], "both").await.unwrap() == [2]
    })
    .await;
    within(5, "the second node has it", async || {
        c.hub.got("bob").contains(&"both".to_owned())
    })
    .await;
    assert!(!c.hub.got("bob").contains(&"hi".to_owned()));
    assert_eq!(
        a.hub.got("bob"),
        Vec::<String>::new(),
        "not even when the directory names the sender's node"
    );
}

async fn a_message_to_many_users_is_one_envelope_per_node(ground: Ground) {
    let [a, b, c] = ground.nodes(["a", "b", "c"]).await;
    for n in 0..50 {
        b.up(&format!("u{n:02}"));
    }
    c.up("u00");
    a.up("u01");
    within(5, "all are online", async || a.online().await.len() == 50).await;
    within(5, "u00 is on both", async || {
        a.cluster.sessions_of(&user("u00")).await.unwrap().len() == 2
    })
    .await;
    let users: Vec<String> = (0..50)
        .map(|n| format!("u{n:02}"))
        .chain(["nobody".to_owned()])
        .collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let before = a.cluster.stats().forwarded.load(Relaxed);
    let counts = a.send(&users, "all").await.unwrap();
    assert_eq!((counts[0], counts[1], counts[50]), (2, 1, 0));
    let crossed = async || a.cluster.stats().forwarded.load(Relaxed) - before == 2;
    within(5, "one crossing per node, not per user", crossed).await;
    within(5, "every user has it", async || {
        (0..50).all(|n| b.hub.got(&format!("u{n:02}")) == ["all"])
    })
    .await;
}

async fn ten_thousand_messages_arrive_in_the_order_they_were_sent(ground: Ground) {
    let [a, b] = ground.nodes(["a", "b"]).await;
    b.up("bob");
    a.sees_online(&["bob"]).await;
    for n in 0..10_000 {
        let (users, json) = (vec![user("bob")], Bytes::from(n.to_string()));
        let report =
            Box::new(|outcome: Result<Vec<usize>, ClusterError>| assert_eq!(outcome.unwrap(), [1]));
        a.cluster
            .forward(Forward::Users {
                users,
                json,
                report,
            })
            .await;
    }
    within(20, "all have arrived", async || {
        b.hub.got("bob").len() == 10_000
    })
    .await;
    let sent: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
    assert_eq!(b.hub.got("bob"), sent);
    let stats = a.cluster.stats();
    assert!(
        stats.cache_misses.load(Relaxed) < 100,
        "the directory is asked once, not per message"
    );
}

async fn a_user_who_moves_is_found_on_the_new_node(ground: Ground) {
    let [a, b, c] = ground.nodes(["a", "b", "c"]).await;
    for round in 0..20 {
        let (from, to) = if round % 2 == 0 { (&b, &c) } else { (&c, &b) };
        let session = from.up("bob");
        within(5, "found", async || {
            a.send(&["bob"], "warm").await.unwrap() == [1]
        })
        .await;
        from.down(session);
        let gone = format!("gone {round}");
        within(5, "gone", async || {
            a.send(&["bob"], &gone).await.unwrap() == [0]
        })
        .await;
        let session = to.up("bob");
        let text = format!("moved {round}");
        within(5, "found again", async || {
            a.send(&["bob"], &text).await.unwrap() == [1]
        })
        .await;
        within(5, "on the new node", async || {
            to.hub.got("bob").contains(&text)
        })
        .await;
        to.down(session);
        within(5, "gone again", async || {
            a.send(&["bob"], "-").await.unwrap() == [0]
        })
        .await;
    }
    assert!(
        a.cluster.stats().cache_hits.load(Relaxed) > 0,
        "the cache was in play"
    );
}

async fn a_broadcast_reaches_every_other_node(ground: Ground) {
    let [a, b, c] = ground.nodes(["a", "b", "c"]).await;
    let (report, told) = reporter();
    a.cluster
        .forward(Forward::Broadcast {
            json: Bytes::from_static(b"all"),
            report,
        })
        .await;
    assert_eq!(told.await.unwrap().unwrap(), [2]);
    within(5, "both have it", async || {
        b.hub.got("*") == ["all"] && c.hub.got("*") == ["all"]
    })
    .await;
    assert_eq!(
        a.hub.got("*"),
        Vec::<String>::new(),
        "the sender delivers to its own"
    );
}

async fn kicks_reach_the_session_wherever_it_is(ground: Ground) {
    let [a, b, _c] = ground.nodes(["a", "b", "c"]).await;
    let session = b.up("bob");
    a.sees_online(&["bob"]).await;
    let (report, told) = reporter();
    let reason = "enough".to_owned();
    a.cluster
        .forward(Forward::KickSession {
            session,
            reason: reason.clone(),
            report,
        })
        .await;
    assert_eq!(
        told.await.unwrap().unwrap(),
        [2],
        "handed to both other nodes"
    );
    let (report, told) = reporter();
    a.cluster
        .forward(Forward::KickUser {
            user: user("bob"),
            reason,
            report,
        })
        .await;
    assert_eq!(told.await.unwrap().unwrap(), [1], "one node holds the user");
    let kicks = [format!("{session}: enough"), "bob: enough".to_owned()];
    within(5, "both arrive", async || *b.hub.kicked.lock() == kicks).await;
}

async fn a_crashed_node_is_gone_from_every_view_within_the_node_timeout(ground: Ground) {
    let [a, b, c] = ground.nodes(["a", "b", "c"]).await;
    c.up("eve");
    a.up("bob");
    b.sees_online(&["bob", "eve"]).await;
    let start = Instant::now();
    a.crash().await;
    assert_eq!(b.online().await, ["bob", "eve"], "a lease is a lease");
    b.sees_online(&["eve"]).await;
    within(5, "the peers know", async || {
        b.peers().len() == 1 && c.peers().len() == 1
    })
    .await;
    let reaped = async || b.cluster.stats().reaped.load(Relaxed) == 1;
    within(5, "the survivor with the smallest name reaps", reaped).await;
    let took = start.elapsed();
    assert!(took <= TIMEOUT + Duration::from_millis(200), "{took:?}");
    assert_eq!(c.cluster.stats().reaped.load(Relaxed), 0, "one reaps");
    if let Some(server) = &ground.server {
        assert_eq!(server.cli(&["keys", "*bob*"]), "");
    }
}

async fn a_node_that_leaves_is_gone_at_once(ground: Ground) {
    let [a, b] = ground.nodes(["a", "b"]).await;
    a.up("bob");
    b.up("eve");
    b.sees_online(&["bob", "eve"]).await;
    a.up("late");
    a.cluster.leave().await.unwrap();
    a.up("later");
    assert_eq!(b.online().await, ["eve"]);
    assert_eq!(b.cluster.nodes().await.unwrap().len(), 1);
    let told = Instant::now();
    b.knows(0).await;
    assert!(
        told.elapsed() < Duration::from_millis(200),
        "by the event, not by the next look"
    );
    if let Some(server) = &ground.server {
        assert_eq!(
            server.cli(&["keys", "*users:*@a"]),
            "",
            "nothing is left of it"
        );
    }
}

async fn leftovers_of_nodes_that_died_unseen_are_reaped(ground: Ground) {
    let [z] = ground.nodes(["z"]).await;
    z.up("bob");
    z.sees_online(&["bob"]).await;
    z.crash().await;
    let [a] = ground.nodes(["a"]).await;
    a.up("eve");
    a.sees_online(&["eve"]).await;
    within(5, "reaped", async || {
        a.cluster.stats().reaped.load(Relaxed) == 1
    })
    .await;
    if let Some(server) = &ground.server {
        assert_eq!(server.cli(&["keys", "*bob*"]), "");
    }
}

async fn an_older_process_of_the_same_name_is_fenced(ground: Ground) {
    let [old] = ground.nodes(["a"]).await;
    old.up("bob");
    old.sees_online(&["bob"]).await;
    let new = ground.node("a");
    new.ready().await;
    let epoch = tokio::time::timeout(Duration::from_secs(5), old.cluster.fenced())
        .await
        .unwrap();
    assert_eq!(epoch, new.cluster.status().epoch);
    assert_eq!(old.cluster.status().fenced, Some(epoch));
    assert!(old.cluster.status().epoch < epoch);
    old.up("eve");
    new.up("zoe");
    new.sees_online(&["zoe"]).await;
    if ground.server.is_some() {
        let refused = old.send(&["zoe"], "-").await.unwrap_err();
        assert!(
            matches!(refused, ClusterError::Fenced { .. }),
            "{refused:?}"
        );
        assert!(matches!(old.cluster.status().link, Link::Down { .. }));
    }
    new.cluster.leave().await.unwrap();
    new.crash().await;
    within(5, "the name is free, the older takes it", async || {
        old.cluster.status().fenced.is_none()
    })
    .await;
    old.sees_online(&["bob", "eve"]).await;
    assert!(old.cluster.status().epoch > epoch);
}

async fn a_late_leave_of_the_older_process_changes_nothing(ground: Ground) {
    let [old] = ground.nodes(["a"]).await;
    let new = ground.node("a");
    new.ready().await;
    new.up("bob");
    new.sees_online(&["bob"]).await;
    let _ = old.cluster.leave().await;
    assert_eq!(new.online().await, ["bob"]);
    assert_eq!(
        new.cluster.nodes().await.unwrap()[0].epoch,
        new.cluster.status().epoch
    );
}

async fn an_overflow_of_changes_ends_in_a_right_directory(ground: Ground) {
    let [a, b] = ground.nodes(["a", "b"]).await;
    let sessions: Vec<_> = (0..50_000).map(|n| a.up(&format!("u{n}"))).collect();
    for session in sessions {
        a.down(session);
    }
    a.up("bob");
    assert!(
        a.cluster.stats().overflows.load(Relaxed) > 0,
        "the queue is bounded"
    );
    within(20, "only what the hub holds", async || {
        b.online().await == ["bob"]
    })
    .await;
    assert!(a.cluster.stats().resyncs.load(Relaxed) > 1);
    within(5, "nothing waits", async || {
        a.cluster.stats().directory_queue.load(Relaxed) == 0
    })
    .await;
}

async fn a_malformed_envelope_harms_nobody(ground: Ground) {
    let [a, b] = ground.nodes(["a", "b"]).await;
    b.up("bob");
    a.sees_online(&["bob"]).await;
    if let Some(server) = &ground.server {
        assert_eq!(
            server.cli(&["publish", "wsc:{test}:0:to:b", "\u{7f} not protobuf"]),
            "1"
        );
        within(5, "counted", async || {
            b.cluster.stats().malformed.load(Relaxed) == 1
        })
        .await;
    }
    within(5, "found", async || {
        a.send(&["bob"], "still").await.unwrap() == [1]
    })
    .await;
    within(5, "delivered", async || {
        b.hub.got("bob").contains(&"still".to_owned())
    })
    .await;
}

#[tokio::test]
async fn a_password_is_used_and_a_wrong_one_is_a_state_not_a_crash() {
    let server = RedisServer::with_password(Some("hunter2"));
    let mut redis = RedisParams::at("127.0.0.1", server.port);
    redis.password = Some(Password::new("wrong"));
    let locked_out = Node::start(params("a", &Backend::Redis(redis.clone()), TIMEOUT));
    let says_why = async || match locked_out.cluster.status().link {
        Link::Down { last_error, .. } => last_error.to_lowercase().contains("password"),
        Link::Alone | Link::Up => false,
    };
    within(5, "the status says why", says_why).await;
    redis.password = Some(Password::new("hunter2"));
    let good = Node::start(params("b", &Backend::Redis(redis), TIMEOUT));
    good.ready().await;
}

#[tokio::test]
async fn a_gateway_alone_answers_for_itself_and_forwards_nothing() {
    let ground = Ground::memory();
    let [a] = ground.nodes(["a"]).await;
    a.up("bob");
    a.sees_online(&["bob"]).await;
    assert_eq!(a.cluster.status().link, Link::Alone);
    assert_eq!(a.send(&["bob", "eve"], "-").await.unwrap(), [0, 0]);
    assert_eq!(a.cluster.stats().cache_misses.load(Relaxed), 0);
}

#[tokio::test]
async fn clusters_that_share_a_redis_do_not_see_each_other() {
    let ground = Ground::redis();
    let [a] = ground.nodes(["a"]).await;
    let mut other = params("b", &ground.backend, TIMEOUT);
    other.cluster_name = "other".to_owned();
    let mut elsewhere = params("c", &ground.backend, TIMEOUT);
    if let Backend::Redis(redis) = &mut elsewhere.backend {
        redis.db = 3;
    }
    let hubs = [other, elsewhere].map(|params| {
        let hub = Arc::new(Recorder::default());
        Node::over(hub, params)
    });
    for node in &hubs {
        node.ready().await;
    }
    let (report, told) = reporter();
    a.cluster
        .forward(Forward::Broadcast {
            json: Bytes::from_static(b"mine"),
            report,
        })
        .await;
    assert_eq!(told.await.unwrap().unwrap(), [0]);
    assert_eq!(a.cluster.nodes().await.unwrap().len(), 1);
}
