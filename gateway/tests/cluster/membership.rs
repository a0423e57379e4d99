//! Who counts as a node of the cluster, and what of its users is seen: crash, farewell, namesakes, overflow, passwords.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::support::ground::{Ground, TIMEOUT};
use crate::support::nodes::{Node, Recorder, params, within};
use crate::support::redis::RedisServer;
use tokio::time::Instant;
use wsc_gateway::cluster::routing::Policy;
use wsc_gateway::cluster::{Backend, ClusterError, ClusterParams, Link, Password, RedisParams};
use wsc_gateway::protocol::Epoch;

over_all!(
    Ground:
    a_crashed_node_is_gone_from_every_view_within_the_node_timeout,
    sessions_of_a_dead_node_are_told_to_the_one_that_reaps_it,
    every_node_names_the_same_owner_and_another_when_it_dies,
    users_of_a_node_that_is_still_writing_are_reached_all_the_same,
    a_node_that_leaves_is_gone_at_once,
    a_node_keeps_its_lease_and_can_leave_while_its_directory_is_being_written,
    leftovers_of_nodes_that_died_unseen_are_reaped,
    an_older_process_of_the_same_name_is_fenced,
    a_late_leave_of_the_older_process_changes_nothing,
    an_overflow_of_changes_ends_in_a_right_directory,
);

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
    let reaped = |node: &Node| node.cluster.stats().reaped.load(Relaxed);
    within(5, "a survivor reaps", async || reaped(&b) + reaped(&c) == 1).await;
    let took = start.elapsed();
    assert!(
        took <= ground.timeout + Duration::from_millis(200),
        "{took:?}"
    );
    if let Some(server) = &ground.server {
        assert_eq!(server.cli(&["keys", "*user:bob"]), "");
        assert_eq!(server.cli(&["keys", "*at:bob"]), "");
    }
}

async fn sessions_of_a_dead_node_are_told_to_the_one_that_reaps_it(ground: Ground) {
    let [a, b, c] = ground.nodes(["a", "b", "c"]).await;
    let users: Vec<String> = (0..300).map(|n| format!("u{n:03}")).collect();
    for user in &users {
        a.up(user);
    }
    b.up("eve");
    within(10, "all are online", async || b.online().await.len() == 301).await;
    a.crash().await;
    let told = |node: &Node| node.hub.lost.lock().clone();
    within(10, "everybody is told of", async || {
        told(&b).len() + told(&c).len() >= 300
    })
    .await;
    let (mut by_b, by_c) = (told(&b), told(&c));
    assert!(by_b.is_empty() || by_c.is_empty(), "by one of them");
    by_b.extend(by_c);
    by_b.sort();
    assert_eq!(by_b, users, "each session once, since that one lived");
}

/// For every policy; only the order of asking tells a random pick from another.
async fn every_node_names_the_same_owner_and_another_when_it_dies(ground: Ground) {
    for policy in [Policy::Hash, Policy::Random, Policy::RoundRobin] {
        let start = |name: &str| {
            Node::start(ClusterParams {
                routing: policy,
                ..params(name, &ground.backend, ground.timeout)
            })
        };
        let mut nodes = Vec::from(["a", "b", "c"].map(start));
        for node in &nodes {
            node.ready().await;
            node.knows(2).await;
        }
        let mut owners = HashSet::new();
        for work in 0..60 {
            let work = format!("queue {work} {policy:?}");
            let owner = nodes[work.len() % 3].cluster.owner_of(&work).await.unwrap();
            for node in &nodes {
                assert_eq!(node.cluster.owner_of(&work).await.unwrap(), owner);
            }
            owners.insert(owner);
        }
        assert_eq!(owners.len(), 3, "{policy:?} gives everybody some");
        let work = format!("queue 7 {policy:?}");
        let owner = nodes[0].cluster.owner_of(&work).await.unwrap();
        let at = ["a", "b", "c"]
            .iter()
            .position(|name| *name == owner.as_str());
        nodes.remove(at.unwrap()).crash().await;
        within(10, "the survivors know", async || {
            nodes.iter().all(|node| node.peers().len() == 1)
        })
        .await;
        let next = nodes[0].cluster.owner_of(&work).await.unwrap();
        assert_ne!(next, owner);
        assert_eq!(nodes[1].cluster.owner_of(&work).await.unwrap(), next);
        for node in nodes {
            node.cluster.leave().await.unwrap();
            node.crash().await;
        }
    }
}

async fn users_of_a_node_that_is_still_writing_are_reached_all_the_same(ground: Ground) {
    let [b] = ground.nodes(["b"]).await;
    within(5, "alone and settled", async || b.cluster.is_settled()).await;
    let hub = Arc::new(Recorder::default());
    hub.held.send_replace(true);
    let a = Node::over(hub.clone(), params("a", &ground.backend, ground.timeout));
    a.up("bob");
    within(5, "it is known to be writing", async || {
        b.peers().len() == 1 && !b.cluster.is_settled()
    })
    .await;
    assert_eq!(b.send(&["bob"], "hello").await.unwrap(), [1]);
    within(5, "it arrives", async || a.hub.got("bob") == ["hello"]).await;
    hub.held.send_replace(false);
    within(5, "who is nowhere is nowhere", async || {
        b.cluster.is_settled()
    })
    .await;
    assert_eq!(b.send(&["eve"], "hello").await.unwrap(), [0]);
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

async fn a_node_keeps_its_lease_and_can_leave_while_its_directory_is_being_written(ground: Ground) {
    let [b] = ground.nodes(["b"]).await;
    let hub = Arc::new(Recorder::default());
    hub.held.send_replace(true);
    let a = Node::over(hub, params("a", &ground.backend, ground.timeout));
    b.knows(1).await;
    within(5, "it knows its epoch", async || {
        a.cluster.status().epoch > Epoch(0)
    })
    .await;
    let epoch = a.cluster.status().epoch;
    let long_after = Instant::now() + 2 * ground.timeout;
    within(10, "longer than a lease", async || {
        let nodes = b.cluster.nodes().await.unwrap();
        assert_eq!(nodes.len(), 2, "its lease is renewed");
        Instant::now() > long_after
    })
    .await;
    assert_eq!(a.cluster.status().epoch, epoch);
    assert_eq!(a.cluster.stats().resyncs.load(Relaxed), 0, "still writing");
    a.cluster.leave().await.unwrap();
    assert_eq!(b.cluster.nodes().await.unwrap().len(), 1);
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
        assert_eq!(server.cli(&["keys", "*user:bob"]), "");
        assert_eq!(server.cli(&["keys", "*at:bob"]), "");
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
    let stats = a.cluster.stats();
    within(20, "the directory is replaced", async || {
        stats.resyncs.load(Relaxed) > 1
    })
    .await;
    within(20, "nothing waits", async || {
        stats.directory_queue.load(Relaxed) == 0
    })
    .await;
    within(20, "only what the hub holds", async || {
        b.online().await == ["bob"]
    })
    .await;
}

#[tokio::test]
async fn a_user_whose_entry_cannot_be_written_does_not_keep_the_others_from_being_found() {
    let ground = Ground::redis().await;
    let server = ground.server.as_ref().unwrap();
    server.cli(&["set", "wsc:{test}:user:bad", "not a hash"]);
    let [a, b] = ground.nodes(["a", "b"]).await;
    for user in ["amy", "bad", "cat"] {
        a.up(user);
    }
    b.sees_online(&["amy", "cat"]).await;
    let resyncs = a.cluster.stats().resyncs.load(Relaxed);
    server.cli(&["client", "kill", "type", "normal"]);
    within(10, "written anew as a whole", async || {
        a.is_linked() && a.cluster.stats().resyncs.load(Relaxed) > resyncs
    })
    .await;
    b.sees_online(&["amy", "cat"]).await;
    let dan = a.up("dan");
    b.sees_online(&["amy", "cat", "dan"]).await;
    a.down(dan);
    b.sees_online(&["amy", "cat"]).await;
}

#[tokio::test]
async fn a_listed_node_that_does_not_hear_causes_no_storm_of_looks() {
    let ground = Ground::redis().await;
    let server = ground.server.as_ref().unwrap();
    let [a, b] = ground.nodes(["a", "b"]).await;
    b.up("bob");
    a.sees_online(&["bob"]).await;
    b.crash().await;
    let looks = || -> u32 {
        let all = server.cli(&["info", "commandstats"]);
        let line = all
            .lines()
            .find(|line| line.starts_with("cmdstat_smembers:"));
        let calls = line.and_then(|line| line.split_once("calls=")).unwrap().1;
        calls.split_once(',').unwrap().0.parse().unwrap()
    };
    let (before, start) = (looks(), Instant::now());
    within(5, "messages for half a second", async || {
        assert_eq!(a.send(&["bob"], "-").await.unwrap(), [0]);
        start.elapsed() > TIMEOUT / 3
    })
    .await;
    let looks = looks() - before;
    assert!(looks <= 8, "{looks}: two for each look by event or by time");
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
