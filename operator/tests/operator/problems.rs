//! What gateways say is wrong with them: told in an event when it comes, when it is another, and when it is gone.

use tokio::time::Instant;
use wsc_operator::census::{Counts, Phase, PodCount, Problem, RedisLink};

use crate::reconcile::{World, events, pods_with};

/// What the census heard of the one pod.
async fn told(world: &World, lines: &[&str]) -> Vec<String> {
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let count = PodCount::new(1, Phase::Serving, RedisLink::Up);
    let mut counts = Counts::default();
    counts.insert(
        "chat-1".to_owned(),
        count.with_problems(Problem::all(&lines)),
    );
    let key = ("default".to_owned(), "chat".to_owned());
    world.context.census.publish(&key, counts, Instant::now());
    let seen = world.reconcile().await;
    events(&seen).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_problem_is_told_when_it_comes_changes_or_goes_and_not_while_it_lasts() {
    let world = World::cluster();
    world.settle().await;
    pods_with(&world, &[("chat-1", 1)]);
    world.settle().await;
    let down = |seconds: u32| format!("etcd: down for {seconds} s: no answer");
    assert_eq!(told(&world, &[&down(1)]).await, ["GatewayProblems"]);
    let said = world.condition("Degraded");
    assert_eq!(said["message"], "etcd: down: no answer (chat-1)");
    assert!(told(&world, &[&down(11)]).await.is_empty());
    assert_eq!(
        told(&world, &["tokens: no keys"]).await,
        ["GatewayProblems"]
    );
    assert_eq!(told(&world, &[]).await, ["Healthy"]);
}
