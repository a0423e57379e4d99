//! Two operators: when the one that leads is killed, the other takes over. None: what is deleted goes all the same.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::json;
use tokio::time::Instant;
use wsc_e2e::chart;
use wsc_e2e::cluster::Cluster;
use wsc_e2e::gateway::held;
use wsc_e2e::namespace::{READY_WITHIN, with_gateway};
use wsc_e2e::owned::Inventory;
use wsc_e2e::resource::sample;
use wsc_e2e::wait::{done_if, until};

use crate::operator_down::{kill_operator, scale_operator};

/// The lease, fifteen seconds, and a machine with other things to do.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(30);
/// The next leader lists everything first.
const CARRIED_OUT_WITHIN: Duration = Duration::from_secs(10);
/// Until the garbage collector and the last pod are done.
const GONE_WITHIN: Duration = Duration::from_secs(90);

#[tokio::test]
async fn the_second_operator_takes_over_when_the_first_is_killed_and_carries_out_what_was_asked_meanwhile()
-> Result<()> {
    let _operator = chart::operator_to_break().await;
    with_gateway("leader-killed", sample(1), async |gateway| {
        let cluster = gateway.cluster();
        await_operators(cluster, 2).await?;
        let leader = leader(cluster).await?;
        let killed = Instant::now();
        cluster.kill_pod(chart::NAMESPACE, &leader).await?;
        gateway.patch(&json!({"spec": {"replicas": 2}})).await?;
        until("another to lead", TAKEN_OVER_WITHIN, async || {
            let now = self::leader(cluster).await?;
            Ok(held(now != leader, || now.clone()))
        })
        .await?;
        let taken_over = killed.elapsed();
        until("the change to be carried out", CARRIED_OUT_WITHIN, async || {
            let pods = gateway.pods().await?.len();
            Ok(held(pods == 2, || format!("{pods} pods")))
        })
        .await?;
        println!(
            "leader-killed: another led after {taken_over:.1?}, the change was carried out after {:.1?}",
            killed.elapsed()
        );
        gateway.await_ready(2, READY_WITHIN).await?;
        await_operators(cluster, 2).await
    })
    .await
}

#[tokio::test]
async fn a_gateway_deleted_while_there_is_no_operator_leaves_nothing_and_is_not_made_anew()
-> Result<()> {
    let _operator = chart::operator_to_break().await;
    with_gateway("deleted", sample(2), async |gateway| {
        let inventory = Inventory::new(&gateway).await?;
        let replicas = kill_operator(gateway.cluster()).await?;
        gateway.delete().await?;
        inventory.await_nothing(GONE_WITHIN).await?;
        scale_operator(gateway.cluster(), replicas).await?;
        await_operators(gateway.cluster(), replicas).await?;
        let leader = leader(gateway.cluster()).await?;
        ensure!(!leader.is_empty(), "nobody leads");
        inventory.await_nothing(GONE_WITHIN).await
    })
    .await
}

/// So many operators are ready.
async fn await_operators(cluster: &Cluster, count: i32) -> Result<()> {
    let ready = "jsonpath={.status.readyReplicas}";
    until("the operators to be ready", READY_WITHIN, async || {
        let args = [
            "--namespace",
            chart::NAMESPACE,
            "get",
            "deployment",
            chart::RELEASE,
            "-o",
            ready,
        ];
        let found = cluster.kubectl(&args).await?;
        Ok(held(found == count.to_string(), || found.clone()))
    })
    .await
}

/// The pod that leads.
async fn leader(cluster: &Cluster) -> Result<String> {
    let leases: Api<Lease> = Api::namespaced(cluster.client(), chart::NAMESPACE);
    until("an operator to lead", READY_WITHIN, async || {
        let lease = leases.get(chart::RELEASE).await.context("the Lease")?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity);
        // The pod, and what tells its processes apart.
        let holder = holder.unwrap_or_default();
        let pod = holder.rsplit_once('_').map(|(pod, _)| pod.to_owned());
        let pod = pod.unwrap_or_default();
        Ok(done_if(!pod.is_empty(), pod, || "nobody".to_owned()))
    })
    .await
}
