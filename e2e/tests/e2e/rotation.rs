//! A key of tokens is replaced in its Secret: running pods take it from their files, no pod goes, nobody is disconnected.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use wsc_e2e::chart;
use wsc_e2e::client::{ChatClient, Who};
use wsc_e2e::gateway::held;
use wsc_e2e::namespace::with_gateway;
use wsc_e2e::resource::{sample, with};
use wsc_e2e::wait::until;

const SOON: Duration = Duration::from_secs(10);
/// The kubelet looks at mounted Secrets about once a minute.
const TAKEN_WITHIN: Duration = Duration::from_mins(3);
const NEW_KEY: &str = "a-new-key-of-more-than-the-sixty-four-bytes-that-the-longest-hash-asks-for";

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
