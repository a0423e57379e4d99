//! Messages cross from pod to pod: between clients, by broadcast, and from both APIs.

use std::time::Duration;

use anyhow::{Result, ensure};
use hyper::Method;
use serde_json::json;
use wsc_e2e::chart;
use wsc_e2e::client::{ChatClient, Who};
use wsc_e2e::gateway::Gateway;
use wsc_e2e::namespace::with_gateway;
use wsc_e2e::resource::sample;
use wsc_proto::v1::{MessageBody, SendRequest};

const SOON: Duration = Duration::from_secs(10);
/// Below the default rate limit of a client.
const MESSAGES: usize = 40;

#[tokio::test]
async fn messages_broadcasts_and_api_calls_reach_clients_on_every_pod() -> Result<()> {
    let _operator = chart::operator_in_use().await;
    with_gateway("cross-node", sample(3), async |gateway| {
        let pods = gateway.ready_pods().await?;
        let mut clients = Vec::new();
        for (user, pod) in ["alice", "bob", "carol"].into_iter().zip(&pods) {
            let who = Who::user(user).at(pod).with_scope("broadcast");
            clients.push(ChatClient::connect(&gateway, who).await?);
        }
        converse(&clients).await?;
        broadcast(&clients).await?;
        for pod in &pods {
            send_by_http(&gateway, pod, &clients).await?;
            send_by_grpc(&gateway, pod, &clients).await?;
        }
        for (client, pod) in clients.iter().zip(&pods) {
            ensure!(
                client.log().pods() == [pod.clone()],
                "{} did not stay on its pod",
                client.user()
            );
        }
        Ok(())
    })
    .await
}

/// The first two talk both ways at once; each hears the other's messages all, once, in order, with the true sender.
async fn converse(clients: &[ChatClient]) -> Result<()> {
    let [alice, bob, ..] = clients else {
        anyhow::bail!("two clients are needed")
    };
    let expected: Vec<String> = (0..MESSAGES).map(|n| format!("message {n}")).collect();
    for content in &expected {
        // What the client claims to be is overwritten by the server.
        alice
            .send(json!({"type": "text", "to": "bob", "content": content, "from": "mallory"}))
            .await?;
        bob.say("alice", content).await?;
    }
    for (to, from) in [(bob, "alice"), (alice, "bob")] {
        let last = to
            .await_text(from, &format!("message {}", MESSAGES - 1), SOON)
            .await?;
        ensure!(
            to.texts_from(from) == expected,
            "{} heard {:?}",
            to.user(),
            to.texts_from(from)
        );
        ensure!(
            last["seq"] == MESSAGES,
            "the sequence number of the last message is not {MESSAGES}: {last}"
        );
        ensure!(
            last["from_type"] == "customer" && last["create_at"].is_number(),
            "{last}"
        );
    }
    Ok(())
}

async fn broadcast(clients: &[ChatClient]) -> Result<()> {
    for sender in clients {
        let content = format!("to all from {}", sender.user());
        sender
            .send(json!({"type": "text", "broadcast": true, "content": content}))
            .await?;
        for client in clients
            .iter()
            .filter(|client| client.user() != sender.user())
        {
            client.await_text(sender.user(), &content, SOON).await?;
        }
    }
    Ok(())
}

async fn send_by_http(gateway: &Gateway, pod: &str, clients: &[ChatClient]) -> Result<()> {
    for client in clients {
        let content = format!("by HTTP at {pod} for {}", client.user());
        let body = json!({"to": client.user(), "type": "text", "content": content});
        gateway
            .http(pod, Method::POST, "/v1/messages", Some(body))
            .await?;
        client
            .await_frame(&content, SOON, |frame| frame["content"] == *content)
            .await?;
    }
    Ok(())
}

async fn send_by_grpc(gateway: &Gateway, pod: &str, clients: &[ChatClient]) -> Result<()> {
    let mut api = gateway.grpc(pod).await?;
    let content = format!("by gRPC at {pod}");
    let message = MessageBody {
        r#type: "text".to_owned(),
        content_json: json!(content).to_string(),
        ..MessageBody::default()
    };
    let to: Vec<String> = clients
        .iter()
        .map(|client| client.user().to_owned())
        .collect();
    let answer = api
        .send(SendRequest {
            to: to.clone(),
            message: Some(message),
        })
        .await?
        .into_inner();
    let recipients: Vec<String> = answer
        .recipients
        .into_iter()
        .map(|recipient| recipient.user_id)
        .collect();
    ensure!(recipients == to, "the answer is about {recipients:?}");
    for client in clients {
        client
            .await_frame(&content, SOON, |frame| frame["content"] == *content)
            .await?;
    }
    let online = gateway.online(pod).await?;
    ensure!(online == to, "{pod} lists {online:?} as online");
    Ok(())
}
