//! The connections of a node to Redis, one by one: what waits for a replica keeps nobody else from theirs, and one that hangs is
//! dialled anew while the others go on.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::future::{join, join_all};
use redis::{Pipeline, Script};
use tokio::time::Instant;
use wsc_gateway::cluster::redis::RedisCalls;
use wsc_gateway::cluster::{Backend, ClusterError, RedisParams};
use wsc_gateway::log::{Append, Appended, Log, RedisLog};
use wsc_gateway::protocol::{LogId, UserId};
use wsc_gateway::telemetry::RedisPart;

use crate::log::RETENTION;
use crate::support::nodes::{Node, params, within};
use crate::support::proxy::Proxy;
use crate::support::redis::RedisServer;

fn node(name: &str, redis: &RedisParams) -> Node {
    let lease = Duration::from_secs(6);
    Node::start(params(name, &Backend::Redis(redis.clone()), lease))
}

/// Two nodes that know each other, with bob on the second.
async fn pair(first: &RedisParams, second: &RedisParams) -> [Node; 2] {
    let nodes = [node("a", first), node("b", second)];
    for node in &nodes {
        node.ready().await;
        node.knows(1).await;
    }
    nodes[1].up("bob");
    nodes[0].sees_online(&["bob"]).await;
    nodes
}

async fn put(log: &RedisLog, user: &str) -> Result<Vec<Appended>, ClusterError> {
    let message = Append {
        id: "m".to_owned(),
        sender: "alice".to_owned(),
        own_id: false,
        json: "{}".into(),
        at: 1,
        ack: false,
        trace: None,
    };
    let inbox = LogId::Inbox(UserId::new(user).unwrap());
    (log as &dyn Log).append(&inbox, &[message]).await
}

async fn get(calls: &RedisCalls) -> Result<(Option<String>,), ClusterError> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("GET").arg("wsc:{test}:x");
    calls.query("test", &pipeline).await
}

/// Over every connection of a pool of four, some of them more than once.
async fn get_by_all(calls: &RedisCalls) -> Vec<Result<(Option<String>,), ClusterError>> {
    let script = Script::new("return {redis.call('GET', KEYS[1])}");
    let script = script.key("wsc:{test}:x");
    let last = calls.run_with_others("test", &script);
    let (mut asked, last) = join(join_all((0..6).map(|_| get(calls))), last).await;
    asked.push(last);
    asked
}

/// Whether the link has stayed as it was first made.
fn is_undisturbed(node: &Node) -> bool {
    let stats = node.cluster.stats();
    let lost = stats.canaries_lost.load(Relaxed) + stats.reconnects.load(Relaxed);
    node.is_linked() && lost == 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_silent_replica_keeps_nobody_else_from_redis() {
    let primary = RedisServer::start();
    let replica = primary.replica();
    within(20, "the replica is in step", async || replica.is_in_step()).await;
    // Longer than a canary may take, and time enough for the others to come first.
    let redis = RedisParams {
        deadline: Duration::from_secs(8),
        ..RedisParams::at("127.0.0.1", primary.port)
    };
    let [a, _b] = pair(&redis, &redis).await;
    let link = a.cluster.redis().unwrap();
    let stored = RedisLog::new(&link, RETENTION, false);
    let replicated = RedisLog::new(&link, RETENTION, true);
    put(&replicated, "bob").await.unwrap();
    replica.pause();
    for _ in 0..2 {
        // As many as may wait at once.
        let waiting = join_all((0..redis.pool).map(|_| put(&replicated, "bob")));
        tokio::pin!(waiting);
        let others = async {
            // A connection is made for each that waits, beside two for commands and one for messages.
            let lines = async || primary.cli(&["client", "list"]).matches("cmd=wait").count();
            within(5, "all of them wait", async || lines().await == redis.pool).await;
            for _ in 0..10 {
                put(&stored, "bob").await.unwrap();
                assert_eq!(a.send(&["bob"], "hi").await.unwrap(), [1]);
            }
            put(&replicated, "bob").await.unwrap_err()
        };
        let refused = tokio::select! {
            biased;
            done = &mut waiting => panic!("the others did not come first: {done:?}"),
            refused = others => refused,
        };
        assert_eq!(refused.label(), "replica_backlog", "{refused}");
        for waited in waiting.await {
            let error = waited.unwrap_err();
            assert!(
                matches!(error, ClusterError::NotReplicated { millis: 4000 }),
                "{error}"
            );
        }
        assert!(is_undisturbed(&a), "{:?}", a.cluster.status());
    }
    replica.resume();
    let confirmed = async || put(&replicated, "bob").await.is_ok();
    within(10, "a replica confirms again", confirmed).await;
    // A server may close what it has not heard of for long, and nobody's message is lost over it.
    let clients = primary.cli(&["client", "list"]);
    let idle = clients.lines().filter(|line| line.contains("cmd=wait"));
    let idle: Vec<&str> = idle
        .filter_map(|line| line.split(['=', ' ']).nth(1))
        .collect();
    assert_eq!(idle.len(), redis.pool, "{clients}");
    for id in idle {
        assert_eq!(primary.cli(&["client", "kill", "id", id]), "1");
    }
    for _ in 0..20 {
        a.send(&["bob"], "hi").await.unwrap();
    }
    for put in join_all((0..redis.pool).map(|_| put(&replicated, "bob"))).await {
        put.unwrap();
    }
    assert!(is_undisturbed(&a), "{:?}", a.cluster.status());
}

#[tokio::test]
async fn quiet_connections_are_asked_whether_the_other_end_is_there() {
    let server = RedisServer::start();
    let redis = RedisParams::at("127.0.0.1", server.port);
    let a = node("a", &redis);
    a.ready().await;
    let port = format!(":{:04X}", server.port);
    let own = async || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut fields = table.lines().map(|line| line.split_whitespace().collect());
        let timers = fields.by_ref().filter_map(|fields: Vec<&str>| {
            let is_own = fields.get(2)?.ends_with(&port) && fields.get(3)? == &"01";
            is_own.then(|| fields.get(5).map(ToString::to_string))?
        });
        // Timer 2 is that of keepalive, in hundredths of a second: the system's own would be two hours.
        let soon = timers.filter(|timer| {
            let due = timer.strip_prefix("02:");
            due.is_some_and(|due| u64::from_str_radix(due, 16).is_ok_and(|due| due <= 1000))
        });
        soon.count() == redis.pool + 1
    };
    within(5, "the system asks within ten seconds", own).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_hangs_is_dialled_anew_and_the_others_go_on() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port).await;
    let deadline = Duration::from_millis(800);
    let at = |port| RedisParams {
        pool: 4,
        deadline,
        ..RedisParams::at("127.0.0.1", port)
    };
    let [a, b] = pair(&at(proxy.port), &at(server.port)).await;
    let calls = a.cluster.redis().unwrap().calls(RedisPart::Logs);
    within(5, "one hangs", async || proxy.hang_one()).await;
    let began = Instant::now();
    // Where bob is may be asked for by the one that hangs.
    let sends = async || a.send(&["bob"], "meanwhile").await.is_ok();
    let (asked, ()) = tokio::join!(get_by_all(&calls), within(5, "it was sent", sends));
    let failed = asked.iter().filter(|asked| asked.is_err()).count();
    assert!(
        (1..asked.len()).contains(&failed),
        "others came back: {asked:?}"
    );
    let all = async || get_by_all(&calls).await.iter().all(Result::is_ok);
    within(5, "every connection answers", all).await;
    println!(
        "every connection answers {:?} after one hung",
        began.elapsed()
    );
    b.up("eve");
    a.sees_online(&["bob", "eve"]).await;
    within(5, "it arrived", async || b.hub.got("bob") == ["meanwhile"]).await;
    assert!(is_undisturbed(&a), "{:?}", a.cluster.status());
}
