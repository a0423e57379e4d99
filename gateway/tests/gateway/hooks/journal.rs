//! Events that wait for a hook outlive the node that they wait on, and leave nothing behind when they are told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};
use wsc_gateway::service::HookStats;

use super::{hook, kinds};
use crate::hook_target::{Target, fails, says};
use crate::redis::RedisServer;
use crate::sandbox::{Node, cluster, eventually, within};
use crate::tickets;

/// A lease has to run out, and the news of it to get around.
const PATIENT: Duration = Duration::from_secs(40);

const EARS: &str = "events: ['client.*', 'group.*', 'ticket.*'], points: [sent], timeout: 5s, \
    retry: {maxAttempts: 100, baseDelay: 50ms, maxDelay: 200ms}, circuit: {failures: 0}";

/// What happens on one node that the hook is told of.
const HAPPENED: [&str; 4] = [
    "client.connected",
    "group.created",
    "message.sent",
    "ticket.opened",
];

fn ears(target: &Target) -> String {
    format!("hooks=[{}]", hook("ears", target.port, EARS))
}

fn stats(node: &Node) -> Arc<HookStats> {
    node.0.service().hooks()[0].stats().clone()
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

/// Events that are written down in Redis, by nodes dead or alive.
fn written(redis: &RedisServer) -> usize {
    let keys = redis.cli(&["keys", "*{*:hook:ears}:journal:*"]);
    let lengths = keys.lines().filter(|key| !key.is_empty());
    let length = |key: &str| redis.cli(&["xlen", key]).trim().parse::<usize>().unwrap();
    lengths.map(length).sum()
}

fn streams(redis: &RedisServer) -> usize {
    let keys = redis.cli(&["keys", "*{*:hook:ears}:journal*"]);
    let sets = keys.lines().filter(|key| key.ends_with(":journals"));
    let size = |key: &str| redis.cli(&["scard", key]).trim().parse::<usize>().unwrap();
    sets.map(size).sum()
}

/// Has everything happen of which the hook is told, on this node.
async fn much_happens(node: &Node) -> crate::client::Client {
    let mut alice = node.connect("alice").await;
    let (status, body) = node.call("POST", "/v1/groups", json!({"id": "red"})).await;
    assert!(status < 300, "{status}: {body}");
    tickets::done(&mut alice, "ticket.open", json!({"ticket_id": "t1"})).await;
    let hello = json!({"type": "text", "id": "h", "to": "alice", "content": "hello"});
    alice.send(hello).await;
    tickets::next(&mut alice, "receipt").await;
    alice
}

fn ids(events: &[Value]) -> BTreeSet<String> {
    let named = |event: &Value| {
        let kind = event["type"].as_str()?.strip_prefix("dev.wsc.")?;
        HAPPENED.contains(&kind).then(|| event["id"].to_string())
    };
    events.iter().filter_map(named).collect()
}

/// Waits until the hook has been asked to take all of it, and it is written down.
async fn all_is_written(target: &Target, redis: &RedisServer) -> BTreeSet<String> {
    eventually("it is written down", || async {
        ids(&target.events()).len() == HAPPENED.len() && written(redis) >= HAPPENED.len()
    })
    .await;
    ids(&target.events())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_hook_on_a_node_that_dies_is_told_by_another_once_and_by_the_same_id() {
    let redis = RedisServer::start();
    let target = Target::start(|_| fails(503)).await;
    let sets = [&*ears(&target), "wsc.group.enabled=true"];
    let [one, two, three] = cluster(redis.port, &sets).await;
    let alice = much_happens(&one).await;
    let tried = all_is_written(&target, &redis).await;
    let of_dead = stats(&one);
    one.0.abort();
    eventually("its last attempts are over", || async {
        count(&of_dead.queued) == 0
    })
    .await;
    assert!(count(&of_dead.left) >= HAPPENED.len() as u64);
    let before = target.events().len();
    target.replies(|_| says(&json!({})));
    within(PATIENT, "another node tells all of it", || async {
        tried.is_subset(&ids(&target.events()[before..]))
    })
    .await;
    within(PATIENT, "and nothing is left", || async {
        written(&redis) == 0 && streams(&redis) <= 2
    })
    .await;
    let told = target.events()[before..].to_vec();
    for id in &tried {
        let times = told.iter().map(|event| event["id"].to_string());
        assert_eq!(times.filter(|told| told == id).count(), 1, "{id}");
    }
    let inherited = count(&stats(&two).inherited) + count(&stats(&three).inherited);
    assert!(inherited >= HAPPENED.len() as u64, "{inherited}");
    drop(alice);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_could_not_tell_before_it_left_is_told_by_another() {
    let redis = RedisServer::start();
    let target = Target::start(|_| fails(503)).await;
    let sets = [&*ears(&target), "wsc.group.enabled=true"];
    let [one, _two] = cluster(redis.port, &sets).await;
    let alice = much_happens(&one).await;
    let tried = all_is_written(&target, &redis).await;
    one.0.drain().await;
    let before = target.events().len();
    target.replies(|_| says(&json!({})));
    within(PATIENT, "another node tells all of it", || async {
        tried.is_subset(&ids(&target.events()[before..]))
    })
    .await;
    drop(alice);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_is_not_written_down_any_more_and_is_told_once() {
    let redis = RedisServer::start();
    let target = Target::start(|_| says(&json!({}))).await;
    let sets = [&*ears(&target), "wsc.group.enabled=true"];
    let [one, two] = cluster(redis.port, &sets).await;
    let _alice = much_happens(&one).await;
    eventually("all is told", || async {
        ids(&target.events()).len() == HAPPENED.len() && count(&stats(&one).queued) == 0
    })
    .await;
    eventually("nothing is left", || async { written(&redis) == 0 }).await;
    assert_eq!(count(&stats(&one).unsaved), 0);
    one.0.drain().await;
    let told = kinds(&target).len();
    // A second look of the other node's at what the first one left, long after it counts as gone.
    within(PATIENT, "the other has looked", || async {
        streams(&redis) == 0
    })
    .await;
    assert_eq!(kinds(&target).len(), told, "and tells nothing again");
    assert_eq!(count(&stats(&two).inherited), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_events_are_told_from_memory_alone_and_that_is_counted() {
    let mut redis = RedisServer::start();
    let target = Target::start(|_| says(&json!({}))).await;
    let [one] = cluster(redis.port, &[&ears(&target)]).await;
    let mut alice = one.connect("alice").await;
    eventually("she is told of, and that is settled", || async {
        kinds(&target).contains(&"client.connected".to_owned())
            && count(&stats(&one).queued) == 0
            && written(&redis) == 0
    })
    .await;
    redis.kill();
    eventually("the node knows", || async { !one.ready().await }).await;
    alice
        .send(json!({"type": "text", "to": "alice", "content": "hi", "durable": false}))
        .await;
    eventually("it is told all the same", || async {
        kinds(&target).contains(&"message.sent".to_owned())
    })
    .await;
    assert_eq!(count(&stats(&one).unsaved), 1);
    redis.restart();
    eventually("the node is back", || async { one.ready().await }).await;
    let _bob = one.connect("bob").await;
    eventually("written down again, and told", || async {
        kinds(&target)
            .iter()
            .filter(|kind| *kind == "client.connected")
            .count()
            == 2
    })
    .await;
    assert_eq!(count(&stats(&one).unsaved), 1);
}
