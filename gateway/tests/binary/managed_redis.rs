//! The managed Redis with replicas, by the operator's own files, under messages that are accepted once a replica has them: its
//! primary dies, every member is replaced in turn, all go at once, and the password is replaced; the latter alone as well.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::history::Report;
use crate::members::Members;
use crate::world::{Load, World, redis_at};

const PASSWORD: &str = "the-first-password";
/// With what Redis' own configuration must quote, as a user may give it, and as the operator writes it.
const NEXT: &str = "the next \"password\" #2";
const QUOTED: &str = "\"the\\x20next\\x20\\x22password\\x22\\x20\\x232\"";

/// Nodes write again in this time when a primary died: five seconds of silence, an election, and a busy machine's share.
const WRITES_AGAIN: Duration = Duration::from_secs(20);
/// The same when a primary handed over.
const HANDED_OVER: Duration = Duration::from_secs(10);

async fn world(members: &Members) -> World {
    let addresses: Vec<String> = members
        .ports
        .iter()
        .map(|(_, sentinel)| format!("\"localhost:{sentinel}\""))
        .collect();
    let keys = format!(
        "delivery: {{acceptance: replicated}}\nredis: {{sentinel: {{enabled: true, masterName: main, addresses: [{}]}}}}",
        addresses.join(", ")
    );
    let mut world = World::start_with(3, &keys, &[("redis-password", PASSWORD)]).await;
    world.load(Load::STEADY).await;
    world.until_accepted(300).await;
    world
}

/// Does something, and gives the longest time in which nothing was accepted until 200 more were.
async fn longest_pause(world: &World, work: impl Future<Output = ()>) -> Duration {
    let mut work = pin!(async {
        work.await;
        world.until_accepted(world.accepted() + 200).await;
    });
    let (mut longest, mut last, mut seen) = (Duration::ZERO, Instant::now(), world.accepted());
    loop {
        let is_done = timeout(Duration::from_millis(10), work.as_mut())
            .await
            .is_ok();
        longest = longest.max(last.elapsed());
        let accepted = world.accepted();
        if accepted > seen {
            (last, seen) = (Instant::now(), accepted);
        }
        if is_done {
            return longest;
        }
    }
}

/// Everything that was accepted has arrived, and all of it was accepted once a replica had it.
async fn nothing_is_lost(world: &World) -> Report {
    let report = world.settled().await;
    let levels: Vec<&str> = report.counts.accepted.keys().map(String::as_str).collect();
    assert_eq!(levels, ["replicated"], "{report}");
    assert_eq!(report.counts.gaps_silent, 0, "{report}");
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_accepted_is_lost_when_the_managed_primary_dies_and_it_comes_back_as_a_replica() {
    let mut members = Members::start(PASSWORD).await;
    let world = world(&members).await;
    assert_eq!(members.primary(PASSWORD), Some(0));
    let pause = longest_pause(&world, async { members.kill(0) }).await;
    let primary = members.primary(PASSWORD);
    assert!(matches!(primary, Some(1 | 2)), "{primary:?}");
    members.begin(0);
    members.until_ready(0).await;
    assert_eq!(members.primary(PASSWORD), primary);
    let report = nothing_is_lost(&world).await;
    println!("primary killed: {report}\nprimary killed: nothing was accepted for {pause:.1?}");
    assert!(pause < WRITES_AGAIN, "{pause:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_primary_whose_process_alone_died_leaves_its_part_to_a_replica() {
    let mut members = Members::start(PASSWORD).await;
    let world = world(&members).await;
    // Back within a second, as a container is, and long before anybody takes the primary for dead.
    let pause = longest_pause(&world, async {
        members.kill(0);
        members.begin(0);
        members.until_ready(0).await;
    })
    .await;
    let primary = members.primary(PASSWORD);
    assert!(matches!(primary, Some(1 | 2)), "{primary:?}");
    let report = nothing_is_lost(&world).await;
    println!(
        "primary restarted: {report}\nprimary restarted: nothing was accepted for {pause:.1?}"
    );
    assert!(pause < WRITES_AGAIN, "{pause:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_accepted_is_lost_while_every_member_is_replaced_in_turn() {
    let mut members = Members::start(PASSWORD).await;
    let world = world(&members).await;
    let mut pauses = Vec::new();
    for ordinal in (0..members.len()).rev() {
        let was_primary = members.primary(PASSWORD) == Some(ordinal);
        let pause = longest_pause(&world, async {
            members.end(ordinal).await;
            let handed_over = members.log(ordinal).contains("was replaced by");
            assert_eq!(handed_over, was_primary, "{}", members.log(ordinal));
            members.begin(ordinal);
            members.until_ready(ordinal).await;
        })
        .await;
        pauses.push((ordinal, was_primary, pause));
    }
    let handed_over = pauses.iter().filter(|(_, was_primary, _)| *was_primary);
    assert_eq!(handed_over.count(), 1, "{pauses:?}");
    let report = nothing_is_lost(&world).await;
    println!("update: {report}\nupdate: member, was primary, nothing accepted for: {pauses:.1?}");
    assert!(
        pauses.iter().all(|(.., pause)| *pause < HANDED_OVER),
        "{pauses:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_accepted_is_lost_when_all_members_are_killed_at_once() {
    let mut members = Members::start(PASSWORD).await;
    let world = world(&members).await;
    // So that it is not the first, which it would be if nothing had been known.
    members.end(0).await;
    members.begin(0);
    members.until_ready(0).await;
    let before = members.primary(PASSWORD);
    assert!(matches!(before, Some(1 | 2)), "{before:?}");
    let pause = longest_pause(&world, async {
        for ordinal in 0..members.len() {
            members.kill(ordinal);
        }
        for ordinal in 0..members.len() {
            members.begin(ordinal);
        }
        for ordinal in 0..members.len() {
            members.until_ready(ordinal).await;
        }
    })
    .await;
    assert_eq!(members.primary(PASSWORD), before);
    let report = nothing_is_lost(&world).await;
    println!("all killed: {report}\nall killed: nothing was accepted for {pause:.1?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_replaced_password_is_taken_over_and_nobody_is_disconnected() {
    let mut members = Members::start(PASSWORD).await;
    let world = world(&members).await;
    members.set_password(QUOTED);
    world.replace_secret("redis-password", NEXT);
    for ordinal in 0..members.len() {
        members.until_ready(ordinal).await;
        // Whoever has not heard of the new one still comes in.
        assert_eq!(members.ask(ordinal, NEXT, "ping"), "PONG");
        assert_eq!(members.ask(ordinal, PASSWORD, "ping"), "PONG");
    }
    // Replaced in turn they know the new one only, and have to be reached with it, by each other and by gateways.
    for ordinal in (0..members.len()).rev() {
        members.end(ordinal).await;
        members.begin(ordinal);
        members.until_ready(ordinal).await;
        assert!(members.ask(ordinal, PASSWORD, "ping").contains("NOAUTH"));
    }
    world.until_accepted(world.accepted() + 200).await;
    let report = nothing_is_lost(&world).await;
    println!("password replaced: {report}");
    for reader in &world.readers {
        let stays = reader.notes.lock().stays.len();
        assert_eq!(stays, 1, "{} was disconnected", reader.user);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_replaced_password_of_a_redis_that_is_alone_is_taken_over_and_nobody_is_disconnected() {
    let mut members = Members::alone(PASSWORD).await;
    let keys = redis_at(members.ports[0].0);
    let mut world = World::start_with(2, &keys, &[("redis-password", PASSWORD)]).await;
    world.load(Load::STEADY).await;
    world.until_accepted(300).await;
    let run = members.run_id(PASSWORD);

    // The Secret was deleted, say, and another drawn: nobody but Redis' pod knows the one before.
    members.set_password(QUOTED);
    world.replace_secret("redis-password", NEXT);
    members.until_ready(0).await;
    assert_eq!(members.ask(0, NEXT, "ping"), "PONG");
    assert_eq!(members.ask(0, PASSWORD, "ping"), "PONG");
    // It is told the third by the second, although the first still holds.
    members.set_password("the-third");
    world.replace_secret("redis-password", "the-third");
    members.until_ready(0).await;
    assert_eq!(members.run_id("the-third"), run, "Redis began anew");
    world.until_accepted(world.accepted() + 200).await;
    let another = world.another();
    let comes_in = async || another.is_ready().await;
    let soon = Duration::from_secs(30);
    world.within(soon, "a gateway comes in", comes_in).await;
    drop(another);
    let report = world.settled().await;
    println!("alone, password replaced: {report}");
    for reader in &world.readers {
        let stays = reader.notes.lock().stays.len();
        assert_eq!(stays, 1, "{} was disconnected", reader.user);
    }

    // Begun anew it knows the last one only.
    members.kill(0);
    members.begin(0);
    members.until_ready(0).await;
    assert_ne!(members.run_id("the-third"), run);
    assert!(members.ask(0, PASSWORD, "ping").contains("NOAUTH"));
}
