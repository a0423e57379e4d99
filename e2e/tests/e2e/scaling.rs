//! Scaling out gives pods that share the cluster; scaling in drains the pods that go, the emptiest first.

use std::time::Duration;

use anyhow::{Result, ensure};
use wsc_e2e::chart;
use wsc_e2e::client::{ChatClient, Event, Who};
use wsc_e2e::gateway::{Gateway, held};
use wsc_e2e::namespace::{READY_WITHIN, with_gateway};
use wsc_e2e::resource::sample;
use wsc_e2e::wait::until;

const SOON: Duration = Duration::from_secs(10);
/// The operator counts connections every ten seconds.
const COUNTED_WITHIN: Duration = Duration::from_secs(30);
/// Three pods that drain at once, each within its deadline, and their clients' return.
const DRAINED_WITHIN: Duration = Duration::from_mins(1);
/// RFC 6455: the service restarts.
const CLOSE_RESTART: u16 = 1012;

#[tokio::test]
async fn scaling_to_five_shares_the_cluster_and_scaling_to_two_drains_it() -> Result<()> {
    let _operator = chart::operator_in_use().await;
    with_gateway("scaling", sample(3), async |gateway| {
        gateway
            .kubectl(&["scale", "wsg/chat", "--replicas=5"])
            .await?;
        gateway.await_ready(5, READY_WITHIN).await?;
        let pods = gateway.await_mesh(5, READY_WITHIN).await?;
        let mut clients = Vec::new();
        for (n, pod) in pods.iter().enumerate() {
            clients.push(
                ChatClient::connect(&gateway, Who::user(&format!("user-{n}")).at(pod)).await?,
            );
        }
        everyone_talks(&clients, "on five pods").await?;
        let busy = pods.get(1..3).unwrap_or_default();
        let mut guests = Vec::new();
        for (n, pod) in busy.iter().enumerate() {
            let who = Who::user(&format!("guest-{n}")).at(pod);
            guests.push(ChatClient::connect(&gateway, who).await?);
        }
        await_counted(&gateway, busy, 2).await?;

        gateway
            .kubectl(&["scale", "wsg/chat", "--replicas=2"])
            .await?;
        let stay = await_pods(&gateway, 2).await?;
        ensure!(
            busy.iter().all(|pod| stay.contains(pod)),
            "{busy:?} held the most connections, {stay:?} stayed"
        );
        for (client, pod) in clients.iter().zip(&pods) {
            if stay.contains(pod) {
                ensure!(
                    client.log().pods() == [pod.clone()],
                    "{} was moved off a pod that stays",
                    client.user()
                );
            } else {
                was_told_and_came_back(client, &stay).await?;
            }
        }
        everyone_talks(&clients, "on two pods").await?;
        gateway.await_ready(2, READY_WITHIN).await?;
        gateway.await_mesh(2, READY_WITHIN).await?;
        Ok(())
    })
    .await
}

/// The status says that each of these pods holds so many connections.
async fn await_counted(gateway: &Gateway, pods: &[String], connections: u64) -> Result<()> {
    until(
        "the status to count connections",
        COUNTED_WITHIN,
        async || {
            let status = gateway.get().await?.data["status"].clone();
            let counted = |pod: &String| {
                let of_pods = status["pods"].as_array();
                of_pods.is_some_and(|all| {
                    all.iter()
                        .any(|found| found["name"] == **pod && found["connections"] == connections)
                })
            };
            Ok(held(pods.iter().all(counted), || {
                status["pods"].to_string()
            }))
        },
    )
    .await
}

/// Each sends to the next one around a ring.
async fn everyone_talks(clients: &[ChatClient], content: &str) -> Result<()> {
    let next = clients.iter().cycle().skip(1);
    for (from, to) in clients.iter().zip(next) {
        from.say(to.user(), content).await?;
        to.await_text(from.user(), content, SOON).await?;
    }
    Ok(())
}

async fn await_pods(gateway: &Gateway, count: usize) -> Result<Vec<String>> {
    until(
        &format!("{count} pods that stay"),
        DRAINED_WITHIN,
        async || {
            let all = gateway.pods().await?.len();
            Ok(held(all == count, || format!("{all} pods")))
        },
    )
    .await?;
    gateway.ready_pods().await
}

/// It got the `reconnect` frame, then the close code that goes with it, and is welcome on a pod that stays.
async fn was_told_and_came_back(client: &ChatClient, stay: &[String]) -> Result<()> {
    client
        .await_frame("to be told to reconnect", DRAINED_WITHIN, |frame| {
            frame["type"] == "reconnect"
        })
        .await?;
    client
        .log()
        .find(DRAINED_WITHIN, |event| match event {
            Event::Connected { pod } if stay.contains(pod) => Some(()),
            _ => None,
        })
        .await?;
    let closes = client.log().closes();
    ensure!(
        closes == [Some(CLOSE_RESTART)],
        "{} was closed with {closes:?}",
        client.user()
    );
    let reason = client
        .await_frame("the reason", SOON, |frame| {
            frame["data"]["reason"] == "drain"
        })
        .await?;
    ensure!(reason["type"] == "reconnect", "{reason}");
    Ok(())
}
