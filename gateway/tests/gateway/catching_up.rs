//! A session that has missed much and reads nothing: what it is to get stays in Redis.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::{Instant, interval};

use crate::client::Client;
use crate::delivery::url_encoded;
use crate::redis::RedisServer;
use crate::sandbox::{DEADLINE, Node, cluster, token_into};

const GROUPS: usize = 20;
/// A hundred messages in all, in one log as many as are read at once if they are small.
const IN_THE_FIRST: usize = 81;
/// As large as a message may be, but for what stands around it.
const LARGE: usize = (1 << 20) - 1024;

/// Looks in a row that see nothing read any more.
const QUIET_LOOKS: u32 = 4;

/// What Redis has sent to all its clients.
fn fetched(redis: &RedisServer) -> u64 {
    let told = redis.cli(&["info", "stats"]);
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    line.unwrap().trim().parse().unwrap()
}

/// The same once it has not grown for a while: not for one look alone, in which a busy machine may have done nothing.
async fn settled(redis: &RedisServer, more_than: u64) -> u64 {
    let (mut pace, mut last, mut quiet) = (interval(Duration::from_millis(500)), 0, 0);
    let began = Instant::now();
    loop {
        pace.tick().await;
        let now = fetched(redis);
        let is_quiet = now > more_than && now - last < 256 << 10;
        quiet = if is_quiet { quiet + 1 } else { 0 };
        if quiet == QUIET_LOOKS {
            return now;
        }
        assert!(began.elapsed() < DEADLINE, "still reading: {now}");
        last = now;
    }
}

async fn joined(node: &Node, names: &[String]) -> Map<String, Value> {
    let token = token_into("bob", &["g*"]);
    let mut bob = Client::connect(&node.ws(), &token).await.unwrap();
    let mut places = Map::new();
    for group in names {
        let join = json!({"type": "group.join", "id": group, "data": {"group": group}});
        bob.send(join).await;
        loop {
            let frame = bob.next().await;
            if frame["type"] == "result" {
                places.insert(format!("group:{group}"), frame["data"]["pos"].clone());
                break;
            }
        }
    }
    places
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_does_not_read_holds_its_outbox_and_one_message_however_much_it_missed() {
    let redis = RedisServer::with_args(&["--appendonly", "no"]);
    let sets = ["wsc.group.enabled=true", "wsc.group.autoCreate=true"];
    let [node] = cluster(redis.port, &sets).await;
    let names: Vec<String> = (0..GROUPS).map(|group| format!("g{group}")).collect();
    let places = joined(&node, &names).await;
    let content = "x".repeat(LARGE);
    for (index, group) in names.iter().enumerate() {
        for number in 0..(if index == 0 { IN_THE_FIRST } else { 1 }) {
            let id = format!("{group}-{number}");
            let path = format!("/v1/groups/{group}/messages");
            let message = json!({"id": id, "content": content});
            let (status, answer) = node.call("POST", &path, message).await;
            assert_eq!(status, 200, "{answer}");
        }
    }
    // That each log goes on where he was is looked up by its first message, one after the other.
    let before = fetched(&redis) + (GROUPS * LARGE) as u64;
    let resume = url_encoded(&Value::from(places).to_string());
    let url = format!("{}?resume={resume}", node.ws());
    let bob = Client::connect(&url, &token_into("bob", &["g*"]))
        .await
        .unwrap();
    let held = settled(&redis, before + (1 << 20)).await - before;
    println!("{held} bytes were read for a client that reads nothing");
    // An outbox of one mebibyte and one message; the rest is what the two sockets hold.
    assert!(held < 14 << 20, "{held}");
    drop(bob);
}
