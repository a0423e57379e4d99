//! Two operators with one lease: one writes; the other follows when it dies; one that cannot renew stops before that.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::failpoints::{WITHIN, settled};
use crate::ground::{Ground, eventually};
use crate::operator::Operator;
use crate::proxy::{Call, Deed, Proxy};

/// The lease's life, a look of the follower's, and what a start takes.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(15 + 3 + 4);

/// The leader, and the other one, which looks on.
struct Pair {
    ground: Ground,
    leader: Operator,
    other: Operator,
}

impl Pair {
    async fn new(namespace: &str) -> Self {
        let ground = Ground::new(namespace).await;
        let leader = candidate(&ground, "leader").await;
        ground.apply("chat", &json!({})).await;
        settled(&ground, &leader).await;
        let other = candidate(&ground, "other").await;
        let pair = Self {
            ground,
            leader,
            other,
        };
        // Who has looked twice takes part.
        eventually(WITHIN, "the other looks at the lease", async || {
            let calls = pair.other.proxy.calls();
            (calls.iter().filter(|call| call.is_lease()).count() >= 2).then_some(())
        })
        .await;
        pair
    }

    /// Keeps whoever leads busy until the other one writes.
    async fn change_until_followed(&self) -> Instant {
        let deadline = Instant::now() + FOLLOWS_WITHIN;
        let mut even = false;
        while self.other.proxy.writes() == 0 {
            assert!(
                Instant::now() < deadline,
                "nobody followed: {}",
                self.other.said()
            );
            even = !even;
            let level = if even { "debug" } else { "warn" };
            self.ground.apply("chat", &json!({"logLevel": level})).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let calls = self.other.proxy.calls();
        let mut writes = calls.iter().filter(|call| call.write.is_some());
        writes.next().unwrap().at
    }

    async fn leader_has_ended(&mut self) {
        let deadline = Instant::now() + WITHIN;
        let status = loop {
            if let Some(status) = self.leader.ended() {
                break status;
            }
            assert!(Instant::now() < deadline, "it goes on");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(!status.success(), "{status}");
        let said = self.leader.log();
        assert!(said.contains("the lease is lost"), "{said}");
    }
}

async fn candidate(ground: &Ground, name: &str) -> Operator {
    let proxy = Proxy::new(ground.client.clone()).await;
    Operator::behind(proxy, ground, name, &["--leader-election"])
}

#[tokio::test]
async fn of_two_one_writes_and_when_it_is_killed_the_other_does_within_the_leases_life() {
    let mut pair = Pair::new("killed-leader").await;
    for level in ["debug", "warn", "info"] {
        pair.ground.apply("chat", &json!({"logLevel": level})).await;
        pair.ground.observed("chat", WITHIN).await;
    }
    assert_eq!(pair.other.proxy.writes(), 0, "two wrote");
    pair.leader.kill();
    let killed = Instant::now();
    let followed = pair.change_until_followed().await;
    println!("killed: followed after {:?}", followed - killed);
    pair.ground.observed("chat", WITHIN).await;
}

#[tokio::test]
async fn one_that_cannot_renew_stops_before_the_other_begins() {
    let mut pair = Pair::new("cut-off-leader").await;
    let blocked = |call: &Call| {
        if call.is_lease() {
            Deed::Silence
        } else {
            Deed::Pass
        }
    };
    pair.leader.proxy.plan(blocked);
    let began = Instant::now();
    let followed = pair.change_until_followed().await;
    let last = pair.leader.proxy.last_write().unwrap();
    assert!(last > began, "the leader was not busy, so nothing is shown");
    println!(
        "cut off from the lease: wrote for {:?} more, followed after {:?}",
        last - began,
        followed - began
    );
    assert!(last < followed, "both wrote");
    pair.leader_has_ended().await;
}

#[tokio::test]
async fn one_that_was_stopped_and_wakes_up_late_writes_nothing() {
    let mut pair = Pair::new("stopped-leader").await;
    pair.leader.signal("-STOP");
    let before = pair.leader.proxy.writes();
    pair.change_until_followed().await;
    pair.leader.signal("-CONT");
    pair.leader_has_ended().await;
    assert_eq!(
        pair.leader.proxy.writes(),
        before,
        "it wrote although it was late"
    );
    pair.ground.observed("chat", WITHIN).await;
}
