//! One fault after the other while messages flow, each held to what is promised about it by the history checker.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::gates::{Gates, Socket};
use crate::history::{Report, Seen};
use crate::load::most_within;
use crate::proxy::Proxy;
use crate::reader::ReaderTask;
use crate::redis::RedisServer;
use crate::world::{API_KEY, Load, NODE_TIMEOUT, World, redis_at, token};

/// A dead or silent link is known in this time.
const NOTICED: Duration = Duration::from_secs(5);
/// All is well in this time after Redis is back.
const WELL: Duration = Duration::from_secs(5);

/// Three gateways on this Redis, and messages that flow.
async fn busy(redis: u16) -> World {
    let mut world = World::start(3, &redis_at(redis)).await;
    world.load(Load::STEADY).await;
    more(&world, 300).await;
    world
}

async fn more(world: &World, messages: usize) {
    world.until_accepted(world.accepted() + messages).await;
}

/// So long it lasts.
async fn lasts(time: Duration) {
    sleep(time).await;
}

fn without_a_gap(what: &str, report: &Report) {
    println!("{what}: {report}");
    let counts = &report.counts;
    assert_eq!((counts.gaps_told, counts.gaps_silent), (0, 0), "{report}");
}

fn nobody_was_disconnected(world: &World) {
    for reader in &world.readers {
        assert_eq!(reader.notes.lock().stays.len(), 1, "{}", reader.user);
    }
}

async fn all_unready(world: &World) {
    let unready = async || {
        for node in &world.nodes {
            if node.is_ready().await {
                return false;
            }
        }
        true
    };
    world
        .within(NOTICED, "every node says that redis is away", unready)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn redis_killed_with_its_data_kept_costs_nobody_a_message_or_a_connection() {
    let mut redis = RedisServer::start();
    let world = busy(redis.port).await;
    redis.kill();
    all_unready(&world).await;
    lasts(Duration::from_secs(1)).await;
    redis.restart();
    let back = Instant::now();
    world.await_mesh().await;
    assert!(back.elapsed() < WELL, "{:?}", back.elapsed());
    more(&world, 300).await;
    without_a_gap("redis killed", &world.settled().await);
    nobody_was_disconnected(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn redis_wiped_is_told_to_everyone_and_leaves_no_silent_gap() {
    let mut redis = RedisServer::start();
    let world = busy(redis.port).await;
    redis.kill();
    redis.wipe();
    redis.restart();
    world.await_mesh().await;
    more(&world, 300).await;
    let report = world.settled().await;
    println!("redis wiped: {report}");
    let is_told = |reader: &ReaderTask| {
        let notes = reader.notes.lock();
        let mut seen = notes
            .reader
            .sessions
            .iter()
            .flat_map(|session| &session.seen);
        seen.any(|seen| matches!(seen, Seen::Gap { .. }))
    };
    for reader in &world.readers {
        assert!(is_told(reader), "{} was not told", reader.user);
    }
    nobody_was_disconnected(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_silent_redis_is_noticed_and_costs_nobody_a_message() {
    let redis = RedisServer::start();
    let world = busy(redis.port).await;
    redis.pause();
    all_unready(&world).await;
    lasts(Duration::from_secs(1)).await;
    redis.resume();
    let back = Instant::now();
    world.await_mesh().await;
    assert!(back.elapsed() < WELL, "{:?}", back.elapsed());
    more(&world, 300).await;
    without_a_gap("redis silent", &world.settled().await);
    nobody_was_disconnected(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_a_wedged_subscription_swallowed_is_read_from_the_logs() {
    let redis = RedisServer::start();
    let proxy = Proxy::to(redis.port).await;
    let world = busy(proxy.port).await;
    proxy.wedge();
    // Each is without Redis for a few milliseconds only: its word of it stays.
    let noticed = async || {
        (0..world.nodes.len()).all(|node| world.said(node, "a canary did not come around"))
    };
    world.within(NOTICED, "every node notices", noticed).await;
    world.await_mesh().await;
    more(&world, 300).await;
    without_a_gap("subscription wedged", &world.settled().await);
    nobody_was_disconnected(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_gateway_frozen_beyond_its_lease_comes_back_without_a_trace() {
    let redis = RedisServer::start();
    let world = busy(redis.port).await;
    world.gates.close(&world.nodes[1].ws());
    let is_gone = async || {
        let status = world.nodes[0].status().await;
        status.is_some_and(|status| {
            status["peers"]
                .as_array()
                .is_some_and(|peers| peers.len() == 1)
        })
    };
    world.nodes[1].freeze();
    world
        .within(
            NODE_TIMEOUT + Duration::from_secs(2),
            "its lease runs out",
            is_gone,
        )
        .await;
    more(&world, 300).await;
    world.nodes[1].thaw();
    world.await_mesh().await;
    more(&world, 300).await;
    without_a_gap("gateway frozen", &world.settled().await);
    world
        .directory_is_right(&world.nodes[2], NODE_TIMEOUT + WELL)
        .await;
    nobody_was_disconnected(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_gateway_thawed_after_another_took_its_name_is_fenced_and_leaves() {
    let redis = RedisServer::start();
    let mut world = busy(redis.port).await;
    world.gates.close(&world.nodes[1].ws());
    world.nodes[1].freeze();
    let heir = world.usurp(1);
    let is_ready = async || heir.is_ready().await;
    world
        .within(Duration::from_secs(15), "the heir is ready", is_ready)
        .await;
    world.gates.open(heir.ws());
    more(&world, 300).await;
    let mut frozen = std::mem::replace(&mut world.nodes[1], heir);
    frozen.thaw();
    assert_eq!(
        frozen.ended(Duration::from_secs(20)).await,
        Some(0),
        "it drains and ends"
    );
    world.all_connected(WELL).await;
    more(&world, 300).await;
    without_a_gap("gateway fenced", &world.settled().await);
    world
        .directory_is_right(&world.nodes[2], NODE_TIMEOUT + WELL)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn all_gateways_killed_at_once_lose_nothing_and_everyone_comes_back() {
    let redis = RedisServer::start();
    let mut world = busy(redis.port).await;
    for node in &mut world.nodes {
        node.kill();
    }
    let killed = Instant::now();
    for index in 0..3 {
        world.restart(index);
    }
    world.await_mesh().await;
    world.all_connected(Duration::from_mins(1)).await;
    let back = killed.elapsed();
    more(&world, 300).await;
    without_a_gap("all killed", &world.settled().await);
    println!("all killed: everyone was back after {back:.1?}");
    world
        .directory_is_right(&world.nodes[0], NODE_TIMEOUT + WELL)
        .await;
}

/// A rule under which a message is given up after about three seconds.
const SHORT_ACKS: &str =
    "ack: {enabled: true, timeout: 700ms, maxRetries: 2, baseDelay: 100ms, maxDelay: 200ms}";

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_message_of_a_node_that_died_is_given_up_by_another_and_its_sender_hears_of_it() {
    let redis = RedisServer::start();
    let keys = format!("{}\n{SHORT_ACKS}", redis_at(redis.port));
    let mut world = World::start(2, &keys).await;
    // Of as many recipients that some are looked after by either node.
    let to: Vec<String> = (0..24).map(|number| format!("absent-{number}")).collect();
    let only = Gates::new(token);
    only.open(world.nodes[0].ws());
    let mut alice = only.connect("alice", None).await.unwrap();
    for user in &to {
        let frame = json!({"type": "text", "id": user, "to": user, "require_ack": true});
        alice.send(Message::text(frame.to_string())).await.unwrap();
    }
    receipts(&mut alice, "accepted", to.len()).await;
    world.nodes[0].kill();
    only.close(&world.nodes[0].ws());
    only.open(world.nodes[1].ws());
    let mut alice = only.connect("alice", None).await.unwrap();
    receipts(&mut alice, "expired", to.len()).await;
    let log = world.nodes[1]
        .get(&format!("/v1/users/{}/log", to[0]), API_KEY)
        .await
        .unwrap();
    assert!(log["messages"][0]["record"]["expired_at"].is_u64(), "{log}");
}

/// Reads until so many messages have had this receipt.
async fn receipts(socket: &mut Socket, state: &str, messages: usize) {
    let mut of = std::collections::HashSet::new();
    let read = async {
        while of.len() < messages {
            let Message::Text(text) = socket.next().await.unwrap().unwrap() else {
                continue;
            };
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["data"]["state"] == state {
                of.insert(frame["data"]["ref"].as_str().unwrap().to_owned());
            }
        }
    };
    let in_time = timeout(Duration::from_secs(20), read).await;
    assert!(in_time.is_ok(), "{} of {messages} {state}", of.len());
}

/// Sessions told to leave in a second.
const DRAIN_RATE: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_rolling_drain_loses_nothing_and_keeps_to_its_rate() {
    let redis = RedisServer::start();
    let mut world = World::start(3, &redis_at(redis.port)).await;
    let readers = Load {
        readers: 60,
        ..Load::STEADY
    };
    world.load(readers).await;
    more(&world, 300).await;
    for index in 0..3 {
        let new = world.another();
        let is_ready = async || new.is_ready().await;
        world
            .within(Duration::from_secs(15), "the new node is ready", is_ready)
            .await;
        world.gates.open(new.ws());
        let mut old = std::mem::replace(&mut world.nodes[index], new);
        world.gates.close(&old.ws());
        old.tell_to_leave();
        assert_eq!(old.ended(Duration::from_secs(20)).await, Some(0));
    }
    world.all_connected(WELL).await;
    more(&world, 300).await;
    without_a_gap("rolling drain", &world.settled().await);
    let (mut returns, mut most, mut all) = (Vec::new(), 0, 0);
    for reader in &world.readers {
        let notes = reader.notes.lock();
        let away = notes.stays.len() - 1;
        (most, all) = (most.max(away), all + away);
        returns.extend(notes.stays[1..].iter().map(|stay| stay.began));
        let told = notes.stays[..away].iter().all(|stay| stay.told.is_some());
        assert!(told, "{} was not told before it was closed", reader.user);
        assert!(
            notes.resumed.iter().all(|resumed| *resumed),
            "{} could not go on",
            reader.user
        );
    }
    // Over three seconds: clients stand still for moments on a busy machine, and then come in a heap.
    let back = most_within(Duration::from_secs(3), &returns);
    println!(
        "rolling drain: {all} disconnects of {} readers, at most {most} each; at most {back} came back in three seconds",
        world.readers.len()
    );
    // Whom chance sends from each old node to the next is disconnected by each.
    assert!(most <= 3 && all <= world.readers.len() * 2, "{most} {all}");
    assert!(back <= 3 * DRAIN_RATE * 3 / 2, "{back} in three seconds");
}
