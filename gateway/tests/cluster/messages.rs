//! Messages between several nodes in one process: who gets what, how often, and in which order.

use std::sync::atomic::Ordering::Relaxed;

use crate::support::ground::{Ground, TIMEOUT};
use crate::support::nodes::{Node, params, reporter, user, within};
use bytes::Bytes;
use wsc_gateway::cluster::{Backend, ClusterError, Forward, Link};

over_ways!(
    Ground:
    a_direct_message_reaches_only_the_nodes_that_hold_the_user,
    a_message_to_many_users_is_one_envelope_per_node,
    ten_thousand_messages_arrive_in_the_order_they_were_sent,
    a_message_that_finds_nobody_comes_back_and_is_sent_once_more,
    a_user_who_moves_is_found_on_the_new_node,
    a_broadcast_reaches_every_other_node,
    kicks_reach_the_session_wherever_it_is,
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
                parcel: json.into(),
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

/// The directory says that bob is on b, who does not find him the first time.
async fn a_message_that_finds_nobody_comes_back_and_is_sent_once_more(ground: Ground) {
    let [a, b] = ground.nodes(["a", "b"]).await;
    b.up("bob");
    b.up("eve");
    a.sees_online(&["bob", "eve"]).await;
    b.hub.absent.lock().insert("bob".to_owned(), 1);
    b.hub.absent.lock().insert("eve".to_owned(), 9);
    a.send(&["bob"], "to bob").await.unwrap();
    within(5, "bob gets it", async || b.hub.got("bob") == ["to bob"]).await;
    a.send(&["eve"], "to eve").await.unwrap();
    let asked = async || b.cluster.stats().nobody_here.load(Relaxed) == 3;
    within(5, "eve is looked for twice", asked).await;
    a.send(&["bob"], "after").await.unwrap();
    within(5, "what comes after", async || b.hub.got("bob").len() == 2).await;
    assert_eq!(b.hub.absent.lock()["eve"], 7, "and no third time");
    assert_eq!(a.cluster.stats().resent.load(Relaxed), 2);
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
            parcel: Bytes::from_static(b"all").into(),
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
async fn a_gateway_alone_answers_for_itself_and_forwards_nothing() {
    let ground = Ground::memory().await;
    let [a] = ground.nodes(["a"]).await;
    a.up("bob");
    a.sees_online(&["bob"]).await;
    assert_eq!(a.cluster.status().link, Link::Alone);
    assert_eq!(a.send(&["bob", "eve"], "-").await.unwrap(), [0, 0]);
    assert_eq!(a.cluster.stats().cache_misses.load(Relaxed), 0);
}

#[tokio::test]
async fn clusters_that_share_a_redis_do_not_see_each_other() {
    let ground = Ground::redis().await;
    let [a] = ground.nodes(["a"]).await;
    let mut other = params("b", &ground.backend, TIMEOUT);
    other.cluster_name = "other".to_owned();
    let mut elsewhere = params("c", &ground.backend, TIMEOUT);
    if let Backend::Redis(redis) = &mut elsewhere.backend {
        redis.db = 3;
    }
    let others = [other, elsewhere].map(Node::start);
    for node in &others {
        node.ready().await;
    }
    let (report, told) = reporter();
    a.cluster
        .forward(Forward::Broadcast {
            parcel: Bytes::from_static(b"mine").into(),
            report,
        })
        .await;
    assert_eq!(told.await.unwrap().unwrap(), [0]);
    assert_eq!(a.cluster.nodes().await.unwrap().len(), 1);
}
