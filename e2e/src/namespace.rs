//! A namespace for one test, under Pod Security `restricted`, removed afterwards whatever happened.
//!
//! When the test failed, what the namespace looked like is printed before it goes.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::FutureExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use rand::RngExt;
use serde_json::{Value, json};

use crate::chart;
use crate::cluster::Cluster;
use crate::diagnostics;
use crate::gateway::Gateway;

/// Marks the namespaces of this suite.
const LABEL: &str = "wsc.dev/e2e";
/// Longest a sample of a few pods takes to be ready on a small, busy machine.
pub const READY_WITHIN: Duration = Duration::from_mins(2);

/// Runs `test` with the chart installed and a fresh namespace.
pub async fn with_temp_ns(
    name: &str,
    test: impl AsyncFnOnce(Cluster, String) -> Result<()>,
) -> Result<()> {
    let cluster = Cluster::connect().await?;
    chart::installed(&cluster).await?;
    let namespace = create(&cluster.client(), name).await?;
    let ran = AssertUnwindSafe(test(cluster.clone(), namespace.clone()))
        .catch_unwind()
        .await;
    let result = ran.unwrap_or_else(|panic| bail!("panicked: {}", message(&*panic)));
    if let Err(error) = &result {
        eprintln!("--- {name} failed: {error:#}");
        diagnostics::print(&cluster, &namespace).await;
    }
    // A failed clean-up must not hide what the test found; the next run removes what is left.
    if let Err(error) = remove(&cluster, &namespace).await {
        eprintln!("--- namespace {namespace} could not be removed: {error:#}");
    }
    result.with_context(|| format!("in namespace {namespace}"))
}

/// Runs `test` with a gateway made of `resource` that is ready with `replicas` pods which see each other.
pub async fn with_gateway(
    name: &str,
    resource: Value,
    test: impl AsyncFnOnce(Gateway) -> Result<()>,
) -> Result<()> {
    with_temp_ns(name, async |cluster, namespace| {
        let gateway = Gateway::new(&cluster, &namespace, "chat");
        let replicas = resource["spec"]["replicas"].as_u64().unwrap_or(1);
        gateway.apply(&resource).await?;
        gateway
            .await_ready(u32::try_from(replicas)?, READY_WITHIN)
            .await?;
        gateway
            .await_mesh(usize::try_from(replicas)?, READY_WITHIN)
            .await?;
        test(gateway).await
    })
    .await
}

/// Removes namespaces that an interrupted run left.
pub async fn remove_left_over(cluster: &Cluster) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    for left in namespaces
        .list(&ListParams::default().labels(LABEL))
        .await?
    {
        remove(cluster, &left.metadata.name.unwrap_or_default()).await?;
    }
    Ok(())
}

async fn create(client: &Client, name: &str) -> Result<String> {
    let suffix: u32 = rand::rng().random_range(0..0x10_0000);
    let full = format!("e2e-{name}-{suffix:05x}");
    let namespace = serde_json::from_value(json!({
        "metadata": {
            "name": full,
            "labels": {(LABEL): "true", "pod-security.kubernetes.io/enforce": "restricted"},
        },
    }))?;
    Api::<Namespace>::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await?;
    Ok(full)
}

/// The resource goes first, so that the operator does not make anew what goes with the namespace; the pods go without
/// grace, so that the machine is free for the next test.
async fn remove(cluster: &Cluster, namespace: &str) -> Result<()> {
    let here = ["--namespace", namespace, "delete", "--all", "--wait=false"];
    // Without the CRD there is no such resource, which is as good.
    let _ = cluster
        .kubectl(&[&here[..], &["websocketgateways"]].concat())
        .await;
    Api::<Namespace>::all(cluster.client())
        .delete(namespace, &DeleteParams::default())
        .await?;
    let at_once = ["pods", "--grace-period=0", "--force"];
    cluster
        .kubectl(&[&here[..], &at_once].concat())
        .await
        .map(drop)
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_default()
}
