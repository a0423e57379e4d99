//! Who is online: one word at a time for each user, whatever nodes do, and the last one is right.

use std::collections::HashMap;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use wsc_gateway::cluster::{Cluster, Place, Presence};
use wsc_gateway::protocol::SessionId;

use crate::support::ground::Ground;
use crate::support::nodes::{Node, user, within};

over_both!(
    Ground:
    words_about_a_user_alternate_and_the_last_one_is_right_whatever_nodes_do,
    who_reconnects_within_the_delay_on_another_node_was_never_gone,
    users_of_a_dead_node_are_offline_once_it_is_reaped,
    a_mark_is_kept_for_each_reader,
);

/// Settles for the cluster, as one of its nodes does.
struct Settler(CancellationToken);

impl Drop for Settler {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn settle(cluster: Cluster) -> Settler {
    let cancel = CancellationToken::new();
    let until = cancel.clone();
    tokio::spawn(until.run_until_cancelled_owned(async move {
        loop {
            let _down = cluster.presence().settle().await;
            sleep(Duration::from_millis(10)).await;
        }
    }));
    Settler(cancel)
}

async fn history(node: &Node) -> Vec<Presence> {
    let mut all = Vec::new();
    let mut after = Place::default();
    loop {
        let page = node.cluster.presence().changes(after, 100).await;
        let page = page.unwrap_or_default();
        let Some((last, _)) = page.last() else {
            return all;
        };
        after = *last;
        all.extend(page.into_iter().map(|(_, change)| change));
    }
}

/// What was said of a user, oldest first: `+` and `-`.
async fn said(node: &Node, name: &str) -> String {
    let of_user = |change: &Presence| change.user.as_str() == name;
    let history = history(node).await.into_iter().filter(of_user);
    history
        .map(|change| if change.online { '+' } else { '-' })
        .collect()
}

fn check(history: &[Presence]) {
    let mut last: HashMap<&str, &Presence> = HashMap::new();
    for change in history {
        match last.insert(change.user.as_str(), change) {
            None => assert!(change.online, "the first word: {change:?}"),
            Some(before) => {
                assert_ne!(before.online, change.online, "{before:?} {change:?}");
                assert!(
                    before.generation < change.generation,
                    "{before:?} {change:?}"
                );
            }
        }
    }
}

async fn words_about_a_user_alternate_and_the_last_one_is_right_whatever_nodes_do(ground: Ground) {
    const USERS: usize = 8;
    let nodes: Vec<Node> = ground.nodes(["a", "b", "c"]).await.into();
    let _settler = settle(nodes[2].cluster.clone());
    let mut random = StdRng::seed_from_u64(7);
    let mut sessions: Vec<(usize, String, SessionId)> = Vec::new();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        if sessions.len() < 12 && random.random_bool(0.5) {
            let (node, name) = (random.random_range(0..3), random.random_range(0..USERS));
            let name = format!("u{name}");
            let session = nodes[node].up(&name);
            sessions.push((node, name, session));
        } else if !sessions.is_empty() {
            let (node, _, session) = sessions.swap_remove(random.random_range(0..sessions.len()));
            nodes[node].down(session);
        }
        sleep(Duration::from_millis(random.random_range(0..60))).await;
    }
    // One node dies with whoever is on it.
    let mut nodes = nodes;
    nodes.remove(0).crash().await;
    sessions.retain(|(node, ..)| *node != 0);
    let wanted: Vec<bool> = (0..USERS)
        .map(|number| {
            sessions
                .iter()
                .any(|(_, name, _)| *name == format!("u{number}"))
        })
        .collect();
    let users: Vec<_> = (0..USERS)
        .map(|number| user(&format!("u{number}")))
        .collect();
    within(15, "the last word is right", async || {
        let states = nodes[0].cluster.presence().states(&users).await.unwrap();
        states.iter().map(|state| state.online).collect::<Vec<_>>() == wanted
    })
    .await;
    let history = history(&nodes[1]).await;
    assert!(history.len() > USERS, "{}", history.len());
    check(&history);
    let states = nodes[1].cluster.presence().states(&users).await.unwrap();
    for state in states {
        let last = history.iter().rfind(|change| change.user == state.user);
        assert_eq!(last, Some(&state));
    }
}

async fn who_reconnects_within_the_delay_on_another_node_was_never_gone(ground: Ground) {
    let [a, b] = ground.nodes(["a", "b"]).await;
    let _settler = settle(b.cluster.clone());
    let bob = a.up("bob");
    within(5, "bob is online", async || said(&b, "bob").await == "+").await;
    a.down(bob);
    a.sees_online(&[]).await;
    let bob = b.up("bob");
    let eve = a.up("eve");
    a.down(eve);
    within(5, "eve is gone", async || said(&b, "eve").await == "+-").await;
    assert_eq!(
        said(&a, "bob").await,
        "+",
        "the other's delay is over, bob is there"
    );
    b.down(bob);
    within(5, "bob is gone", async || said(&a, "bob").await == "+-").await;
}

async fn users_of_a_dead_node_are_offline_once_it_is_reaped(ground: Ground) {
    let [a, b, c] = ground.nodes(["a", "b", "c"]).await;
    let _settler = settle(c.cluster.clone());
    a.up("bob");
    a.up("eve");
    within(5, "both are online", async || history(&b).await.len() == 2).await;
    a.crash().await;
    b.up("eve");
    within(10, "bob is gone", async || said(&c, "bob").await == "+-").await;
    assert_eq!(said(&c, "eve").await, "+", "she came back before that");
}

async fn a_mark_is_kept_for_each_reader(ground: Ground) {
    let [a, b] = ground.nodes(["a", "b"]).await;
    let book = a.cluster.presence();
    assert_eq!(book.mark("one").await.unwrap(), None);
    let place = Place {
        millis: 7,
        number: 3,
    };
    book.set_mark("one", place).await.unwrap();
    assert_eq!(b.cluster.presence().mark("one").await.unwrap(), Some(place));
    assert_eq!(b.cluster.presence().mark("two").await.unwrap(), None);
}

/// Users who went while Redis was away, and of whom it then knows nothing, are told of all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_left_while_redis_lost_its_data_is_told_to_be_offline() {
    let mut ground = Ground::redis().await;
    let [a, b] = ground.nodes(["a", "b"]).await;
    let _settler = settle(b.cluster.clone());
    let bob = a.up("bob");
    a.up("eve");
    within(5, "both are online", async || history(&b).await.len() == 2).await;
    let server = ground.server.as_mut().unwrap();
    server.kill();
    server.wipe();
    a.down(bob);
    server.restart();
    within(15, "bob is gone", async || said(&b, "bob").await == "-").await;
    assert_eq!(
        said(&b, "eve").await,
        "+",
        "told anew, with a larger generation"
    );
}
