//! How a gateway leaves.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use wsc_gateway::admin::Phase;
use wsc_gateway::security::Scopes;

use crate::client::Client;
use crate::redis::RedisServer;
use crate::sandbox::{DEADLINE, alone, cluster, eventually, token};

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_told_over_the_window_and_the_port_is_closed() {
    let node = alone(&["drain.window=2s", "drain.unreadyDelay=500ms"]).await;
    assert!(node.ready().await);
    let mut clients = Vec::new();
    for index in 0..10 {
        clients.push(node.connect(&format!("user-{index}")).await);
    }
    let gateway = node.0.clone();
    let began = Instant::now();
    let draining = tokio::task::spawn(async move { gateway.drain().await });
    eventually("the node is unready", || async { !node.ready().await }).await;
    let late = node.connect("late").await;
    clients.push(late);
    let told = clients.into_iter().map(|mut client| {
        tokio::task::spawn(async move {
            let (before, code) = client.closed().await;
            assert_eq!(
                (before.last().unwrap()["type"].as_str(), code),
                (Some("reconnect"), 1012)
            );
            began.elapsed()
        })
    });
    let mut times = Vec::new();
    for told in told.collect::<Vec<_>>() {
        times.push(told.await.unwrap());
    }
    times.sort();
    assert!(
        times[0] >= Duration::from_millis(450),
        "before peers could know: {times:?}"
    );
    assert!(
        times[times.len() - 1].checked_sub(times[0]).unwrap() >= Duration::from_millis(1200),
        "not spread: {times:?}"
    );
    tokio::time::timeout(DEADLINE, draining)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(*node.0.phase().borrow(), Phase::Stopped);
    assert!(
        Client::connect(&node.ws(), &token("alice", Scopes::NONE))
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_to_go_sooner_than_the_rate_allows_is_told_to_wait_so_long() {
    // Three seconds are there to tell them, one a second on each of two shards.
    let sets = [
        "drain.window=1s",
        "drain.ratePerSecond=2",
        "drain.deadline=5s",
    ];
    let node = alone(&sets).await;
    let mut clients = Vec::new();
    for index in 0..12 {
        clients.push(node.connect(&format!("user-{index}")).await);
    }
    let gateway = node.0.clone();
    let began = Instant::now();
    let draining = tokio::task::spawn(async move { gateway.drain().await });
    let told = clients.into_iter().map(|mut client| {
        tokio::task::spawn(async move {
            let (before, _) = client.closed().await;
            let after = before.last().unwrap()["data"]["after_ms"].as_u64().unwrap();
            began.elapsed() + Duration::from_millis(after)
        })
    });
    let mut back = Vec::new();
    for told in told.collect::<Vec<_>>() {
        back.push(told.await.unwrap());
    }
    back.sort();
    let spread = back[back.len() - 1].checked_sub(back[0]).unwrap();
    // About five seconds are planned; at the same moment all twelve would come within a third of one.
    assert!(spread >= Duration::from_secs(3), "{back:?}");
    draining.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_drain_at_the_same_time_share_the_rate() {
    let redis = RedisServer::start();
    let sets = [
        "drain.window=1s",
        "drain.unreadyDelay=3s",
        "drain.ratePerSecond=10",
        "drain.deadline=40s",
    ];
    let [one, two] = cluster(redis.port, &sets).await;
    let mut clients = Vec::new();
    for index in 0..30 {
        clients.push(one.connect(&format!("user-{index}")).await);
        clients.push(two.connect(&format!("user-{}", index + 30)).await);
    }
    let drains = async { tokio::join!(one.0.drain(), two.0.drain()) };
    let told = clients.into_iter().map(|mut client| {
        tokio::task::spawn(async move {
            client.closed().await;
            Instant::now()
        })
    });
    let told: Vec<_> = told.collect();
    drains.await;
    let mut times = Vec::new();
    for told in told {
        times.push(told.await.unwrap());
    }
    times.sort();
    let spread = times[times.len() - 1].duration_since(times[0]);
    // Ten a second of sixty: six seconds. Each at its own ten they would all be gone after three.
    assert!(spread > Duration::from_millis(4_500), "{spread:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_written_before_the_farewell() {
    let node = alone(&["drain.window=1s"]).await;
    let (mut alice, mut bob) = (node.connect("alice").await, node.connect("bob").await);
    for number in 0..100 {
        alice
            .feed(json!({"type": "n", "id": format!("n{number}"), "to": "bob", "content": number}))
            .await;
    }
    alice.flush().await;
    for _ in 0..100 {
        assert_eq!(alice.next().await["data"]["state"], "accepted");
    }
    node.0.drain().await;
    let (frames, code) = bob.closed().await;
    let numbers: Vec<_> = frames.iter().filter(|frame| frame["type"] == "n").collect();
    assert_eq!((numbers.len(), code), (100, 1012));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_answers_does_not_hold_up_the_drain() {
    let node = alone(&["drain.window=1s", "drain.deadline=5s"]).await;
    let _frozen = node.connect("frozen").await.into_inner();
    let began = Instant::now();
    node.0.drain().await;
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_can_ask_for_it_and_a_second_drain_waits_for_the_first() {
    // Long enough for the question about its end to come before that.
    let node = alone(&["drain.window=1s", "drain.unreadyDelay=2s"]).await;
    let url = format!("http://{}/drain", node.0.addresses().admin);
    let answer = reqwest::Client::new().post(url).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    tokio::time::timeout(DEADLINE, node.0.drain_requested())
        .await
        .unwrap();
    let drained = format!("http://{}/drained", node.0.addresses().admin);
    let ((), (), told) = tokio::join!(node.0.drain(), node.0.drain(), reqwest::get(drained));
    let told: serde_json::Value = told.unwrap().json().await.unwrap();
    assert_eq!(told["drained"], true);
    assert_eq!(*node.0.phase().borrow(), Phase::Stopped);
}
