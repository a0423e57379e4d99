//! A gateway pod that dies without a goodbye: its clients go elsewhere, and nobody stays online who is not.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;
use wsc_e2e::chart;
use wsc_e2e::client::{ChatClient, Event, Who};
use wsc_e2e::gateway::held;
use wsc_e2e::namespace::{READY_WITHIN, with_gateway};
use wsc_e2e::resource::{NODE_TIMEOUT_SECONDS, sample};
use wsc_e2e::wait::until;

const SOON: Duration = Duration::from_secs(10);
/// The bound for the clients of a killed gateway.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// The bound for the sessions of a dead node, and what asking costs on a busy machine.
const GONE_WITHIN: Duration = Duration::from_secs(NODE_TIMEOUT_SECONDS + 5);

#[tokio::test]
async fn a_killed_gateway_loses_its_clients_to_others_and_the_online_list_is_right_in_time()
-> Result<()> {
    let _operator = chart::operator_in_use().await;
    with_gateway("pod-killed", sample(3), async |gateway| {
        let pods = gateway.ready_pods().await?;
        let [doomed, witness, ..] = &pods[..] else {
            anyhow::bail!("three pods are needed")
        };
        let ghost =
            ChatClient::connect(&gateway, Who::user("ghost").at(doomed).staying_away()).await?;
        let alice = ChatClient::connect(&gateway, Who::user("alice").at(doomed)).await?;
        let bob = ChatClient::connect(&gateway, Who::user("bob").at(witness)).await?;
        alice.say("bob", "before").await?;
        bob.await_text("alice", "before", SOON).await?;
        ensure!(
            gateway.online(witness).await? == ["alice", "bob", "ghost"],
            "not all three are online"
        );

        gateway.kill_pod(doomed).await?;
        ghost
            .log()
            .find(SOON, |event| {
                matches!(event, Event::Closed { .. }).then_some(())
            })
            .await?;
        let died = Instant::now();

        let back = alice.log().find(BACK_WITHIN, |event| match event {
            Event::Connected { pod } if pod != doomed => Some(pod.clone()),
            _ => None,
        });
        back.await.context("alice did not reconnect elsewhere")?;
        until(
            "the online list to be right",
            GONE_WITHIN.saturating_sub(died.elapsed()),
            async || {
                let online = gateway.online(witness).await?;
                Ok(held(online == ["alice", "bob"], || format!("{online:?}")))
            },
        )
        .await?;
        bob.say("alice", "after").await?;
        alice.await_text("bob", "after", SOON).await?;
        alice.say("bob", "after, too").await?;
        bob.await_text("alice", "after, too", SOON).await?;
        ensure!(
            bob.log().pods() == [witness.clone()],
            "bob, on another pod, was disturbed"
        );
        gateway.await_ready(3, READY_WITHIN).await?;
        gateway.await_mesh(3, READY_WITHIN).await?;
        Ok(())
    })
    .await
}
