//! Tickets are given out: to one agent each, never above the limit, first come first served, on however many nodes.

use std::collections::BTreeMap;

use serde_json::json;
use wsc_gateway::security::Scopes;

use super::{done, next, refused, served};
use crate::client::Client;
use crate::redis::RedisServer;
use crate::sandbox::{alone, cluster, eventually, token_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_and_an_agent_on_other_nodes_are_brought_together() {
    let redis = RedisServer::start();
    let [one, two, _three] = cluster(redis.port, &[]).await;
    let mut ann = one.agent("ann", &[]).await;
    let mut alice = two.connect("alice").await;
    eventually("ann is online", || async { agents(&two).await == 1 }).await;
    let data = json!({"ticket_id": "t1", "subject": "lost parcel", "priority": "high"});
    let opened = done(&mut alice, "ticket.open", data).await;
    assert_eq!(opened["ticket"]["priority"], "normal", "{opened}");
    let offer = next(&mut ann, "ticket.assigned").await;
    assert_eq!(offer["data"]["ticket"]["subject"], "lost parcel", "{offer}");
    assert_eq!(offer["require_ack"], true, "{offer}");
    let taken = done(&mut ann, "ticket.accept", json!({"ticket_id": "t1"})).await;
    assert_eq!(taken["ticket"]["status"], "active", "{taken}");
    let told = next(&mut alice, "ticket.accepted").await;
    assert_eq!(told["data"]["agent"], "ann", "{told}");
    done(&mut alice, "ticket.close", json!({"ticket_id": "t1"})).await;
    let closed = next(&mut ann, "ticket.closed").await;
    assert_eq!(closed["data"]["because"], "asked", "{closed}");
    let history = done(&mut alice, "ticket.history", json!({"ticket_id": "t1"})).await;
    let steps: Vec<_> = history["steps"].as_array().unwrap().iter().collect();
    let steps: Vec<_> = steps
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["opened", "assigned", "accepted", "closed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_knows_the_place_and_an_agent_who_has_room_again_takes_the_first() {
    let node = alone(&["wsc.ticket.maxTicketsPerAgent=1"]).await;
    let mut ann = node.agent("ann", &[]).await;
    let (mut alice, mut bob) = (node.connect("alice").await, node.connect("bob").await);
    let mut carol = node.connect("carol").await;
    served(&mut alice, &mut ann, "t1").await;
    done(&mut bob, "ticket.open", json!({"ticket_id": "t2"})).await;
    let queued = next(&mut bob, "ticket.queued").await;
    assert_eq!(queued["data"]["position"], 1, "{queued}");
    done(&mut carol, "ticket.open", json!({"ticket_id": "t3"})).await;
    let queued = next(&mut carol, "ticket.queued").await;
    assert_eq!(queued["data"]["position"], 2, "{queued}");
    let status = done(&mut carol, "ticket.status", json!({"ticket_id": "t3"})).await;
    assert_eq!(status["ticket"]["position"], 2, "{status}");
    assert!(status["ticket"]["waited_ms"].is_u64(), "{status}");
    let queues = done(&mut ann, "ticket.queues", json!({})).await;
    assert_eq!(queues["queues"][0]["length"], 2, "{queues}");
    done(&mut ann, "ticket.close", json!({"ticket_id": "t1"})).await;
    let offer = next(&mut ann, "ticket.assigned").await;
    assert_eq!(offer["ticket_id"], "t2", "{offer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn skills_come_from_the_token_and_from_nothing_the_client_says() {
    let node = alone(&["wsc.ticket.assignStrategy=skill-based"]).await;
    let mut ann = node.agent("ann", &["billing"]).await;
    let mut alice = node.connect("alice").await;
    let code = refused(&mut ann, "agent.online", json!({"skills": ["returns"]})).await;
    assert_eq!(code, "bad_frame");
    let returns = json!({"ticket_id": "t1", "skills": ["returns"]});
    let waits = done(&mut alice, "ticket.open", returns).await;
    assert_eq!(waits["ticket"]["status"], "waiting", "{waits}");
    let billing = json!({"ticket_id": "t2", "skills": ["billing"]});
    done(&mut alice, "ticket.open", billing).await;
    let offer = next(&mut ann, "ticket.assigned").await;
    assert_eq!(offer["ticket_id"], "t2", "{offer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_can_do_what_its_new_token_says() {
    let node = alone(&["wsc.ticket.assignStrategy=skill-based"]).await;
    let mut ann = node.agent("ann", &[]).await;
    let mut alice = node.connect("alice").await;
    let data = json!({"ticket_id": "t1", "skills": ["billing"]});
    done(&mut alice, "ticket.open", data).await;
    let token = token_of("ann", "agent", (Scopes::NONE, &["billing"]));
    ann.send(json!({"type": "auth", "data": {"token": token}}))
        .await;
    assert_eq!(next(&mut ann, "ticket.assigned").await["ticket_id"], "t1");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_may_do_what_it_is_for_and_nothing_else() {
    let node = alone(&[]).await;
    let mut ann = node.agent("ann", &[]).await;
    let (mut alice, mut mallory) = (node.connect("alice").await, node.connect("mallory").await);
    served(&mut alice, &mut ann, "t1").await;
    let t1 = || json!({"ticket_id": "t1"});
    for (kind, data) in [
        ("ticket.status", t1()),
        ("ticket.history", t1()),
        ("ticket.close", t1()),
        ("ticket.accept", t1()),
        ("ticket.join", t1()),
        (
            "ticket.assign",
            json!({"ticket_id": "t1", "agent": "mallory"}),
        ),
        (
            "ticket.transfer",
            json!({"ticket_id": "t1", "agent": "mallory"}),
        ),
        ("ticket.open", json!({"customer": "alice"})),
        ("ticket.queues", json!({})),
        ("agent.online", json!({})),
        ("agent.list", json!({})),
    ] {
        assert_eq!(
            refused(&mut mallory, kind, data).await,
            "forbidden",
            "{kind}"
        );
    }
    let list = done(&mut mallory, "ticket.list", json!({})).await;
    assert_eq!(list["tickets"], json!([]), "nothing of it is mallory's");
    let mut watcher = node.connect_with("wanda", Scopes::OBSERVE).await;
    let list = done(&mut watcher, "ticket.list", json!({})).await;
    assert_eq!(list["tickets"][0]["ticket_id"], "t1", "{list}");
    assert_eq!(
        refused(&mut watcher, "ticket.close", t1()).await,
        "forbidden"
    );
    assert_eq!(
        refused(&mut watcher, "ticket.lost", t1()).await,
        "not_supported"
    );
    assert_eq!(
        refused(&mut watcher, "ticket.status", json!({})).await,
        "bad_frame"
    );
    let missing = json!({"ticket_id": "t9"});
    assert_eq!(
        refused(&mut watcher, "ticket.status", missing).await,
        "not_found"
    );
    let mut boss = node.connect_with("boss", Scopes::ADMIN).await;
    let _ben = node.agent("ben", &[]).await;
    let to_ben = json!({"ticket_id": "t1", "agent": "ben"});
    eventually("ben is online", || async { agents(&node).await == 2 }).await;
    let moved = done(&mut boss, "ticket.transfer", to_ben).await;
    assert_eq!(moved["ticket"]["agent"], "ben", "{moved}");
    let closed = done(&mut boss, "ticket.close", t1()).await;
    assert_eq!(closed["ticket"]["closed_by"], "boss", "{closed}");
}

/// How many agents are online.
async fn agents(node: &crate::sandbox::Node) -> usize {
    let agents = node.0.tickets().agents(None, 100).await.unwrap().agents;
    agents
        .iter()
        .filter(|agent| agent.status == "online")
        .count()
}

const CUSTOMERS: usize = 30;
const AGENTS: usize = 4;
const LIMIT: usize = 2;

/// An agent who accepts what is assigned, works on it and closes it; what it had.
async fn work(mut agent: Client, total: tokio::sync::mpsc::Sender<(String, String)>, name: String) {
    let (mut has, mut seen) = (Vec::<String>::new(), 0);
    loop {
        let frame = agent.next().await;
        match frame["type"].as_str() {
            Some("ticket.assigned") if frame["data"]["step"] == "assigned" => {
                let ticket = frame["ticket_id"].as_str().unwrap().to_owned();
                agent
                    .send(json!({"type": "ticket.accept", "data": {"ticket_id": ticket}}))
                    .await;
            }
            Some("ticket.accepted") if frame["data"]["agent"] == name.as_str() => {
                let ticket = frame["ticket_id"].as_str().unwrap().to_owned();
                has.push(ticket.clone());
                assert!(has.len() <= LIMIT, "{name} has {has:?}");
                if total.send((ticket, name.clone())).await.is_err() {
                    return;
                }
                // It keeps as many as it may before it closes the first.
                seen += 1;
                if has.len() == LIMIT || seen >= CUSTOMERS / AGENTS {
                    let first = has.remove(0);
                    agent
                        .send(json!({"type": "ticket.close", "data": {"ticket_id": first}}))
                        .await;
                }
            }
            Some("error") => panic!("{name}: {frame}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_three_nodes_each_ticket_gets_one_agent_none_has_too_many_and_none_is_lost() {
    let redis = RedisServer::start();
    let limit = format!("wsc.ticket.maxTicketsPerAgent={LIMIT}");
    let nodes: [_; 3] = cluster(redis.port, &[&limit, "wsc.ticket.enableAck=false"]).await;
    let (total, mut accepted) = tokio::sync::mpsc::channel(CUSTOMERS * 2);
    let mut customers = Vec::new();
    for n in 0..CUSTOMERS {
        let mut customer = nodes[n % 3].connect(&format!("customer-{n}")).await;
        let data = json!({"ticket_id": format!("t{n:02}")});
        customer
            .send(json!({"type": "ticket.open", "id": "open", "data": data}))
            .await;
        customers.push(customer);
    }
    for customer in &mut customers {
        next(customer, "result").await;
    }
    for n in 0..AGENTS {
        let name = format!("agent-{n}");
        let agent = nodes[n % 3].agent(&name, &[]).await;
        tokio::spawn(work(agent, total.clone(), name));
    }
    drop(total);
    let mut by_ticket = BTreeMap::new();
    while by_ticket.len() < CUSTOMERS {
        let next = tokio::time::timeout(crate::sandbox::DEADLINE * 2, accepted.recv());
        let (ticket, agent) = next
            .await
            .unwrap_or_else(|_| panic!("only {by_ticket:?}"))
            .unwrap();
        let before = by_ticket.insert(ticket.clone(), agent);
        assert!(before.is_none(), "{ticket} was with {before:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_goes_before_others_only_if_an_agent_or_the_token_says_so() {
    let node = alone(&[]).await;
    let mut alice = node.connect("alice").await;
    let mut vip = node.connect_with("vip", Scopes::PRIORITY).await;
    let mut ann = node.agent("ann", &[]).await;
    let cases = [
        (&mut alice, "alice", "critical", "normal"),
        (&mut vip, "vip", "critical", "critical"),
        (&mut ann, "bob", "high", "high"),
    ];
    for (client, customer, wanted, given) in cases {
        let data = json!({"customer": customer, "priority": wanted});
        let opened = done(client, "ticket.open", data).await;
        assert_eq!(opened["ticket"]["priority"], given, "{opened}");
    }
    let low = done(&mut alice, "ticket.open", json!({"priority": "low"})).await;
    assert_eq!(low["ticket"]["priority"], "low");
}
