//! The run the project is measured by: many durable messages over three gateways, one of which is killed on the way.
//!
//! `WSC_PROOF_MESSAGES=100000 cargo test -p wsc-gateway --test binary node_killed -- --nocapture` is the whole of it; without
//! the variable it is a tenth.

use std::time::Duration;

use tokio::time::Instant;

use crate::redis::RedisServer;
use crate::world::{Load, World, redis_at};

/// How many clients follow their inboxes.
const READERS: usize = 240;
/// 99 of 100 of a killed node's clients are back in this time.
const MOST_BACK: Duration = Duration::from_secs(5);
/// All are.
const ALL_BACK: Duration = Duration::from_secs(30);

fn messages() -> usize {
    let asked = std::env::var("WSC_PROOF_MESSAGES").ok();
    asked.map_or(10_000, |asked| {
        asked.parse().expect("WSC_PROOF_MESSAGES is a number")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_accepted_is_lost_when_a_node_is_killed_under_load() {
    let redis = RedisServer::start();
    let mut world = World::start(3, &redis_at(redis.port)).await;
    let messages = messages();
    let load = Load {
        readers: READERS,
        publishers: 12,
        messages,
        pause: Duration::ZERO,
    };
    let began = Instant::now();
    world.load(load).await;
    world.until_accepted(messages * 4 / 10).await;

    let killed = Instant::now();
    world.nodes[1].kill();
    world.gates.close(&world.nodes[1].ws());
    let accepted_then = world.accepted();
    world.all_connected(ALL_BACK).await;
    world.directory_is_right(&world.nodes[0], ALL_BACK).await;
    let directory_right = killed.elapsed();
    world.restart(1);
    world.await_mesh().await;
    world.open_all();
    let accepted_at_return = world.accepted();

    let report = world.settled().await;
    let took = began.elapsed();
    let mut away: Vec<Duration> = world
        .readers
        .iter()
        .filter_map(|reader| reader.away_after(killed))
        .collect();
    away.sort_unstable();
    let (most, all) = (away[away.len() * 99 / 100], away[away.len() - 1]);
    println!("node killed: {report}");
    println!(
        "node killed: {messages} messages in {took:.1?}; killed at {accepted_then} accepted, back at {accepted_at_return}; {} readers \
         were away, 99 % up to {most:.1?}, all up to {all:.1?}; directory right after {directory_right:.1?}",
        away.len()
    );
    let counts = &report.counts;
    assert_eq!(
        counts.accepted.get("stored"),
        Some(&(messages / 12 * 12)),
        "{report}"
    );
    assert_eq!((counts.gaps_told, counts.gaps_silent), (0, 0), "{report}");
    assert!(
        away.len() > READERS / 6,
        "the killed node held a share: {}",
        away.len()
    );
    assert!(most <= MOST_BACK && all <= ALL_BACK, "{most:?}, {all:?}");
}
