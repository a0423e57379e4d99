//! What is said in a ticket: stored once, for everyone in it, acknowledged, and there for who joins or comes back.

use serde_json::{Value, json};
use wsc_gateway::security::Scopes;

use super::{done, heard, next, say, served};
use crate::client::Client;
use crate::redis::RedisServer;
use crate::sandbox::{Node, alone, cluster, token};
use crate::silently::append_to_ticket;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_reaches_everyone_in_the_ticket_on_whatever_node_and_nobody_else() {
    let redis = RedisServer::start();
    let [one, two, three] = cluster(redis.port, &[]).await;
    let mut ann = one.agent("ann", &[]).await;
    let mut alice = two.connect("alice").await;
    let mut wanda = three.connect_with("wanda", Scopes::OBSERVE).await;
    let mut mallory = three.connect("mallory").await;
    served(&mut alice, &mut ann, "t1").await;
    let receipt = say(&mut alice, "t1", "hello").await;
    assert_eq!(receipt["level"], "stored", "{receipt}");
    assert_eq!(heard(&mut ann).await, ["hello"]);
    done(&mut wanda, "ticket.join", json!({"ticket_id": "t1"})).await;
    assert_eq!(
        heard(&mut wanda).await,
        ["hello"],
        "who joins gets what was said"
    );
    say(&mut ann, "t1", "how can I help").await;
    for client in [&mut alice, &mut wanda] {
        let message = loop {
            let message = next(client, "text").await;
            if message["content"] != "hello" {
                break message;
            }
        };
        assert_eq!(message["content"], "how can I help", "{message}");
        assert_eq!(
            (&message["from"], &message["from_type"]),
            (&"ann".into(), &"agent".into())
        );
        assert_eq!(message["ticket_id"], "t1", "{message}");
    }
    for (client, content) in [(&mut mallory, "let me in"), (&mut wanda, "only watching")] {
        let frame = json!({"type": "text", "id": "x", "ticket_id": "t1", "content": content});
        client.send(frame).await;
        let error = next(client, "error").await;
        assert_eq!(error["code"], "forbidden", "{error}");
    }
    let (_, log) = one.call("GET", "/v1/tickets/t1/log", Value::Null).await;
    let texts = log["messages"].as_array().unwrap().iter();
    let texts = texts.filter(|logged| logged["message"]["type"] == "text");
    let texts: Vec<_> = texts
        .map(|logged| logged["message"]["content"].clone())
        .collect();
    assert_eq!(texts, ["hello", "how can I help"], "each is stored once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_a_ticket_is_transferred_to_gets_its_history_in_order_and_the_former_hears_no_more()
 {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &[]).await;
    let mut ann = one.agent("ann", &[]).await;
    let mut alice = one.connect("alice").await;
    served(&mut alice, &mut ann, "t1").await;
    for content in ["one", "two", "three"] {
        say(&mut alice, "t1", content).await;
    }
    let mut ben = two.agent("ben", &[]).await;
    crate::sandbox::eventually("ben is online", || async {
        let agents = one.0.tickets().agents(None, 100).await.unwrap().agents;
        agents
            .iter()
            .any(|agent| agent.agent == "ben" && agent.status == "online")
    })
    .await;
    done(
        &mut ann,
        "ticket.transfer",
        json!({"ticket_id": "t1", "agent": "ben"}),
    )
    .await;
    next(&mut ben, "ticket.assigned").await;
    done(&mut ben, "ticket.accept", json!({"ticket_id": "t1"})).await;
    assert_eq!(heard(&mut ben).await, ["one", "two", "three"]);
    say(&mut alice, "t1", "four").await;
    assert_eq!(heard(&mut ben).await, ["four"]);
    // Ann is told of the transfer; what comes next for ann is something else.
    next(&mut ann, "ticket.transferred").await;
    alice
        .send(json!({"type": "text", "to": "ann", "content": "bye"}))
        .await;
    assert_eq!(heard(&mut ann).await, ["bye"]);
}

/// Acknowledges a message of a ticket.
async fn acknowledge(client: &mut Client, ticket: &str, id: &Value) {
    client
        .send(json!({"type": "ack", "ticket_id": ticket, "data": {"id": id}}))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_reaches_the_sender_and_only_who_was_to_get_it_can_give_one() {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &[]).await;
    let mut ann = one.agent("ann", &[]).await;
    let mut alice = two.connect("alice").await;
    let mut mallory = two.connect("mallory").await;
    served(&mut alice, &mut ann, "t1").await;
    say(&mut alice, "t1", "hello").await;
    let message = next(&mut ann, "text").await;
    assert_eq!(message["require_ack"], true, "{message}");
    acknowledge(&mut mallory, "t1", &message["id"]).await;
    assert_eq!(next(&mut mallory, "error").await["code"], "forbidden");
    acknowledge(&mut ann, "t1", &message["id"]).await;
    let receipt = next(&mut alice, "receipt").await;
    assert_eq!(
        (&receipt["data"]["state"], &receipt["data"]["by"]),
        (&"delivered".into(), &"ann".into()),
        "{receipt}"
    );
    // Without the ticket it is known too, where it is owed.
    say(&mut alice, "t1", "again").await;
    let message = next(&mut ann, "text").await;
    let read = json!({"type": "ack", "data": {"id": message["id"], "state": "read"}});
    ann.send(read).await;
    let receipt = next(&mut alice, "receipt").await;
    assert_eq!(receipt["data"]["state"], "read", "{receipt}");
}

async fn come_back(node: &Node, user: &str, resume: &Value) -> Client {
    let bytes = resume.to_string();
    let resume: Vec<String> = bytes.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let url = format!("{}?resume={}", node.ws(), resume.concat());
    Client::connect(&url, &token(user, Scopes::NONE))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_resumes_the_log_of_a_ticket_on_another_node_and_a_stranger_does_not() {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &["wsc.ticket.enableAck=false"]).await;
    let mut ann = one.agent("ann", &[]).await;
    let mut alice = one.connect("alice").await;
    served(&mut alice, &mut ann, "t1").await;
    let place = say(&mut alice, "t1", "one").await["pos"].clone();
    drop(alice);
    for content in ["two", "three"] {
        say(&mut ann, "t1", content).await;
    }
    let mut alice = come_back(&two, "alice", &json!({"ticket:t1": place})).await;
    assert_eq!(alice.welcome["data"]["resumed"], true, "{}", alice.welcome);
    assert_eq!(heard(&mut alice).await, ["two", "three"]);
    let mut mallory = come_back(&two, "mallory", &json!({"ticket:t1": "0.0"})).await;
    assert_eq!(mallory.welcome["data"]["resumed"], false);
    say(&mut ann, "t1", "four").await;
    assert_eq!(heard(&mut alice).await, ["four"]);
    ann.send(json!({"type": "text", "to": "mallory", "content": "nothing for you"}))
        .await;
    assert_eq!(mallory.hear().await, "nothing for you");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_repeats_its_id_in_a_ticket_gets_the_first_result() {
    let node = alone(&["wsc.ticket.enableAck=false"]).await;
    let mut ann = node.agent("ann", &[]).await;
    let mut alice = node.connect("alice").await;
    served(&mut alice, &mut ann, "t1").await;
    let first = say(&mut alice, "t1", "one").await;
    let second = say(&mut alice, "t1", "one").await;
    assert_eq!(
        (&first["pos"], &second["repeated"]),
        (&second["pos"], &true.into())
    );
    say(&mut alice, "t1", "two").await;
    assert_eq!(heard(&mut ann).await, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_participants_were_not_told_is_brought_from_the_log() {
    let redis = RedisServer::start();
    let [node] = cluster(redis.port, &["wsc.ticket.enableAck=false"]).await;
    let mut ann = node.agent("ann", &[]).await;
    let mut alice = node.connect("alice").await;
    append_to_ticket(&node, &redis, ("t1", "the first"), 0).await;
    // Where the ticket begins for her is the second place of its log.
    done(&mut alice, "ticket.open", json!({"ticket_id": "t1"})).await;
    assert_eq!(heard(&mut alice).await, ["the first"]);
    next(&mut ann, "ticket.assigned").await;
    done(&mut ann, "ticket.accept", json!({"ticket_id": "t1"})).await;
    assert_eq!(heard(&mut ann).await, ["the first"]);
    append_to_ticket(&node, &redis, ("t1", "the last"), 0).await;
    for client in [&mut alice, &mut ann] {
        assert_eq!(heard(client).await, ["the last"]);
    }
}
