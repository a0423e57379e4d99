//! How messages go to a log in Redis: in one go, at the cost of few commands, and each log by itself.

use wsc_gateway::cluster::ClusterError;
use wsc_gateway::log::{Appended, Log, Most, RedisLog};
use wsc_gateway::protocol::{LogId, UserId};

use crate::log::{RETENTION, linked, message, put};
use crate::support::nodes::within;
use crate::support::redis::{Asked, RedisServer};

fn inbox_of(n: usize) -> LogId {
    LogId::Inbox(UserId::new(&format!("user-{n}")).unwrap())
}

/// A message in each of so many inboxes.
async fn spread(log: &dyn Log, id: &str, logs: usize) -> Vec<Result<Vec<Appended>, ClusterError>> {
    let inboxes: Vec<LogId> = (0..logs).map(inbox_of).collect();
    let message = [message(id, 1)];
    let batch: Vec<_> = inboxes
        .iter()
        .map(|log| (log, message.as_slice()))
        .collect();
    log.append_all(&batch).await
}

fn commands(asked: &[String], name: &str) -> usize {
    let named = |line: &&String| line.to_lowercase().contains(&format!("] \"{name}\""));
    asked.iter().filter(named).count()
}

#[tokio::test]
async fn messages_of_many_logs_go_to_redis_in_one_go_over_one_connection() {
    let redis = RedisServer::start();
    let linked = linked(&redis, RETENTION).await;
    spread(&linked.log, "first", 2).await;
    let mut asked = Asked::of(&redis);
    redis.cli(&["config", "resetstat"]);
    let stored = spread(&linked.log, "second", 40).await;
    assert!(stored.iter().all(Result::is_ok), "{stored:?}");
    let counts = redis.cli(&["info", "commandstats"]);
    assert!(counts.contains("cmdstat_evalsha:calls=40,"), "{counts}");
    assert!(
        !counts.contains("cmdstat_info"),
        "nor by a script: {counts}"
    );
    let mut asked = asked.since(&redis);
    asked.retain(|line| line.contains("{logs:"));
    assert_eq!((commands(&asked, "evalsha"), asked.len()), (40, 160));
    let over = |line: &String| line.split_whitespace().nth(2).unwrap().to_owned();
    assert!(asked.iter().all(|line| over(line) == over(&asked[0])));
}

#[tokio::test]
async fn a_script_that_redis_has_forgotten_is_brought_again_and_nothing_is_stored_twice() {
    let redis = RedisServer::start();
    let linked = linked(&redis, RETENTION).await;
    for id in ["a", "b"] {
        redis.cli(&["script", "flush"]);
        for stored in spread(&linked.log, id, 3).await {
            assert!(matches!(stored.unwrap()[..], [Appended::New(_)]));
        }
    }
    for n in 0..3 {
        let inbox = inbox_of(n);
        let page = linked.log.read(&inbox, None, Most::messages(9));
        assert_eq!(page.await.unwrap().entries.len(), 2);
    }
    assert_eq!(redis.cli(&["xlen", "wsc:{logs:s:alice}:sent"]), "6");
}

#[tokio::test]
async fn a_log_that_takes_nothing_keeps_no_other_from_being_written_to() {
    let redis = RedisServer::start();
    let linked = linked(&redis, RETENTION).await;
    redis.cli(&["set", "wsc:{logs:u:user-1}:log", "no stream"]);
    let stored = spread(&linked.log, "a", 3).await;
    assert!(matches!(stored[1], Err(ClusterError::Refused { .. })));
    assert!(stored[0].is_ok() && stored[2].is_ok(), "{stored:?}");
}

#[tokio::test]
async fn what_is_stored_is_told_so_though_its_sender_could_not_be_noted() {
    let redis = RedisServer::start();
    let linked = linked(&redis, RETENTION).await;
    redis.cli(&["set", "wsc:{logs:s:alice}:sent", "no stream"]);
    for stored in spread(&linked.log, "a", 3).await {
        assert!(matches!(stored.unwrap()[..], [Appended::New(_)]));
    }
    for stored in spread(&linked.log, "a", 3).await {
        assert!(matches!(stored.unwrap()[..], [Appended::Repeated(_)]));
    }
}

#[tokio::test]
async fn a_script_brought_again_waits_no_longer_for_a_replica_in_all() {
    let redis = RedisServer::start();
    let linked = linked(&redis, RETENTION).await;
    let log = RedisLog::new(&linked.link, RETENTION, true);
    for lost in spread(&log, "a", 2).await {
        assert!(matches!(lost, Err(ClusterError::NotReplicated { .. })));
    }
}

#[tokio::test]
async fn messages_of_many_logs_wait_for_a_replica_once() {
    let redis = RedisServer::start();
    let replica = redis.replica();
    within(20, "the replica is in step", async || replica.is_in_step()).await;
    let linked = linked(&redis, RETENTION).await;
    let log = RedisLog::new(&linked.link, RETENTION, true);
    spread(&log, "first", 2).await;
    let mut asked = Asked::of(&redis);
    let stored = spread(&log, "second", 40).await;
    assert!(stored.iter().all(Result::is_ok), "{stored:?}");
    let asked = asked.since(&redis);
    let counts = ["evalsha", "wait", "script"].map(|name| commands(&asked, name));
    assert_eq!(counts, [40, 1, 0]);
    replica.pause();
    for lost in spread(&log, "third", 5).await {
        assert!(matches!(lost, Err(ClusterError::NotReplicated { .. })));
    }
    replica.resume();
}

/// The commands of one message, those in the script as well.
async fn cost_of_one(redis: &RedisServer, log: &RedisLog, id: &str, at: u64) -> Vec<String> {
    redis.cli(&["config", "resetstat"]);
    assert!(matches!(put(log, id, at).await, Appended::New(_)));
    let stats = redis.cli(&["info", "commandstats"]);
    let counts = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let count = rest.split(',').next()?;
        (!["config|resetstat", "info"].contains(&name)).then(|| format!("{name} {count}"))
    });
    let mut counts: Vec<String> = counts.collect();
    counts.sort();
    counts
}

#[tokio::test]
async fn an_append_renews_what_lives_long_now_and_then_and_looks_up_the_oldest_where_it_may_go() {
    let redis = RedisServer::start();
    let linked = linked(&redis, RETENTION).await;
    let age = 3_600_000;
    put(&linked.log, "first", age).await;
    // The sender is noted by one each of xadd, xtrim and pexpire.
    let commands = |lives: &str| {
        [
            "evalsha 1",
            "hmget 1",
            "hset 2",
            lives,
            "set 1",
            "xadd 2",
            "xtrim 1",
        ]
        .map(str::to_owned)
    };
    let (ordinary, renewing) = (commands("pexpire 2"), commands("pexpire 4"));
    for (id, at) in [("a", age + 1), ("b", age + age / 8 - 1)] {
        assert_eq!(
            cost_of_one(&redis, &linked.log, id, at).await,
            ordinary,
            "{id}"
        );
    }
    let at = age + age / 8;
    assert_eq!(cost_of_one(&redis, &linked.log, "c", at).await, renewing);
    assert_eq!(cost_of_one(&redis, &linked.log, "d", at).await, ordinary);
    // By a clock that is far behind the others'.
    assert_eq!(cost_of_one(&redis, &linked.log, "e", 1).await, renewing);
    for n in 0..4 {
        assert_eq!(
            cost_of_one(&redis, &linked.log, &format!("f{n}"), 2).await,
            ordinary
        );
    }
    // It is full.
    let full = cost_of_one(&redis, &linked.log, "g", 3).await;
    assert!(full.contains(&"xdel 1".to_owned()), "{full:?}");
    for key in ["log", "meta", "records"] {
        let left = redis.cli(&["pttl", &format!("wsc:{{logs:u:bob}}:{key}")]);
        assert!(left.parse::<u64>().unwrap() > age - 60_000, "{key}: {left}");
    }
}
