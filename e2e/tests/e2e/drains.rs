//! Pods that go under load: a rollout, a scale-in and an eviction lose nothing that was accepted, and cause no storm.
//!
//! `WSC_PROOF_CLIENTS` says how many clients; the figures are printed (`--nocapture`).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::Api;
use kube::api::EvictParams;
use serde_json::json;
use tokio::time::Instant;
use wsc_e2e::chart;
use wsc_e2e::gateway::{Gateway, held};
use wsc_e2e::namespace::{READY_WITHIN, with_gateway};
use wsc_e2e::resource::{sample, with};
use wsc_e2e::wait::until;

use crate::crowd::Load;
use crate::load::most_in_a_second;
use crate::reader::ReaderTask;

/// Clients without a word to the contrary.
const CLIENTS: usize = 300;
/// A pod sends its clients away in about so many seconds.
const DRAIN_SECONDS: usize = 10;
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
        let mut seen = load.begin(rate(clients));

        let before = names(&gateway).await?;
        gateway
            .kubectl(&["rollout", "restart", "deployment/chat"])
            .await?;
        await_gone(&gateway, &before).await?;
        gateway.await_ready(3, READY_WITHIN).await?;
        load.everybody_is_back().await?;
        seen = load.undisturbed("rollout", &seen, before.len())?;

        let before = names(&gateway).await?;
        gateway
            .kubectl(&["scale", "wsg/chat", "--replicas=2"])
            .await?;
        let going = await_leaving(&gateway, &before).await?;
        status_tells_what_remains(&gateway).await?;
        await_gone(&gateway, &going).await?;
        load.everybody_is_back().await?;
        seen = load.undisturbed("scale-in", &seen, 1)?;

        let evicted = gateway.any_ready_pod().await?;
        let pods: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(gateway.client(), gateway.namespace());
        pods.evict(&evicted, &EvictParams::default()).await?;
        await_gone(&gateway, &[evicted]).await?;
        gateway.await_ready(2, READY_WITHIN).await?;
        load.everybody_is_back().await?;
        load.undisturbed("eviction", &seen, 1)?;
        load.settle().await
    })
    .await
}

/// Clients that a pod may send away in a second.
fn rate(clients: usize) -> usize {
    clients.div_ceil(3 * DRAIN_SECONDS)
}

/// Where an operation began: how often each client had been disconnected by then.
struct Began {
    rate: usize,
    at: Instant,
    away: Vec<usize>,
}

impl Load {
    fn begin(&self, rate: usize) -> Began {
        Began {
            rate,
            at: Instant::now(),
            away: self.readers.iter().map(disconnects).collect(),
        }
    }

    /// Nobody was disconnected more than twice or without a word, and they came back no faster than the pods that went
    /// at a time may send them.
    fn undisturbed(&self, what: &str, began: &Began, pods_at_a_time: usize) -> Result<Began> {
        let (mut most, mut all, mut untold, mut returns) = (0, 0, 0, Vec::new());
        for (reader, before) in self.readers.iter().zip(&began.away) {
            let notes = reader.notes.lock();
            let gone = notes.stays.get(*before..).unwrap_or_default();
            let (_last, gone) = gone.split_last().context("never connected")?;
            (most, all) = (most.max(gone.len()), all + gone.len());
            untold += gone.iter().filter(|stay| stay.told.is_none()).count();
            let stays = notes.stays.get(before + 1..).unwrap_or_default();
            returns.extend(stays.iter().map(|stay| stay.began));
        }
        let storm = most_in_a_second(&returns);
        let bound = began.rate * pods_at_a_time * 3 / 2;
        println!(
            "{what}: {} clients, {all} disconnects, at most {most} each, {untold} without a word; at most {storm} came back \
             in a second, {bound} allowed ({} a pod); {:.1} s",
            self.readers.len(),
            began.rate,
            began.at.elapsed().as_secs_f64()
        );
        ensure!(all > 0, "{what}: nobody had to go");
        ensure!(most <= 2, "{what}: a client was disconnected {most} times");
        ensure!(untold == 0, "{what}: {untold} were not told");
        ensure!(storm <= bound, "{what}: {storm} came back in a second");
        Ok(self.begin(began.rate))
    }
}

fn disconnects(reader: &ReaderTask) -> usize {
    reader.notes.lock().stays.len().saturating_sub(1)
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
