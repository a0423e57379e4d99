//! Connections spread over nodes that joined later: with real sockets, and clients that come back as clients do.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use wsc_gateway::security::Scopes;

use crate::client::Client;
use crate::delivery::url_encoded;
use crate::redis::RedisServer;
use crate::sandbox::{Node, cluster, config, options, token, within};

const CLIENTS: usize = 300;

/// For what takes several rounds on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(120);

const SETS: [&str; 4] = [
    "rebalance.absolute=10",
    "rebalance.relative=0.1",
    "rebalance.ratePerSecond=40",
    "rebalance.minAge=0s",
];

/// What all clients share: where they may connect, and what became of them.
#[derive(Default)]
struct World {
    addresses: Mutex<Vec<String>>,
    turn: AtomicUsize,
    /// Contents that each user read, in order.
    heard: Mutex<HashMap<String, Vec<u64>>>,
    /// When sessions were told to come back.
    moves: Mutex<Vec<Instant>>,
    /// Anything that should not have been.
    complaints: Mutex<Vec<String>>,
}

impl World {
    /// The next of the addresses, as a Service would pick one.
    fn address(&self) -> String {
        let addresses = self.addresses.lock();
        addresses[self.turn.fetch_add(1, Relaxed) % addresses.len()].clone()
    }

    fn heard_all(&self, user: &str, last: u64) -> bool {
        let heard = self.heard.lock();
        heard
            .get(user)
            .is_some_and(|heard| heard.len() as u64 >= last)
    }

    /// The most moves of any second.
    fn peak(&self) -> usize {
        let moves = self.moves.lock();
        let in_its_second = |began: &Instant| {
            let second = *began..*began + Duration::from_secs(1);
            moves.iter().filter(|at| second.contains(at)).count()
        };
        moves.iter().map(in_its_second).max().unwrap_or(0)
    }
}

/// A client that reads, remembers where it was, and comes back when it is told to.
fn follow(world: Arc<World>, user: String, mut client: Client) -> JoinHandle<()> {
    tokio::task::spawn(async move {
        let mut position = Value::Null;
        loop {
            match client.next_unhurried().await {
                Some(Message::Text(text)) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    match frame["type"].as_str() {
                        Some("text") => {
                            position = frame["pos"].clone();
                            let number = frame["content"].as_u64().unwrap();
                            world
                                .heard
                                .lock()
                                .entry(user.clone())
                                .or_default()
                                .push(number);
                        }
                        Some("reconnect") => {
                            world.moves.lock().push(Instant::now());
                            if frame["data"]["reason"] != "rebalance" {
                                world.complaints.lock().push(format!("{user}: {frame}"));
                            }
                        }
                        _ => world.complaints.lock().push(format!("{user}: {frame}")),
                    }
                }
                Some(Message::Close(Some(close))) => {
                    if u16::from(close.code) != 1012 {
                        world.complaints.lock().push(format!("{user}: {close:?}"));
                    }
                }
                Some(_) => {}
                None => client = come_back(&world, &user, &position).await,
            }
        }
    })
}

async fn come_back(world: &World, user: &str, position: &Value) -> Client {
    let resume = json!({"inbox": position}).to_string();
    let url = match position {
        Value::Null => world.address(),
        _ => format!("{}?resume={}", world.address(), url_encoded(&resume)),
    };
    Client::connect(&url, &token(user, Scopes::NONE))
        .await
        .unwrap()
}

fn spread(nodes: &[&Node]) -> Vec<u64> {
    nodes
        .iter()
        .map(|node| node.0.hub().connections())
        .collect()
}

async fn send(node: &Node, to: &[String], number: u64) {
    for chunk in to.chunks(100) {
        let body = json!({"to": chunk, "type": "text", "content": number});
        let (status, answer) = node.call("POST", "/v1/messages", body).await;
        assert_eq!(status, 200, "{answer}");
    }
}

async fn metric(nodes: &[&Node], name: &str) -> u64 {
    let mut sum = 0;
    for node in nodes {
        let (_, metrics) = node.admin("/metrics").await;
        let line = metrics.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.rsplit(' ').next());
        sum += value
            .and_then(|value| value.parse::<u64>().ok())
            .unwrap_or(0);
    }
    sum
}

/// The third node of a cluster of two.
async fn third(redis: u16, sets: &[&str]) -> Node {
    let port = format!("wsc.redis.port={redis}");
    let mut all = vec![
        "wsc.distributed.enabled=true",
        "wsc.redis.host=127.0.0.1",
        "wsc.distributed.nodeTimeout=3s",
        "wsc.distributed.nodeSyncInterval=1s",
        "wsc.distributed.healthCheckInterval=1s",
        &port,
    ];
    all.extend(sets);
    let options = options("node-third");
    Node(
        wsc_gateway::app::Gateway::start(config(&all), options)
            .await
            .unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_sessions_spread_to_a_node_that_joined_lose_nothing_and_are_left_alone_then()
{
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &SETS).await;
    let world = Arc::new(World::default());
    *world.addresses.lock() = vec![one.ws(), two.ws()];
    let users: Vec<String> = (0..CLIENTS)
        .map(|number| format!("user-{number}"))
        .collect();
    let mut clients = Vec::new();
    for user in &users {
        let client = come_back(&world, user, &Value::Null).await;
        clients.push(follow(world.clone(), user.clone(), client));
    }
    assert_eq!(spread(&[&one, &two]), [150, 150]);
    send(&one, &users, 1).await;

    let three = third(redis.port, &SETS).await;
    world.addresses.lock().push(three.ws());
    let nodes = [&one, &two, &three];
    let before = spread(&nodes);
    let began = Instant::now();
    // Chance, by turns here, makes no difference above twice the square root of the mean.
    let is_spread = || spread(&nodes).iter().all(|load| (60..=120).contains(load));
    let mut last = 1;
    while !is_spread() || world.moves.lock().is_empty() {
        assert!(
            began.elapsed() < PATIENCE,
            "not spread: {:?}",
            spread(&nodes)
        );
        last += 1;
        send(nodes[usize::try_from(last).unwrap() % 3], &users, last).await;
    }
    let took = began.elapsed();
    within(PATIENCE, "everyone has read everything", || async {
        users.iter().all(|user| world.heard_all(user, last))
    })
    .await;
    for user in &users {
        let heard = world.heard.lock()[user].clone();
        assert_eq!(heard, (1..=last).collect::<Vec<_>>(), "{user}");
    }
    assert_eq!(*world.complaints.lock(), Vec::<String>::new());

    // Quiet: many looks at the registry later nobody else was told.
    within(PATIENCE, "no round is under way", || async {
        metric(&nodes, "wsc_rebalance_surplus_connections").await == 0
    })
    .await;
    let (moves, beats_then) = (world.moves.lock().len(), beats(&nodes));
    within(PATIENCE, "twenty renewals of each lease", || async {
        beats(&nodes) >= beats_then + 120
    })
    .await;
    assert_eq!(
        world.moves.lock().len(),
        moves,
        "quiet: {:?}",
        spread(&nodes)
    );
    assert_eq!(
        metric(&nodes, "wsc_rebalance_moves_total").await,
        moves as u64
    );
    // Two nodes of 40 a second, and what a busy machine delays comes in a heap.
    let peak = world.peak();
    println!(
        "spread {before:?} became {:?} in {took:.1?} by {moves} moves, at most {peak} in a second; {} messages each",
        spread(&nodes),
        last
    );
    assert!(moves < 2 * CLIENTS, "{moves}");
    clients.iter().for_each(JoinHandle::abort);
}

fn beats(nodes: &[&Node]) -> u64 {
    let peers = nodes
        .iter()
        .flat_map(|node| node.0.cluster().status().peers);
    peers.map(|peer| peer.beat).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn young_sessions_and_switched_off_nodes_are_left_alone_until_the_configuration_says_otherwise()
 {
    let redis = RedisServer::start();
    let sets = [
        "rebalance.absolute=10",
        "rebalance.minAge=1h",
        "rebalance.ratePerSecond=100",
    ];
    let [one, two] = cluster(redis.port, &sets).await;
    let world = Arc::new(World::default());
    *world.addresses.lock() = vec![one.ws()];
    let mut clients = Vec::new();
    for number in 0..100 {
        let user = format!("user-{number}");
        let client = come_back(&world, &user, &Value::Null).await;
        clients.push(follow(world.clone(), user, client));
    }
    world.addresses.lock().push(two.ws());
    let nodes = [&one, &two];
    within(PATIENCE, "the surplus is seen", || async {
        one.status().await["rebalance"]["surplus"] == 36
    })
    .await;
    let beats_then = beats(&nodes);
    within(PATIENCE, "twenty renewals", || async {
        beats(&nodes) >= beats_then + 40
    })
    .await;
    assert_eq!(world.moves.lock().len(), 0, "they are too young");

    let mut older = config(&[]);
    older.clone_from(&one.0.config());
    older.rebalance.min_age = wsc_config::Seconds::from_secs(0);
    let changes = one.0.reload(older).await.unwrap();
    assert_eq!(changes.live, ["rebalance.minAge"]);
    within(PATIENCE, "they move", || async { spread(&nodes)[1] >= 20 }).await;
    assert_eq!(*world.complaints.lock(), Vec::<String>::new());
    clients.iter().for_each(JoinHandle::abort);
}
