//! Customer service over real sockets: who gets which ticket, who hears what, and what survives.

mod api;
mod counter;
mod events;
mod keys;
mod messages;
mod survival;
mod telling;

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;

/// Sends a command and takes its answer. Frames before it are kept for [`next`]: steps are told beside the answer.
pub async fn ask(client: &mut Client, kind: &str, data: Value) -> Value {
    let id = format!("{kind}-{}", rand::random::<u32>());
    client
        .send(json!({"type": kind, "id": id, "data": data}))
        .await;
    loop {
        let frame = client.next().await;
        if frame["ref"] == id {
            return frame;
        }
        client.passed.push(frame);
    }
}

/// The same where the answer is a result.
pub async fn done(client: &mut Client, kind: &str, data: Value) -> Value {
    let answer = ask(client, kind, data).await;
    assert_eq!(answer["type"], "result", "{answer}");
    answer["data"].clone()
}

/// The code with which a command is refused.
pub async fn refused(client: &mut Client, kind: &str, data: Value) -> String {
    let answer = ask(client, kind, data).await;
    assert_eq!(answer["type"], "error", "{answer}");
    answer["code"].as_str().unwrap().to_owned()
}

/// The next frame of a type; others are passed over.
pub async fn next(client: &mut Client, kind: &str) -> Value {
    if let Some(at) = client.passed.iter().position(|frame| frame["type"] == kind) {
        let mut until = client.passed.drain(..=at);
        return until.next_back().unwrap();
    }
    client.passed.clear();
    loop {
        let frame = client.next().await;
        if frame["type"] == kind {
            return frame;
        }
    }
}

/// The next frame of a type, however long it takes within this time.
pub async fn late(client: &mut Client, kind: &str, patience: Duration) -> Value {
    let next = async {
        loop {
            let frame = client.next_late(patience).await;
            if frame["type"] == kind {
                return frame;
            }
        }
    };
    let next = tokio::time::timeout(patience, next).await;
    next.unwrap_or_else(|_| panic!("no {kind} within {patience:?}"))
}

/// The contents of the next messages that people wrote.
pub async fn heard<const N: usize>(client: &mut Client) -> [String; N] {
    let mut all = Vec::new();
    while all.len() < N {
        let frame = next(client, "text").await;
        all.push(frame["content"].as_str().unwrap().to_owned());
    }
    all.try_into().unwrap()
}

/// Says something in a ticket and waits until it is accepted.
pub async fn say(client: &mut Client, ticket: &str, content: &str) -> Value {
    let frame = json!({"type": "text", "id": content, "ticket_id": ticket, "content": content});
    client.send(frame).await;
    let receipt = next(client, "receipt").await;
    assert_eq!(receipt["data"]["ref"], content, "{receipt}");
    receipt["data"].clone()
}

/// Opens a ticket, has the agent accept it, and waits until the customer knows.
pub async fn served(customer: &mut Client, agent: &mut Client, ticket: &str) {
    done(customer, "ticket.open", json!({"ticket_id": ticket})).await;
    let offer = next(agent, "ticket.assigned").await;
    assert_eq!(offer["ticket_id"], ticket, "{offer}");
    done(agent, "ticket.accept", json!({"ticket_id": ticket})).await;
    next(customer, "ticket.accepted").await;
}
