//! What was committed is told, whatever becomes of the node that committed it and of what it tells by.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use wsc_gateway::app::Options;
use wsc_gateway::service::Event;

use super::{done, late, next};
use crate::redis::RedisServer;
use crate::sandbox::{Node, cluster, cluster_of, eventually, options, within};

const PATIENT: Duration = Duration::from_secs(40);

/// What the application heard, on whatever node.
#[derive(Clone, Default)]
struct Application(Arc<Mutex<Vec<Event>>>);

impl Application {
    fn beside(&self, node: &str) -> Options {
        let mut options = options(node);
        let heard = self.0.clone();
        let handler = move |event: Event| {
            heard.lock().push(event);
            async {}
        };
        options.extensions.on_event("ticket.*", handler).unwrap();
        options
    }

    fn heard(&self) -> Vec<String> {
        self.0
            .lock()
            .iter()
            .map(|event| event.name.clone())
            .collect()
    }
}

/// The log of a ticket cannot be written, and what the desk commits can.
struct Unwritable<'a>(&'a RedisServer, String);

impl<'a> Unwritable<'a> {
    fn log(redis: &'a RedisServer, ticket: &str) -> Self {
        let key = key(redis, &format!("t:{ticket}"), "log");
        assert_eq!(redis.cli(&["SET", &key, "no log"]), "OK");
        Self(redis, key)
    }

    fn mend(self) {
        assert_eq!(self.0.cli(&["DEL", &self.1]), "1");
    }
}

/// What the log of a ticket says happened.
async fn logged(node: &Node, ticket: &str) -> Vec<String> {
    let path = format!("/v1/tickets/{ticket}/log");
    let (_, log) = node.call("GET", &path, Value::Null).await;
    let messages = log["messages"].as_array().cloned().unwrap_or_default();
    let kinds = messages
        .iter()
        .map(|logged| logged["message"]["type"].as_str().unwrap().to_owned());
    kinds.collect()
}

async fn recorded(node: &Node, ticket: &str) -> Vec<String> {
    let path = format!("/v1/tickets/{ticket}/steps");
    let (status, answer) = node.call("GET", &path, Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    let steps = answer["steps"].as_array().unwrap().iter();
    steps
        .map(|step| step["step"].as_str().unwrap().to_owned())
        .collect()
}

/// The name in Redis of what is kept under a tag.
fn key(redis: &RedisServer, tag: &str, name: &str) -> String {
    let nodes = redis.cli(&["KEYS", "*}:nodes"]);
    let base = nodes.strip_suffix("}:nodes").unwrap();
    format!("{base}:{tag}}}:{name}")
}

fn untold(redis: &RedisServer) -> String {
    redis.cli(&["ZCARD", &key(redis, "t", "untold")])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_node_had_committed_and_not_told_another_tells_once() {
    let redis = RedisServer::start();
    let application = Application::default();
    let both = ["one", "two"].map(|node| application.beside(node));
    let [one, two] = cluster_of(redis.port, &[], both).await;
    let mut alice = two.connect("alice").await;
    let unwritable = Unwritable::log(&redis, "t1");
    let body = json!({"ticket_id": "t1", "customer": "alice"});
    let (status, opened) = one.call("POST", "/v1/tickets", body).await;
    assert_eq!(
        (status, &opened["status"]),
        (200, &"waiting".into()),
        "{opened}"
    );
    one.0.abort();
    unwritable.mend();
    let opened = late(&mut alice, "ticket.opened", PATIENT).await;
    assert_eq!(opened["ticket_id"], "t1", "{opened}");
    late(&mut alice, "ticket.queued", PATIENT).await;
    within(PATIENT, "nothing is left to tell", || async {
        untold(&redis) == "0"
    })
    .await;
    assert_eq!(logged(&two, "t1").await, ["ticket.opened", "ticket.queued"]);
    assert_eq!(recorded(&two, "t1").await, ["opened", "queued"]);
    eventually("the application has heard", || async {
        application.heard() == ["ticket.opened", "ticket.queued"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_could_not_be_stored_for_a_while_are_in_order_and_hold_up_no_other_ticket() {
    let redis = RedisServer::start();
    let [node] = cluster(redis.port, &["wsc.ticket.enableAck=false"]).await;
    let mut alice = node.connect("alice").await;
    let unwritable = Unwritable::log(&redis, "t1");
    done(&mut alice, "ticket.open", json!({"ticket_id": "t1"})).await;
    // What could not be stored is told here all the same; after the fourth time the node leaves it.
    for _ in 0..4 {
        next(&mut alice, "ticket.opened").await;
    }
    let mut bob = node.connect("bob").await;
    done(&mut bob, "ticket.open", json!({"ticket_id": "t2"})).await;
    next(&mut bob, "ticket.queued").await;
    assert_eq!(
        logged(&node, "t2").await,
        ["ticket.opened", "ticket.queued"]
    );
    unwritable.mend();
    let mut ann = node.agent("ann", &[]).await;
    next(&mut ann, "ticket.assigned").await;
    done(&mut ann, "ticket.accept", json!({"ticket_id": "t1"})).await;
    done(&mut alice, "ticket.close", json!({"ticket_id": "t1"})).await;
    within(PATIENT, "nothing is left to tell", || async {
        untold(&redis) == "0"
    })
    .await;
    assert_eq!(
        logged(&node, "t1").await,
        [
            "ticket.opened",
            "ticket.queued",
            "ticket.accepted",
            "ticket.closed"
        ]
    );
}
