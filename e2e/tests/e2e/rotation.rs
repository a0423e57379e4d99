//! A key of tokens, and the password of Redis, are replaced in their Secrets: running pods take them from their files, no pod
//! goes, nobody is disconnected.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use wsc_e2e::chart;
use wsc_e2e::client::{ChatClient, Who};
use wsc_e2e::gateway::{Gateway, held};
use wsc_e2e::namespace::with_gateway;
use wsc_e2e::resource::{sample, with};
use wsc_e2e::wait::until;

use crate::redis_replicated::redis;

const SOON: Duration = Duration::from_secs(10);
/// The kubelet looks at mounted Secrets about once a minute.
const TAKEN_WITHIN: Duration = Duration::from_mins(3);
const NEW_KEY: &str = "a-new-key-of-more-than-the-sixty-four-bytes-that-the-longest-hash-asks-for";
const NEW_PASSWORD: &str = "replaced by hand, with spaces";

#[tokio::test]
async fn a_replaced_key_of_tokens_reaches_running_pods_and_disconnects_nobody() -> Result<()> {
    let _operator = chart::operator_in_use().await;
    // The new token is tried until the key has reached the pods: wrong ones from this address must not lock it out.
    let patient = json!({"spec": {"wsc": {"security": {"maxLoginAttempts": 0}}}});
    with_gateway("rotation", with(sample(2), &patient), async |gateway| {
        let mut before = gateway.ready_pods().await?;
        let alice = ChatClient::connect(&gateway, Who::user("alice")).await?;
        let old = [
            "get",
            "secret",
            "chat-auth",
            "-o",
            "jsonpath={.data.jwt-key}",
        ];
        let old = gateway.kubectl(&old).await?;
        let patch = json!({
            "data": {"jwt-key-previous": old.trim()},
            "stringData": {"jwt-key": NEW_KEY},
        });
        let patch = patch.to_string();
        gateway
            .kubectl(&["patch", "secret", "chat-auth", "--type=merge", "-p", &patch])
            .await?;

        // Tokens are signed with what the Secret says now.
        until("the new key to be taken", TAKEN_WITHIN, async || {
            let bob = ChatClient::connect(&gateway, Who::user("bob")).await;
            Ok(held(bob.is_ok(), || format!("{:?}", bob.err())))
        })
        .await?;
        let carol = ChatClient::connect(&gateway, Who::user("carol")).await?;
        alice.say("carol", "still here").await?;
        carol.await_text("alice", "still here", SOON).await?;
        ensure!(
            alice.log().pods().len() == 1,
            "alice was disconnected: {:?}",
            alice.log().pods()
        );
        let mut after = gateway.ready_pods().await?;
        before.sort();
        after.sort();
        ensure!(before == after, "pods were replaced: {before:?}, {after:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_replaced_password_of_redis_is_taken_over_and_disconnects_nobody() -> Result<()> {
    let _operator = chart::operator_in_use().await;
    with_gateway("rotation-redis", sample(2), async |gateway| {
        let before = incarnations(&gateway).await?;
        let alice = ChatClient::connect(&gateway, Who::user("alice")).await?;
        let bob = ChatClient::connect(&gateway, Who::user("bob")).await?;
        let keys = json!({"redis-password": NEW_PASSWORD});
        gateway.set_secret("chat-redis", &keys).await?;
        until(
            "Redis to take the password over",
            TAKEN_WITHIN,
            async || {
                let answer = redis(&gateway, "chat-redis-0", NEW_PASSWORD, "ping").await?;
                Ok(held(answer.trim() == "PONG", || answer.clone()))
            },
        )
        .await?;
        alice.say("bob", "still here").await?;
        bob.await_text("alice", "still here", SOON).await?;

        // A gateway that comes now has the new one only, and what comes by it crosses Redis.
        gateway.patch(&json!({"spec": {"replicas": 3}})).await?;
        gateway.await_mesh(3, TAKEN_WITHIN).await?;
        let after = incarnations(&gateway).await?;
        for one in &before {
            ensure!(after.contains(one), "begun anew: {before:?}, {after:?}");
        }
        alice.say("bob", "here as well").await?;
        bob.await_text("alice", "here as well", SOON).await?;
        for client in [&alice, &bob] {
            let pods = client.log().pods();
            ensure!(pods.len() == 1, "somebody was disconnected: {pods:?}");
        }
        Ok(())
    })
    .await
}

/// Which pods there are, and how often their containers began anew.
async fn incarnations(gateway: &Gateway) -> Result<Vec<String>> {
    let path = "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[*].restartCount}{\"\\n\"}{end}";
    let labels = "wsc.dev/gateway=chat";
    let args = ["get", "pods", "-l", labels, "-o", path];
    let told = gateway.kubectl(&args).await?;
    Ok(told.lines().map(str::to_owned).collect())
}
