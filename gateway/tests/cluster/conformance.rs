//! One suite for every implementation of the cluster's interfaces: memory, Redis and etcd must not be told apart by it.

use std::sync::Arc;
use std::time::Duration;

use crate::support::nodes::{record, user, within};
use crate::support::redis::RedisServer;
use crate::support::subject::{Kind, LEASE, Mailbox, Subject, down, info, redis_node_with};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wsc_gateway::cluster::redis::{RedisDirectory, RedisRegistry};
use wsc_gateway::cluster::{
    Claim, ClusterError, Destination, Directory, NodeRegistry, RedisParams, SessionChange,
    SessionRecord,
};
use wsc_gateway::protocol::{Epoch, NodeId, UserId};

over_all!(
    Subject:
    every_claim_gives_a_newer_epoch_and_fences_the_former,
    a_lease_lives_as_long_as_it_is_renewed,
    a_name_is_claimed_back_only_while_nobody_newer_holds_it,
    a_claim_whose_answer_was_lost_is_given_again_and_fences_nobody,
    a_late_leave_does_not_remove_a_newer_registration,
    a_user_is_on_a_node_from_the_first_session_to_the_last,
    changes_that_are_repeated_change_nothing,
    entries_without_a_live_lease_of_their_epoch_are_void,
    replacing_leaves_exactly_what_is_given,
    reaping_removes_the_dead_and_spares_the_living,
    ten_thousand_users_are_paged_in_order_without_gaps,
    a_holder_without_users_is_none,
    what_a_dead_holder_left_is_read_before_it_is_reaped,
    work_stays_with_whom_it_was_given_to_while_they_live,
    sessions_come_oldest_first_and_name_their_holder,
    envelopes_reach_who_they_are_for_in_order_and_are_counted,
);

async fn what_a_dead_holder_left_is_read_before_it_is_reaped(s: Subject) {
    let (a, b) = (s.alive("a").await, s.alive("b").await);
    let users: Vec<String> = (0..600).map(|n| format!("u{n:03}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    s.put(&a, &users).await;
    s.put(&b, &users[..3]).await;
    s.registry.leave(&a.0, a.1).await.unwrap();
    let (mut left, mut after) = (Vec::new(), None);
    loop {
        let page = s.directory.left_by(&a.0, a.1, after.as_ref()).await;
        let (sessions, next) = page.unwrap();
        left.extend(sessions);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert!(
        left.iter()
            .all(|record| record.node == a.0 && record.epoch == a.1)
    );
    let mut found: Vec<String> = left.iter().map(|record| record.user.to_string()).collect();
    found.sort();
    assert_eq!(found, users);
    s.directory.reap(&a.0, a.1).await.unwrap();
    let (sessions, next) = s.directory.left_by(&a.0, a.1, None).await.unwrap();
    assert!(sessions.is_empty() && next.is_none());
}

async fn work_stays_with_whom_it_was_given_to_while_they_live(s: Subject) {
    let holder = |name: &str, epoch| (NodeId::new(name), Epoch(epoch));
    let (a, b, c) = (holder("a", 1), holder("b", 1), holder("c", 1));
    let all = [a.clone(), b.clone(), c.clone()];
    let ask = async |work: &str, pick: &(NodeId, Epoch), live: &[(NodeId, Epoch)]| {
        s.assignments.assign(work, pick, live).await.unwrap()
    };
    assert_eq!(ask("w", &b, &all).await, b, "nobody had it");
    assert_eq!(ask("w", &a, &all).await, b, "who had it keeps it");
    assert_eq!(ask("v", &a, &all).await, a, "other work is another matter");
    let without_b = [a.clone(), holder("b", 2), c.clone()];
    assert_eq!(
        ask("w", &c, &without_b).await,
        c,
        "that incarnation is over"
    );
    assert_eq!(ask("w", &a, &all).await, c);
}

async fn every_claim_gives_a_newer_epoch_and_fences_the_former(s: Subject) {
    let (node, first) = s.alive("a").await;
    assert!(s.registry.renew(&info("a", first.0)).await.unwrap());
    let (_, second) = s.alive("a").await;
    assert!(second > first);
    let fenced = s.registry.renew(&info("a", first.0)).await.unwrap_err();
    assert!(
        matches!(&fenced, ClusterError::Fenced { node: n, epoch } if *n == node && *epoch == second),
        "{fenced:?}"
    );
    let nodes = s.registry.nodes().await.unwrap();
    assert_eq!(nodes, [info("a", second.0)]);
}

async fn a_lease_lives_as_long_as_it_is_renewed(s: Subject) {
    let epoch = s.hasty.claim(&info("a", 0), Claim::Take).await.unwrap();
    s.alive("b").await;
    assert!(
        s.registry.renew(&info("a", epoch.0)).await.unwrap(),
        "now with a long lease"
    );
    let epoch = s.hasty.claim(&info("c", 0), Claim::Take).await.unwrap();
    let names = async || -> Vec<String> {
        let nodes = s.registry.nodes().await.unwrap();
        nodes.iter().map(|info| info.node.to_string()).collect()
    };
    within(5, "the lease of c runs out", async || {
        names().await == ["a", "b"]
    })
    .await;
    assert!(!s.registry.renew(&info("c", epoch.0)).await.unwrap());
    assert_eq!(
        names().await,
        ["a", "b"],
        "a lease that ran out is not renewed"
    );
}

async fn a_name_is_claimed_back_only_while_nobody_newer_holds_it(s: Subject) {
    let old = s.hasty.claim(&info("a", 0), Claim::Take).await.unwrap();
    let held = s.registry.claim(&info("a", 0), Claim::Take).await.unwrap();
    let refused = s
        .registry
        .claim(&info("a", old.0), Claim::IfVacant)
        .await
        .unwrap_err();
    assert!(matches!(refused, ClusterError::Fenced { epoch, .. } if epoch == held));
    s.registry.leave(&NodeId::new("a"), held).await.unwrap();
    let back = s
        .registry
        .claim(&info("a", old.0), Claim::IfVacant)
        .await
        .unwrap();
    assert!(
        back > held,
        "an epoch is newer than any that the name has had, also after it left"
    );
}

async fn a_claim_whose_answer_was_lost_is_given_again_and_fences_nobody(s: Subject) {
    let [own, other] = &s.rivals;
    let known = info("a", 1);
    let unheard = own.claim(&known, Claim::IfVacant).await.unwrap();
    let renewed = own.renew(&known).await;
    assert!(!renewed.unwrap(), "not renewed, and not fenced by itself");
    let again = own.claim(&known, Claim::IfVacant).await.unwrap();
    assert_eq!(again, unheard, "the same epoch: its entries stay valid");
    assert!(own.renew(&info("a", again.0)).await.unwrap());
    for registry in [other, &s.registry] {
        for refused in [
            registry.renew(&known).await.map(drop),
            registry.claim(&known, Claim::IfVacant).await.map(drop),
        ] {
            let refused = refused.unwrap_err();
            assert!(matches!(refused, ClusterError::Fenced { epoch, .. } if epoch == again));
        }
    }
}

#[tokio::test]
async fn a_lease_that_no_gateway_wrote_is_claimed() {
    let s = Subject::redis().await;
    let Kind::Redis(server, _) = &s.kind else {
        unreachable!()
    };
    assert_eq!(server.cli(&["set", "wsc:{test}:lease:a", "foreign"]), "OK");
    assert!(!s.registry.renew(&info("a", 5)).await.unwrap());
    let epoch = s
        .registry
        .claim(&info("a", 5), Claim::IfVacant)
        .await
        .unwrap();
    assert_eq!(
        s.registry.nodes().await.unwrap(),
        [info("a", epoch.0)],
        "it is this node's now"
    );
}

async fn a_late_leave_does_not_remove_a_newer_registration(s: Subject) {
    let (node, old) = s.alive("a").await;
    let (_, new) = s.alive("a").await;
    s.registry.leave(&node, old).await.unwrap();
    assert_eq!(s.registry.nodes().await.unwrap().len(), 1);
    s.registry.leave(&node, new).await.unwrap();
    assert_eq!(s.registry.nodes().await.unwrap().len(), 0);
}

async fn a_user_is_on_a_node_from_the_first_session_to_the_last(s: Subject) {
    let (a, b) = (s.alive("a").await, s.alive("b").await);
    let bobs: Vec<SessionRecord> = (0..2).map(|_| record("bob")).collect();
    let up = |record: &SessionRecord| [SessionChange::Up(record.clone())];
    let apply = async |at: &(NodeId, Epoch), changes: &[SessionChange]| {
        s.directory.apply(&at.0, at.1, changes).await.unwrap()
    };
    assert_eq!(
        apply(&a, &up(&bobs[0])).await,
        [user("bob")],
        "the first session"
    );
    assert_eq!(
        apply(&a, &up(&bobs[1])).await,
        Vec::<UserId>::new(),
        "the second"
    );
    s.put(&b, &["bob"]).await;
    assert_eq!(s.nodes_of("bob").await, ["a", "b"]);
    assert_eq!(
        apply(&a, &[down(&bobs[0])]).await,
        Vec::<UserId>::new(),
        "one is left"
    );
    assert_eq!(s.nodes_of("bob").await, ["a", "b"]);
    assert_eq!(
        apply(&a, &[down(&bobs[1])]).await,
        [user("bob")],
        "the last one went"
    );
    assert_eq!(s.nodes_of("bob").await, ["b"]);
    assert_eq!(s.page(None, 10).await, (vec!["bob".to_owned()], false, 1));
    assert_eq!(s.nodes_of("nobody").await, Vec::<String>::new());
}

async fn changes_that_are_repeated_change_nothing(s: Subject) {
    let a = s.alive("a").await;
    let bob = record("bob");
    let up = SessionChange::Up(bob.clone());
    let twice = [up.clone(), up.clone(), down(&bob), down(&bob)];
    assert_eq!(
        s.directory.apply(&a.0, a.1, &twice).await.unwrap(),
        [user("bob"), user("bob")]
    );
    assert_eq!(s.page(None, 10).await, (vec![], false, 0));
    s.directory
        .apply(&a.0, a.1, &[up.clone(), up])
        .await
        .unwrap();
    assert_eq!(
        s.directory.sessions_of(&user("bob")).await.unwrap().len(),
        1
    );
    s.directory.apply(&a.0, a.1, &[down(&bob)]).await.unwrap();
    assert_eq!(s.nodes_of("bob").await, Vec::<String>::new());
}

async fn entries_without_a_live_lease_of_their_epoch_are_void(s: Subject) {
    let (old, b) = (s.alive("a").await, s.alive("b").await);
    s.put(&old, &["bob", "eve"]).await;
    s.put(&b, &["eve", "zoe"]).await;
    let new = s.alive("a").await;
    assert_eq!(
        s.nodes_of("bob").await,
        Vec::<String>::new(),
        "the epoch is over"
    );
    assert_eq!(s.nodes_of("eve").await, ["b"]);
    assert_eq!(s.directory.sessions_of(&user("bob")).await.unwrap(), []);
    let both = ["eve", "zoe"].map(ToOwned::to_owned).to_vec();
    assert_eq!(s.page(None, 10).await, (both, false, 2));
    assert_eq!(s.page(None, 1).await, (vec!["eve".to_owned()], true, 2));
    s.put(&new, &["bob"]).await;
    assert_eq!(s.nodes_of("bob").await, ["a"]);
    s.registry.leave(&b.0, b.1).await.unwrap();
    assert_eq!(s.page(None, 10).await, (vec!["bob".to_owned()], false, 1));
}

async fn replacing_leaves_exactly_what_is_given(s: Subject) {
    let (a, b) = (s.alive("a").await, s.alive("b").await);
    let before = s.put(&a, &["bob", "bob", "eve"]).await;
    s.put(&b, &["eve"]).await;
    let kept = vec![before[0].clone(), record("new"), record("new")];
    s.directory.replace(&a.0, a.1, kept.clone()).await.unwrap();
    assert_eq!(
        s.directory.sessions_of(&user("bob")).await.unwrap().len(),
        1
    );
    assert_eq!(
        s.nodes_of("eve").await,
        ["b"],
        "another node's entries are untouched"
    );
    let users = ["bob", "eve", "new"].map(ToOwned::to_owned).to_vec();
    assert_eq!(s.page(None, 10).await, (users, false, 3));
    s.directory
        .apply(&a.0, a.1, &[down(&kept[1])])
        .await
        .unwrap();
    assert_eq!(s.nodes_of("new").await, ["a"], "one of two is left");
    s.directory
        .apply(&a.0, a.1, &[down(&kept[2])])
        .await
        .unwrap();
    assert_eq!(s.nodes_of("new").await, Vec::<String>::new());
    s.directory.replace(&a.0, a.1, Vec::new()).await.unwrap();
    assert_eq!(s.page(None, 10).await, (vec!["eve".to_owned()], false, 1));
    assert_eq!(s.directory.holders().await.unwrap(), [b]);
}

async fn reaping_removes_the_dead_and_spares_the_living(s: Subject) {
    let (dead, b) = (s.alive("a").await, s.alive("b").await);
    let many: Vec<String> = (0..600).map(|n| format!("u{n:04}")).collect();
    s.put(&dead, &many.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    s.put(&b, &["u0001"]).await;
    s.directory.reap(&dead.0, dead.1).await.unwrap();
    assert_eq!(s.page(None, 0).await.2, 600, "its lease lives");
    let alive = s.alive("a").await;
    s.put(&alive, &["u0002"]).await;
    let mut holders = s.directory.holders().await.unwrap();
    holders.sort();
    assert_eq!(holders, [dead.clone(), alive.clone(), b.clone()]);
    s.directory.reap(&dead.0, dead.1).await.unwrap();
    s.directory.reap(&dead.0, dead.1).await.unwrap();
    let users = ["u0001", "u0002"].map(ToOwned::to_owned).to_vec();
    assert_eq!(s.page(None, 10).await, (users, false, 2));
    let mut holders = s.directory.holders().await.unwrap();
    holders.sort();
    assert_eq!(holders, [alive, b]);
    if let Kind::Redis(server, _) = &s.kind {
        assert_eq!(
            server.cli(&["--raw", "keys", "*user:u0003*"]),
            "",
            "nothing is left of a reaped user"
        );
    }
}

async fn ten_thousand_users_are_paged_in_order_without_gaps(s: Subject) {
    let (a, b) = (s.alive("a").await, s.alive("b").await);
    let all: Vec<String> = (0..10_000).map(|n| format!("user-{n:05}")).collect();
    for (node, from) in [(&a, 0), (&b, 1)] {
        let every_third = all
            .iter()
            .skip(from)
            .step_by(3)
            .chain(all.iter().skip(2).step_by(3));
        let records: Vec<SessionRecord> = every_third.map(|id| record(id)).collect();
        s.directory.replace(&node.0, node.1, records).await.unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), None::<String>);
    loop {
        let (users, more, total) = s.page(after.as_deref(), 997).await;
        assert_eq!(total, 10_000);
        after = users.last().cloned();
        seen.extend(users);
        if !more {
            break;
        }
    }
    assert_eq!(seen, all);
    // The same while a dead node waits for its reaper: only what the living hold.
    s.registry.leave(&b.0, b.1).await.unwrap();
    let on_a = all.iter().enumerate().filter(|(n, _)| n % 3 != 1).count() as u64;
    assert_eq!(s.page(Some("user-09990"), 100).await.0.len(), 6);
    assert_eq!(s.page(None, 1).await.2, on_a);
    let c = s.alive("c").await;
    s.put(&c, &["user-00000", "zoe"]).await;
    let total = s.page(None, 1).await.2;
    assert!((on_a + 1..=on_a + 2).contains(&total), "a bound: {total}");
    if let Kind::Redis(server, _) = &s.kind {
        let commands = server.cli(&["info", "commandstats"]);
        assert!(commands.contains("cmdstat_zcard"), "{commands}");
        assert!(!commands.contains("union"), "no union over everybody");
    }
}

async fn a_holder_without_users_is_none(s: Subject) {
    let a = s.alive("a").await;
    let bob = s.put(&a, &["bob"]).await;
    let gone = [down(&bob[0])];
    s.directory.apply(&a.0, a.1, &gone).await.unwrap();
    s.directory.replace(&a.0, a.1, Vec::new()).await.unwrap();
    assert_eq!(s.directory.holders().await.unwrap(), []);
}

async fn sessions_come_oldest_first_and_name_their_holder(s: Subject) {
    let (a, b) = (s.alive("a").await, s.alive("b").await);
    let (mut young, mut old) = (record("bob"), record("bob"));
    (young.connected_at, old.connected_at) = (20, 10);
    old.device = Some("phone".into());
    s.directory
        .apply(&a.0, a.1, &[SessionChange::Up(young.clone())])
        .await
        .unwrap();
    s.directory
        .apply(&b.0, b.1, &[SessionChange::Up(old.clone())])
        .await
        .unwrap();
    let young = SessionRecord {
        node: a.0,
        epoch: a.1,
        ..young
    };
    let old = SessionRecord {
        node: b.0,
        epoch: b.1,
        ..old
    };
    assert_eq!(
        s.directory.sessions_of(&user("bob")).await.unwrap(),
        [old, young]
    );
}

async fn envelopes_reach_who_they_are_for_in_order_and_are_counted(mut s: Subject) {
    let (a, b) = (s.listen("a").await, s.listen("b").await);
    let to = |node: &str| Destination::Node(NodeId::new(node));
    let others = match s.kind {
        Kind::Memory(..) => 2,
        // One more node, which the registry writes its shadows as.
        Kind::Redis(..) if s.etcd.is_some() => 4,
        Kind::Redis(..) => 3,
    };
    let mut batch = vec![(to("nobody"), Bytes::from_static(b"lost"))];
    for n in 0..1000 {
        let to = if n % 10 == 0 {
            Destination::All
        } else {
            to("a")
        };
        batch.push((to, Bytes::from(n.to_string())));
    }
    let counts = s.broker.publish(batch).await.unwrap();
    assert_eq!(counts.len(), 1001);
    assert_eq!(counts[..3], [0, others, 1]);
    let sent: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    within(5, "everything arrives in order", async || {
        *a.0.lock() == sent
    })
    .await;
    let tenths: Vec<String> = (0..1000).step_by(10).map(|n| n.to_string()).collect();
    within(5, "only what is for all", async || *b.0.lock() == tenths).await;
}

#[tokio::test]
async fn a_replacement_outlives_a_redis_that_is_late() {
    let server = RedisServer::start();
    let mut redis = RedisParams::at("127.0.0.1", server.port);
    redis.deadline = Duration::from_millis(500);
    let (cancel, mailbox) = (CancellationToken::new(), Arc::new(Mailbox::default()));
    let link = redis_node_with(&redis, "a", mailbox, &cancel).await;
    let registry = RedisRegistry::new(&link, LEASE);
    let epoch = registry.claim(&info("a", 0), Claim::Take).await.unwrap();
    let directory = RedisDirectory::new(&link);
    let records: Vec<SessionRecord> = (0..5_000).map(|n| record(&format!("u{n}"))).collect();
    let node = NodeId::new("a");
    let stall = async {
        let zcard = ["zcard", "wsc:{test}:online"];
        within(5, "it has begun", async || server.cli(&zcard) != "0").await;
        server.pause();
        tokio::time::sleep(3 * redis.deadline).await;
        server.resume();
    };
    let replace = Directory::replace(&directory, &node, epoch, records);
    let (replaced, ()) = tokio::join!(replace, stall);
    replaced.unwrap();
    let page = Directory::online(&directory, None, 1).await.unwrap();
    assert_eq!(page.total, 5_000);
}

#[tokio::test]
async fn an_epoch_is_newer_than_the_last_even_if_the_clock_has_stepped_back() {
    let s = Subject::redis().await;
    let Kind::Redis(server, _) = &s.kind else {
        unreachable!()
    };
    let future = "8000000000000000";
    assert_eq!(server.cli(&["set", "wsc:{test}:epoch:a", future]), "OK");
    let (_, epoch) = s.alive("a").await;
    assert_eq!(epoch, Epoch(8_000_000_000_000_001));
    assert_eq!(
        s.registry.nodes().await.unwrap(),
        [info("a", epoch.0)],
        "exact to the last digit"
    );
    assert!(s.registry.renew(&info("a", epoch.0)).await.unwrap());
}
