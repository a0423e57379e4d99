//! The operator dies and the resource changes meanwhile: traffic does not notice, and the change arrives afterwards.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::json;
use wsc_e2e::chart;
use wsc_e2e::client::{ChatClient, Who};
use wsc_e2e::cluster::Cluster;
use wsc_e2e::gateway::held;
use wsc_e2e::namespace::{READY_WITHIN, with_gateway};
use wsc_e2e::resource::sample;
use wsc_e2e::wait::until;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_change_made_while_the_operator_is_dead_converges_and_traffic_is_undisturbed()
-> Result<()> {
    let _operator = chart::operator_to_break().await;
    with_gateway("operator-down", sample(2), async |gateway| {
        let pods = gateway.ready_pods().await?;
        let [one, two] = &pods[..] else {
            anyhow::bail!("two pods are needed")
        };
        let alice = ChatClient::connect(&gateway, Who::user("alice").at(one)).await?;
        let bob = ChatClient::connect(&gateway, Who::user("bob").at(two)).await?;

        let replicas = kill_operator(gateway.cluster()).await?;
        gateway.patch(&json!({"spec": {"replicas": 3}})).await?;
        for n in 0..20 {
            let content = format!("without an operator {n}");
            alice.say("bob", &content).await?;
            bob.await_text("alice", &content, SOON).await?;
        }
        ensure!(
            gateway.pods().await?.len() == 2,
            "someone scaled the gateway while there was no operator"
        );

        scale_operator(gateway.cluster(), replicas).await?;
        gateway.await_ready(3, READY_WITHIN).await?;
        gateway.await_mesh(3, READY_WITHIN).await?;
        alice.say("bob", "with an operator").await?;
        bob.await_text("alice", "with an operator", SOON).await?;
        for client in [&alice, &bob] {
            ensure!(
                client.log().pods().len() == 1,
                "{} was disconnected",
                client.user()
            );
        }
        Ok(())
    })
    .await
}

/// Kills it without grace and keeps it away; gives how many there were.
pub async fn kill_operator(cluster: &Cluster) -> Result<i32> {
    let was = deployment(cluster)
        .await?
        .spec
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    scale_operator(cluster, 0).await?;
    let selector = format!("app.kubernetes.io/instance={}", chart::RELEASE);
    let kill = [
        "delete",
        "pods",
        "--selector",
        &selector,
        "--grace-period=0",
        "--force",
        "--wait=false",
    ];
    cluster
        .kubectl(&[&["--namespace", chart::NAMESPACE], &kill[..]].concat())
        .await?;
    until("the operator to be gone", SOON, async || {
        let left = cluster
            .kubectl(&[
                "--namespace",
                chart::NAMESPACE,
                "get",
                "pods",
                "--selector",
                &selector,
                "-o",
                "name",
            ])
            .await?;
        Ok(held(left.trim().is_empty(), || left.clone()))
    })
    .await?;
    Ok(was)
}

pub async fn scale_operator(cluster: &Cluster, replicas: i32) -> Result<()> {
    let name = deployment(cluster).await?.metadata.name.unwrap_or_default();
    let (of, to) = (
        format!("deployment/{name}"),
        format!("--replicas={replicas}"),
    );
    cluster
        .kubectl(&["--namespace", chart::NAMESPACE, "scale", &of, &to])
        .await
        .map(drop)
}

async fn deployment(cluster: &Cluster) -> Result<Deployment> {
    Ok(Api::namespaced(cluster.client(), chart::NAMESPACE)
        .get(chart::RELEASE)
        .await?)
}
