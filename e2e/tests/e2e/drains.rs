//! Pods that go under load: a rollout, a scale-in and an eviction lose nothing that was accepted, and cause no storm.
//!
//! `WSC_PROOF_CLIENTS` says how many clients; the figures are printed (`--nocapture`).

use std::time::Duration;

use anyhow::{Context, Result};
use kube::Api;
use kube::api::EvictParams;
use serde_json::json;
use wsc_e2e::chart;
use wsc_e2e::gateway::{Gateway, held};
use wsc_e2e::namespace::{READY_WITHIN, with_gateway};
use wsc_e2e::resource::{sample, with};
use wsc_e2e::wait::until;

use crate::crowd::Load;
use crate::departures::Departures;
use crate::disturbance::{Bounds, Disturbance};

/// Clients without a word to the contrary.
const CLIENTS: usize = 300;
/// A rollout sends all clients away in about so many seconds.
const DRAIN_SECONDS: usize = 30;
/// `drain.deadline` in seconds, within which the pod has left; Kubernetes would kill it some seconds later.
const DEADLINE: u64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn rollouts_scale_in_and_evictions_lose_nothing_and_cause_no_storm() -> Result<()> {
    let _operator = chart::operator_in_use().await;
    let clients = match std::env::var("WSC_PROOF_CLIENTS") {
        Ok(text) => text.parse().context("WSC_PROOF_CLIENTS")?,
        Err(_) => CLIENTS,
    };
    let spec = json!({"spec": {
        "drain": {"ratePerSecond": rate(clients), "window": "1s", "deadline": format!("{DEADLINE}s")},
        "wsc": {
            "performance": {"maxConnectionsPerNode": clients + 100},
            "security": {"enableRateLimit": false},
        },
    }});
    with_gateway("drains", with(sample(3), &spec), async |gateway| {
        let load = Load::start(&gateway, "drains", clients).await?;
        let departures = Departures::watch(&gateway);
        // Whoever goes in a rollout may come to a pod that is to go as well.
        let gently = |times| Bounds {
            rate: rate(clients),
            times,
        };

        let before = names(&gateway).await?;
        let disturbance = Disturbance::begin(&load);
        gateway
            .kubectl(&["rollout", "restart", "deployment/chat"])
            .await?;
        status_tells_what_remains(&gateway).await?;
        await_gone(&gateway, &before).await?;
        gateway.await_ready(3, READY_WITHIN).await?;
        load.everybody_is_back().await?;
        disturbance.was_gentle("rollout", &load, &gently(2))?;
        departures.were_orderly(&before).await?;

        let before = names(&gateway).await?;
        let disturbance = Disturbance::begin(&load);
        gateway
            .kubectl(&["scale", "wsg/chat", "--replicas=2"])
            .await?;
        let going = await_leaving(&gateway, &before).await?;
        status_tells_what_remains(&gateway).await?;
        await_gone(&gateway, &going).await?;
        load.everybody_is_back().await?;
        disturbance.was_gentle("scale-in", &load, &gently(1))?;
        departures.were_orderly(&going).await?;

        let evicted = gateway.any_ready_pod().await?;
        let disturbance = Disturbance::begin(&load);
        let pods: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(gateway.client(), gateway.namespace());
        pods.evict(&evicted, &EvictParams::default()).await?;
        status_tells_what_remains(&gateway).await?;
        let evicted = [evicted];
        await_gone(&gateway, &evicted).await?;
        gateway.await_ready(2, READY_WITHIN).await?;
        load.everybody_is_back().await?;
        disturbance.was_gentle("eviction", &load, &gently(1))?;
        departures.were_orderly(&evicted).await?;
        load.settle().await
    })
    .await
}

/// Clients that all pods together may send away in a second.
fn rate(clients: usize) -> usize {
    clients.div_ceil(DRAIN_SECONDS)
}

async fn names(gateway: &Gateway) -> Result<Vec<String>> {
    let pods = gateway.pods().await?.into_iter();
    Ok(pods.filter_map(|pod| pod.metadata.name).collect())
}

/// The pods of before that have begun to go.
async fn await_leaving(gateway: &Gateway, before: &[String]) -> Result<Vec<String>> {
    until("a pod to go", READY_WITHIN, async || {
        let stay = names(gateway).await?;
        let going = before.iter().filter(|pod| !stay.contains(pod));
        let going: Vec<String> = going.cloned().collect();
        Ok(wsc_e2e::wait::done_if(!going.is_empty(), going, || {
            stay.join(", ")
        }))
    })
    .await
}

async fn status_tells_what_remains(gateway: &Gateway) -> Result<()> {
    until(
        "the status to say what remains",
        Duration::from_secs(DEADLINE),
        async || {
            let status = gateway.get().await?.data["status"].clone();
            let remaining = status["drain"]["remaining"].as_u64().unwrap_or(0);
            Ok(held(remaining > 0, || status["drain"].to_string()))
        },
    )
    .await
}

/// These pods have left altogether, each by itself.
async fn await_gone(gateway: &Gateway, pods: &[String]) -> Result<()> {
    // New pods come first, each takes a moment, and the last to be told to go has its deadline then.
    let within = READY_WITHIN + Duration::from_secs(DEADLINE);
    until("the pods to be gone", within, async || {
        let list = gateway.kubectl(&["get", "pods", "-o", "name"]).await?;
        let left = pods.iter().filter(|pod| list.contains(pod.as_str()));
        let left: Vec<&String> = left.collect();
        Ok(held(left.is_empty(), || format!("{left:?}")))
    })
    .await
}
