//! A Redis with replicas and Sentinels, whose primary dies while messages flow that are accepted once a replica has them.

use std::time::Duration;

use tokio::time::Instant;

use crate::redis::RedisServer;
use crate::world::{Load, World};

/// Nodes write again in this time.
const WRITES_AGAIN: Duration = Duration::from_secs(10);

/// A primary and two replicas, so that one is left to replicate to when the primary is gone.
struct Servers {
    primary: RedisServer,
    replicas: [RedisServer; 2],
    sentinels: [RedisServer; 3],
}

impl Servers {
    async fn start() -> Self {
        let primary = RedisServer::start();
        let of = primary.port.to_string();
        let replicas = [(); 2].map(|()| primary.replica());
        for replica in &replicas {
            until("the replica is in step", || replica.is_in_step()).await;
        }
        let watch = format!(
            "sentinel monitor main 127.0.0.1 {of} 2\nsentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n"
        );
        let sentinels = [(); 3].map(|()| RedisServer::sentinel(&watch));
        for sentinel in &sentinels {
            let knows_all = || {
                let told = sentinel.cli(&["sentinel", "master", "main"]);
                let lines: Vec<&str> = told.lines().collect();
                let is =
                    |name: &str, value: &str| lines.windows(2).any(|pair| pair == [name, value]);
                is("num-slaves", "2") && is("num-other-sentinels", "2")
            };
            until("the Sentinels know each other", knows_all).await;
        }
        Self {
            primary,
            replicas,
            sentinels,
        }
    }

    fn keys(&self) -> String {
        let addresses: Vec<String> = self
            .sentinels
            .iter()
            .map(|sentinel| format!("\"127.0.0.1:{}\"", sentinel.port))
            .collect();
        format!(
            "delivery: {{acceptance: replicated}}\nredis: {{sentinel: {{enabled: true, masterName: main, addresses: [{}]}}}}",
            addresses.join(", ")
        )
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "not in time: {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_accepted_as_replicated_is_lost_by_a_failover() {
    let mut servers = Servers::start().await;
    let mut world = World::start(3, &servers.keys()).await;
    world.load(Load::STEADY).await;
    world.until_accepted(300).await;
    servers.primary.kill();
    let killed = Instant::now();
    let before = world.accepted();
    world.until_accepted(before + 200).await;
    let took = killed.elapsed();
    let report = world.settled().await;
    println!("failover: {report}\nfailover: 200 more were accepted {took:.1?} after the kill");
    assert!(took < WRITES_AGAIN, "{took:?}");
    let levels: Vec<&str> = report.counts.accepted.keys().map(String::as_str).collect();
    assert_eq!(levels, ["replicated"], "{report}");
    assert_eq!(report.counts.gaps_silent, 0, "{report}");
    let roles = servers
        .replicas
        .each_ref()
        .map(|replica| replica.cli(&["role"]));
    assert!(
        roles.iter().any(|role| role.starts_with("master")),
        "{roles:?}"
    );
}
