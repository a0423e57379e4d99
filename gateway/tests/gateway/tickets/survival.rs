//! Nodes that die, agents that go and come, a Redis that is away: tickets are not lost and move on.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{ask, done, heard, late, next, say, served};
use crate::redis::RedisServer;
use crate::sandbox::{Node, cluster, eventually, within};

const PATIENT: Duration = Duration::from_secs(40);

async fn online(node: &Node, agent: &str) -> bool {
    let agent = wsc_gateway::protocol::UserId::new(agent).unwrap();
    let known = node.0.tickets().agent(&agent).await.ok().flatten();
    known.is_some_and(|known| known.status == "online")
}

async fn holder(node: &Node, ticket: &str) -> Option<String> {
    let id = wsc_gateway::protocol::TicketId::new(ticket).unwrap();
    let found = node.0.tickets().find(&id).await.ok()?;
    found.ticket.served_by().map(ToString::to_string)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tickets_of_an_agent_whose_node_was_killed_move_on_after_the_grace() {
    let redis = RedisServer::start();
    let [one, two, _three] = cluster(redis.port, &["wsc.ticket.notifyTimeout=2s"]).await;
    let mut alice = two.connect("alice").await;
    let mut ann = one.agent("ann", &[]).await;
    served(&mut alice, &mut ann, "t1").await;
    say(&mut alice, "t1", "hello").await;
    let mut ben = two.agent("ben", &[]).await;
    eventually("ben is online", || online(&two, "ben")).await;
    let killed = Instant::now();
    one.0.abort();
    let offer = late(&mut ben, "ticket.assigned", PATIENT).await;
    assert_eq!(offer["ticket_id"], "t1", "{offer}");
    assert!(
        killed.elapsed() >= Duration::from_secs(2),
        "{:?}",
        killed.elapsed()
    );
    done(&mut ben, "ticket.accept", json!({"ticket_id": "t1"})).await;
    assert_eq!(heard(&mut ben).await, ["hello"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_who_is_back_within_the_grace_on_another_node_keeps_its_tickets() {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &["wsc.ticket.notifyTimeout=6s"]).await;
    let mut alice = two.connect("alice").await;
    let mut ann = one.agent("ann", &[]).await;
    served(&mut alice, &mut ann, "t1").await;
    let _ben = two.agent("ben", &[]).await;
    eventually("ben is online", || online(&two, "ben")).await;
    drop(ann);
    within(PATIENT, "ann is gone", || async {
        !online(&two, "ann").await
    })
    .await;
    let _ann = two.agent("ann", &[]).await;
    eventually("ann is back", || online(&one, "ann")).await;
    // Longer than the grace would have been.
    let until = Instant::now() + Duration::from_secs(7);
    while Instant::now() < until {
        assert_eq!(holder(&two, "t1").await.as_deref(), Some("ann"));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_go_on_when_the_node_that_fires_them_is_killed() {
    let redis = RedisServer::start();
    let nodes: [_; 3] = cluster(redis.port, &["wsc.ticket.queueTimeout=3s"]).await;
    let owner = nodes[0].0.cluster().owner_of("ticket-desk").await.unwrap();
    let (dying, staying): (Vec<_>, Vec<_>) = nodes
        .iter()
        .partition(|node| *node.0.cluster().identity().0 == owner);
    let mut alice = staying[0].connect("alice").await;
    done(&mut alice, "ticket.open", json!({"ticket_id": "t1"})).await;
    dying[0].0.abort();
    let closed = late(&mut alice, "ticket.closed", PATIENT).await;
    assert_eq!(closed["data"]["because"], "queue_timeout", "{closed}");
    let fired = |node: &&Node| {
        node.0
            .tickets()
            .stats()
            .fired
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    let fired: Vec<u64> = staying.iter().map(fired).collect();
    assert!(fired.iter().sum::<u64>() > 0, "{fired:?}");
    assert!(fired.contains(&0), "one node fires: {fired:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_survive_a_restart_of_redis_and_what_is_asked_meanwhile_fails_honestly() {
    let mut redis = RedisServer::with_args(&["--appendonly", "yes", "--appendfsync", "always"]);
    let [one, two] = cluster(redis.port, &[]).await;
    let mut alice = two.connect("alice").await;
    let mut ann = one.agent("ann", &[]).await;
    served(&mut alice, &mut ann, "t1").await;
    say(&mut alice, "t1", "before").await;
    redis.kill();
    eventually("the nodes have noticed", || async { !two.ready().await }).await;
    let refused = ask(&mut alice, "ticket.open", json!({"ticket_id": "t2"})).await;
    assert_eq!(refused["code"], "unavailable", "{refused}");
    redis.restart();
    within(PATIENT, "the nodes are back", || async {
        one.ready().await && two.ready().await
    })
    .await;
    say(&mut ann, "t1", "after").await;
    loop {
        let [content] = heard(&mut alice).await;
        if content == "after" {
            break;
        }
    }
    let closed = done(&mut alice, "ticket.close", json!({"ticket_id": "t1"})).await;
    assert_eq!(closed["ticket"]["agent"], "ann", "{closed}");
    next(&mut ann, "ticket.closed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_who_stays_connected_is_known_again_after_redis_has_lost_everything() {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &["wsc.ticket.assignStrategy=skill-based"]).await;
    let mut ann = one.agent("ann", &["billing"]).await;
    let mut alice = two.connect("alice").await;
    eventually("ann is online", || online(&two, "ann")).await;
    redis.cli(&["FLUSHALL"]);
    within(PATIENT, "ann is online again", || online(&two, "ann")).await;
    let data = json!({"ticket_id": "t1", "skills": ["billing"]});
    done(&mut alice, "ticket.open", data).await;
    assert_eq!(
        late(&mut ann, "ticket.assigned", PATIENT).await["ticket_id"],
        "t1"
    );
    // Nobody takes her for gone meanwhile: the roll is called every second.
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        assert!(online(&two, "ann").await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sender_hears_that_a_message_expired_though_the_node_that_took_it_was_killed() {
    let redis = RedisServer::start();
    let sets = ["wsc.ticket.ackTimeout=3s", "wsc.ticket.maxRetry=1"];
    let [one, two] = cluster(redis.port, &sets).await;
    // Acknowledges nothing that is said.
    let mut ann = two.agent("ann", &[]).await;
    let mut alice = one.connect("alice").await;
    served(&mut alice, &mut ann, "t1").await;
    say(&mut alice, "t1", "hello").await;
    assert_eq!(heard(&mut ann).await, ["hello"]);
    one.0.abort();
    let mut alice = two.connect("alice").await;
    let receipt = late(&mut alice, "receipt", PATIENT).await;
    let data = &receipt["data"];
    assert_eq!(
        (&data["ref"], &data["state"], &data["by"]),
        (&"hello".into(), &"expired".into(), &"ann".into()),
        "{receipt}"
    );
}
