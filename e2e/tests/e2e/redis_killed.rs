//! Redis goes and comes back: what is local goes on, what is not resumes by itself, nobody is disconnected.

use std::time::Duration;

use anyhow::{Result, ensure};
use wsc_e2e::chart;
use wsc_e2e::client::{ChatClient, Who};
use wsc_e2e::gateway::{Gateway, held};
use wsc_e2e::namespace::{READY_WITHIN, with_gateway};
use wsc_e2e::resource::sample;
use wsc_e2e::wait::until;

const SOON: Duration = Duration::from_secs(10);
/// From Redis' return to messages that cross, on a busy machine; the pod's own start comes on top.
const RESUMED_WITHIN: Duration = Duration::from_mins(1);
/// Name of the quota that keeps Redis away.
const QUOTA: &str = "no-new-pods";

#[tokio::test]
async fn a_killed_redis_stops_neither_local_delivery_nor_any_client_and_crossing_resumes()
-> Result<()> {
    let _operator = chart::operator_in_use().await;
    with_gateway("redis-killed", sample(3), async |gateway| {
        let pods = gateway.ready_pods().await?;
        let [here, there, ..] = &pods[..] else {
            anyhow::bail!("two pods are needed")
        };
        let alice = ChatClient::connect(&gateway, Who::user("alice").at(here)).await?;
        let bob = ChatClient::connect(&gateway, Who::user("bob").at(here)).await?;
        let carol = ChatClient::connect(&gateway, Who::user("carol").at(there)).await?;
        alice.say("carol", "before").await?;
        carol.await_text("alice", "before", SOON).await?;

        take_redis_away(&gateway).await?;
        for pod in [here, there] {
            await_redis(&gateway, pod, "down").await?;
        }
        for n in 0..10 {
            let content = format!("without Redis {n}");
            alice.say("bob", &content).await?;
            bob.await_text("alice", &content, SOON).await?;
        }
        gateway
            .await_condition("RedisReady", "False", RESUMED_WITHIN)
            .await?;

        bring_redis_back(&gateway).await?;
        for pod in [here, there] {
            await_redis(&gateway, pod, "up").await?;
        }
        crosses_again(&alice, &carol).await?;
        crosses_again(&carol, &alice).await?;
        gateway
            .await_condition("RedisReady", "True", RESUMED_WITHIN)
            .await?;
        gateway.await_ready(3, READY_WITHIN).await?;
        until("all three to be online again", RESUMED_WITHIN, async || {
            let online = gateway.online(here).await?;
            Ok(held(online == ["alice", "bob", "carol"], || {
                format!("{online:?}")
            }))
        })
        .await?;
        for client in [&alice, &bob, &carol] {
            ensure!(
                client.log().pods().len() == 1,
                "{} was disconnected",
                client.user()
            );
        }
        no_gateway_restarted(&gateway).await
    })
    .await
}

/// The pod is killed; a quota keeps its `StatefulSet` from making another one until the outage was seen.
async fn take_redis_away(gateway: &Gateway) -> Result<()> {
    gateway
        .kubectl(&["create", "quota", QUOTA, "--hard=count/pods=0"])
        .await?;
    until("the quota to be in force", SOON, async || {
        let hard = gateway
            .kubectl(&["get", "quota", QUOTA, "-o", "jsonpath={.status.hard}"])
            .await?;
        Ok(held(hard.contains("pods"), || hard.clone()))
    })
    .await?;
    let pod = format!("{}-redis-0", gateway.name());
    gateway.kill_pod(&pod).await
}

async fn bring_redis_back(gateway: &Gateway) -> Result<()> {
    gateway.kubectl(&["delete", "quota", QUOTA]).await.map(drop)
}

/// What a node says of Redis, in its status, on its metrics and in its readiness.
async fn await_redis(gateway: &Gateway, pod: &str, wanted: &str) -> Result<()> {
    until(
        &format!("{pod} to say that Redis is {wanted}"),
        RESUMED_WITHIN,
        async || {
            let status = gateway.node_status(pod).await?;
            Ok(held(status["redis"] == wanted, || status.to_string()))
        },
    )
    .await?;
    let ready = gateway.admin(pod, "/readyz").await?;
    ensure!(
        ready.contains("redis"),
        "/readyz of {pod} does not mention Redis: {ready}"
    );
    let up = format!("wsc_redis_up {}", i32::from(wanted == "up"));
    let metrics = gateway.admin(pod, "/metrics").await?;
    ensure!(
        metrics.lines().any(|line| line == up),
        "the metrics of {pod} have no line `{up}`"
    );
    Ok(())
}

/// Repeats a message until it gets through: one that was sent before the other node was known again is lost, and told.
async fn crosses_again(from: &ChatClient, to: &ChatClient) -> Result<()> {
    let mut n = 0;
    until(
        &format!("a message from {} to cross to {}", from.user(), to.user()),
        RESUMED_WITHIN,
        async || {
            n += 1;
            from.say(to.user(), &format!("again {n}")).await?;
            let heard = to
                .await_text(from.user(), &format!("again {n}"), Duration::from_secs(1))
                .await;
            Ok(held(heard.is_ok(), || format!("{n} attempts")))
        },
    )
    .await
}

async fn no_gateway_restarted(gateway: &Gateway) -> Result<()> {
    for pod in gateway.pods().await? {
        let statuses = pod
            .status
            .and_then(|status| status.container_statuses)
            .unwrap_or_default();
        ensure!(
            statuses.iter().all(|s| s.restart_count == 0),
            "a gateway restarted: {statuses:?}"
        );
    }
    Ok(())
}
