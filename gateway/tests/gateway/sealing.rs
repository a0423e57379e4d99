//! `wsc.security.enableEncryption`: no content is in clear in Redis, neither kept nor passing.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use wsc_gateway::app::Gateway;
use wsc_gateway::security::Scopes;

use crate::client::Client;
use crate::redis::RedisServer;
use crate::sandbox::{Node, config, eventually, options};

const CANARY: &str = "canary-8c1f5d";
const KEY: &str = "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=";

async fn pair(redis: u16, sets: &[&str]) -> [Node; 2] {
    let port = format!("wsc.redis.port={redis}");
    let mut all = vec![
        "wsc.distributed.enabled=true",
        "wsc.redis.host=127.0.0.1",
        &port,
    ];
    all.extend(sets);
    let mut nodes = Vec::new();
    for name in ["one", "two"] {
        let mut options = options(name);
        options.secrets.encryption_key = Some(KEY.to_owned());
        nodes.push(Node(Gateway::start(config(&all), options).await.unwrap()));
    }
    for node in &nodes {
        eventually("nodes see each other", || async {
            node.status().await["peers"].as_array().unwrap().len() == 1
        })
        .await;
    }
    nodes.try_into().ok().unwrap()
}

/// Everything said to Redis while messages with the canary cross between nodes, and everything kept there.
async fn what_redis_sees(sets: &[&str]) -> String {
    let redis = RedisServer::start();
    let port = redis.port.to_string();
    let mut monitor = Command::new("redis-cli")
        .args(["-p", &port, "MONITOR"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let seen = Arc::new(Mutex::new(String::new()));
    let lines = BufReader::new(monitor.stdout.take().unwrap()).lines();
    let writes = Arc::clone(&seen);
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            writes.lock().push_str(&line);
        }
    });
    // Nobody is there: what it is to be told waits.
    let closed = crate::redis::free_port();
    let hook =
        format!("hooks=[{{name: ears, points: [sent], target: {{local: {{port: {closed}}}}}}}]");
    let mut sets = sets.to_vec();
    sets.push(&hook);
    let [one, two] = pair(redis.port, &sets).await;
    let mut alice = one.connect_with("alice", Scopes::BROADCAST).await;
    let mut bob = two.connect("bob").await;
    eventually("both are known", || async {
        one.online().await.len() == 2 && two.online().await.len() == 2
    })
    .await;
    alice
        .send(json!({"type": "text", "to": "bob", "content": CANARY, "data": {"a": CANARY}}))
        .await;
    assert_eq!(bob.hear().await, CANARY);
    alice
        .send(json!({"type": "text", "broadcast": true, "content": CANARY}))
        .await;
    assert_eq!(bob.hear().await, CANARY);
    let api = json!({"to": "bob", "content": CANARY});
    assert_eq!(one.call("POST", "/v1/messages", api).await.0, 200);
    assert_eq!(bob.hear().await, CANARY);
    // What a customer writes on a ticket, one that is open and one that is over.
    for (kind, ticket) in [
        ("ticket.open", "t1"),
        ("ticket.close", "t1"),
        ("ticket.open", "t2"),
    ] {
        let mut data = json!({"ticket_id": ticket});
        if kind == "ticket.open" {
            data["subject"] = CANARY.into();
            data["skills"] = json!([CANARY]);
        }
        alice
            .send(json!({"type": kind, "id": "c", "data": data}))
            .await;
        let result = answer(&mut alice).await;
        assert_eq!(result["type"], "result", "{result}");
    }
    // The other node reads what was sealed here.
    let (status, ticket) = two.call("GET", "/v1/tickets/t1", Value::Null).await;
    assert_eq!(
        (status, &ticket["subject"]),
        (200, &CANARY.into()),
        "{ticket}"
    );
    eventually("the monitor saw it all", || async {
        let seen = seen.lock();
        seen.matches("\"PUBLISH\"").count() > 3 && seen.contains(":hook:ears}:journal:")
    })
    .await;
    for key in redis.cli(&["KEYS", "*"]).lines() {
        let kept = redis.cli(&["--no-raw", "DUMP", key]);
        seen.lock().push_str(&kept);
    }
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    reader.join().unwrap();
    seen.lock().clone()
}

/// The answer to a command, whatever comes before it.
async fn answer(client: &mut Client) -> Value {
    loop {
        let frame = client.next().await;
        if frame["ref"] == "c" {
            return frame;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_content_is_in_clear_in_redis_when_encryption_is_on() {
    let sealed = what_redis_sees(&["wsc.security.enableEncryption=true"]).await;
    assert!(!sealed.contains(CANARY), "{sealed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_for_contents_would_find_one() {
    let clear = what_redis_sees(&["wsc.security.enableEncryption=false"]).await;
    assert!(clear.contains(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_encryption_is_refused_at_the_start() {
    let started = Gateway::start(
        config(&["wsc.security.enableEncryption=true"]),
        options("keyless"),
    )
    .await;
    let error = started.err().unwrap();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        cause,
        "wsc.security.enableEncryption: no encryption-key in the secrets directory"
    );
}
