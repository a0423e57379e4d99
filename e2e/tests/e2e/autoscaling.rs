//! Kubernetes' own autoscaler scales a gateway: by its connections, which it learns from the operator through the API server,
//! and by the CPU that metrics-server measures.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wsc_e2e::chart;
use wsc_e2e::client::{ChatClient, Who};
use wsc_e2e::gateway::{Gateway, held};
use wsc_e2e::namespace::with_gateway;
use wsc_e2e::resource::{sample, with};
use wsc_e2e::wait::{done_if, until};

use crate::crowd::Load;

/// A round of the operator's takes five seconds; the autoscaler looks every five, on other clusters every fifteen.
const COUNTED_WITHIN: Duration = Duration::from_secs(40);
/// Counted, decided, and then pods started or drained.
const SCALED_WITHIN: Duration = Duration::from_secs(90);
/// Of what publishers say to make the pods work.
const READERS: usize = 40;
/// More than one pod is to hold, and no more than two.
const CLIENTS: usize = 7;

#[tokio::test]
async fn a_gateway_is_scaled_out_when_connections_open_and_in_when_they_close() -> Result<()> {
    let _operator = chart::operator_in_use().await;
    let autoscaling = json!({"spec": {"autoscaling": {
        "enabled": true, "minReplicas": 1, "maxReplicas": 3, "connectionsPerPod": 4, "scaleInDelay": "0s",
    }}});
    with_gateway(
        "autoscaling",
        with(sample(1), &autoscaling),
        async |gateway| {
            if !chart::serves_metrics(gateway.cluster()).await {
                eprintln!(
                    "external.metrics.k8s.io of this cluster is another's: nothing was scaled"
                );
                return Ok(());
            }
            await_discovered(&gateway).await?;
            await_connections(&gateway, 0).await?;
            let mut clients = Vec::new();
            for n in 0..CLIENTS {
                clients.push(ChatClient::connect(&gateway, Who::user(&format!("user-{n}"))).await?);
            }
            await_connections(&gateway, CLIENTS).await?;
            await_pods(&gateway, 2).await?;
            gateway.await_ready(2, SCALED_WITHIN).await?;
            let autoscaler = autoscaler(&gateway).await?;
            let learnt = &autoscaler["status"]["currentMetrics"][0]["external"]["metric"]["name"];
            ensure!(learnt == "wsc_gateway_connections", "{autoscaler}");

            drop(clients);
            await_connections(&gateway, 0).await?;
            await_pods(&gateway, 1).await?;
            gateway.await_ready(1, SCALED_WITHIN).await?;
            Ok(())
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_scaled_out_when_its_pods_work_and_in_when_they_rest() -> Result<()> {
    let _operator = chart::operator_in_use().await;
    // What two pods at rest use is far below the target, and what a few publishers make of one is far above.
    let spec = json!({"spec": {
        "resources": {"requests": {"cpu": "100m"}},
        "autoscaling": {
            "enabled": true, "minReplicas": 1, "maxReplicas": 2, "cpuUtilization": 60, "scaleInDelay": "0s",
        },
        "wsc": {"security": {"enableRateLimit": false}},
    }});
    with_gateway("autoscaling-cpu", with(sample(1), &spec), async |gateway| {
        let measured = ["get", "apiservice", "v1beta1.metrics.k8s.io"];
        if gateway.cluster().kubectl(&measured).await.is_err() {
            eprintln!("this cluster has no metrics-server: nothing was scaled");
            return Ok(());
        }
        await_pods(&gateway, 1).await?;
        let load = Load::start(&gateway, "autoscaling-cpu", READERS).await?;
        await_pods(&gateway, 2).await?;
        gateway.await_ready(2, SCALED_WITHIN).await?;
        let autoscaler = autoscaler(&gateway).await?;
        let learnt = &autoscaler["status"]["currentMetrics"][0]["resource"]["name"];
        ensure!(learnt == "cpu", "{autoscaler}");
        load.settle().await?;
        await_pods(&gateway, 1).await?;
        gateway.await_ready(1, SCALED_WITHIN).await?;
        load.everybody_is_back().await
    })
    .await
}

/// The API server knows what the API has. While it does not, it deletes no namespace, and kubectl complains.
async fn await_discovered(gateway: &Gateway) -> Result<()> {
    let args = [
        "api-resources",
        "--api-group=external.metrics.k8s.io",
        "-o",
        "name",
    ];
    until(
        "the metrics API to be discovered",
        COUNTED_WITHIN,
        async || {
            let found = gateway.cluster().kubectl(&args).await?;
            let metric = "wsc_gateway_connections.external.metrics.k8s.io";
            Ok(held(found.trim() == metric, || found.clone()))
        },
    )
    .await
}

/// The API server passes on that the gateway has so many.
async fn await_connections(gateway: &Gateway, connections: usize) -> Result<()> {
    let path = format!(
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/{}/wsc_gateway_connections?labelSelector=wsc.dev/gateway={}",
        gateway.namespace(),
        gateway.name()
    );
    let what = format!("the metrics API to tell of {connections} connections");
    until(&what, COUNTED_WITHIN, async || {
        let list = gateway.cluster().kubectl(&["get", "--raw", &path]).await?;
        let list: Value = serde_json::from_str(&list)?;
        let told = list["items"][0]["value"].as_str() == Some(&*connections.to_string());
        Ok(held(told, || list.to_string()))
    })
    .await
}

async fn autoscaler(gateway: &Gateway) -> Result<Value> {
    let found = gateway
        .kubectl(&["get", "hpa", gateway.name(), "-o", "json"])
        .await?;
    serde_json::from_str(&found).context("the autoscaler")
}

/// The autoscaler has made it so many pods.
async fn await_pods(gateway: &Gateway, count: usize) -> Result<()> {
    until(&format!("{count} pods"), SCALED_WITHIN, async || {
        let there = gateway.pods().await?.len();
        let status = autoscaler(gateway).await?["status"].clone();
        Ok(done_if(there == count, (), || {
            format!("{there} pods, {status}")
        }))
    })
    .await
}
