//! Every step is an event for the application and a record, and both say the same.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use wsc_gateway::app::Gateway;
use wsc_gateway::security::Scopes;
use wsc_gateway::service::Event;

use super::{done, next};
use crate::client::Client;
use crate::sandbox::{Node, config, eventually, options, token_of};

type Heard = Arc<Mutex<Vec<Event>>>;

/// A gateway whose application hears all of tickets and agents.
async fn heard(sets: &[&str]) -> (Node, Heard) {
    let heard = Heard::default();
    let mut options = options("events");
    for family in ["ticket.*", "agent.*"] {
        let seen = heard.clone();
        let handler = move |event: Event| {
            seen.lock().push(event);
            async {}
        };
        options.extensions.on_event(family, handler).unwrap();
    }
    let gateway = Gateway::start(config(sets), options).await.unwrap();
    (Node(gateway), heard)
}

/// The steps that the application heard of, as they were told; timeouts, which are told beside them, are not among them.
fn told(heard: &Heard, ticket: &str) -> Vec<Value> {
    let heard = heard.lock();
    let of_ticket = heard.iter().filter(|event| {
        event.subject.as_deref() == Some(ticket) && event.name != "ticket.timed_out"
    });
    let steps = of_ticket.map(|event| {
        let mut data = event.data.clone();
        assert_eq!(
            event.name,
            format!("ticket.{}", data["step"].as_str().unwrap())
        );
        data["ticket"] = ticket.into();
        data
    });
    steps.collect()
}

async fn recorded(node: &Node, ticket: &str) -> Vec<Value> {
    let path = format!("/v1/tickets/{ticket}/steps");
    let (status, answer) = node.call("GET", &path, Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    answer["steps"].as_array().unwrap().clone()
}

fn word(step: &Value) -> &str {
    step["step"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_is_an_event_and_a_record_that_say_the_same() {
    let (node, heard) = heard(&["wsc.ticket.ackTimeout=20s"]).await;
    let mut alice = node.connect("alice").await;
    done(&mut alice, "ticket.open", json!({"ticket_id": "t1"})).await;
    let mut ann = node.agent("ann", &[]).await;
    let offer = next(&mut ann, "ticket.assigned").await;
    let data = json!({"id": offer["id"], "state": "delivered"});
    ann.send(json!({"type": "ack", "id": "a", "ticket_id": "t1", "data": data}))
        .await;
    eventually("the offer is acknowledged", || async {
        told(&heard, "t1")
            .iter()
            .any(|step| word(step) == "acknowledged")
    })
    .await;
    done(&mut ann, "ticket.accept", json!({"ticket_id": "t1"})).await;
    let token = token_of("boss", "admin", (Scopes::ADMIN, &[]));
    let mut boss = Client::connect(&node.ws(), &token).await.unwrap();
    done(&mut boss, "ticket.join", json!({"ticket_id": "t1"})).await;
    done(&mut boss, "ticket.leave", json!({"ticket_id": "t1"})).await;
    done(&mut ann, "agent.away", json!({})).await;
    let queue = json!({"ticket_id": "t1", "skills": ["billing"]});
    done(&mut boss, "ticket.transfer", queue).await;
    done(&mut alice, "ticket.close", json!({"ticket_id": "t1"})).await;
    let words = [
        "opened",
        "queued",
        "assigned",
        "acknowledged",
        "accepted",
        "joined",
        "left",
        "transferred",
        "queued",
        "closed",
    ];
    eventually("all of it was told", || async {
        told(&heard, "t1").iter().map(word).eq(words)
    })
    .await;
    assert_eq!(recorded(&node, "t1").await, told(&heard, "t1"));
    let agents: Vec<String> = heard
        .lock()
        .iter()
        .filter(|event| event.subject.as_deref() == Some("ann"))
        .map(|event| event.name.clone())
        .collect();
    assert_eq!(agents.last().unwrap(), "agent.away", "{agents:?}");
    assert!(agents.contains(&"agent.online".to_owned()), "{agents:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_is_told_with_the_key_that_ran_out() {
    let sets = [
        "wsc.ticket.queueTimeout=1s",
        "wsc.ticket.ackTimeout=100ms",
        "wsc.ticket.maxRetry=1",
    ];
    let (node, heard) = heard(&sets).await;
    // Acknowledges nothing, accepts nothing.
    let _ann = node.agent("ann", &[]).await;
    let mut alice = node.connect("alice").await;
    done(&mut alice, "ticket.open", json!({"ticket_id": "t1"})).await;
    let timeouts = || {
        let heard = heard.lock();
        let timeouts = heard
            .iter()
            .filter(|event| event.name == "ticket.timed_out");
        let timeouts = timeouts.map(|event| event.data["timeout"].as_str().unwrap().to_owned());
        timeouts.collect::<Vec<_>>()
    };
    eventually("both times ran out", || async {
        timeouts() == ["ackTimeout", "queueTimeout"]
    })
    .await;
    let steps = recorded(&node, "t1").await;
    let words: Vec<&str> = steps.iter().map(word).collect();
    assert_eq!(
        words,
        [
            "opened",
            "assigned",
            "reminded",
            "passed_on",
            "queued",
            "closed"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_records_the_steps_are_told_and_not_kept() {
    let (node, heard) = heard(&["wsc.record.enabled=false"]).await;
    let mut alice = node.connect("alice").await;
    done(&mut alice, "ticket.open", json!({"ticket_id": "t1"})).await;
    eventually("it was told", || async { told(&heard, "t1").len() == 2 }).await;
    assert_eq!(recorded(&node, "t1").await, Vec::<Value>::new());
}
