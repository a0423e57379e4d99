//! The operator's chart, installed once for all tests of a run.
//!
//! What an interrupted or older run left is removed first. The suite leaves the chart installed: on the throw-away
//! cluster it goes with the cluster, on a user's cluster `helm uninstall` takes it away.

use anyhow::{Context, Result, anyhow};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::cluster::{Cluster, source_root};
use crate::namespace;

/// Name of the release.
pub const RELEASE: &str = "wsc-operator";
/// Where it is installed.
pub const NAMESPACE: &str = "wsc-system";
/// Image of the operator in clusters that tests load images into, without its tag.
const IMAGE_REPOSITORY: &str = "localhost/wsc-operator";
const IMAGE_TAG: &str = "dev";

static INSTALLED: OnceCell<Result<(), String>> = OnceCell::const_new();
static OPERATOR: RwLock<()> = RwLock::const_new(());

/// Installs the chart unless this process has; a failure is remembered, so that it is tried and reported once.
pub async fn installed(cluster: &Cluster) -> Result<()> {
    let outcome = INSTALLED
        .get_or_init(|| async { fresh(cluster).await.map_err(|error| format!("{error:#}")) })
        .await;
    outcome
        .clone()
        .map_err(|error| anyhow!(error))
        .context("installing the chart")
}

/// Held by a test that needs the operator up while it runs.
pub async fn operator_in_use() -> RwLockReadGuard<'static, ()> {
    OPERATOR.read().await
}

/// Held by a test that takes the operator away: no other test is then in the middle of something.
pub async fn operator_to_break() -> RwLockWriteGuard<'static, ()> {
    OPERATOR.write().await
}

async fn fresh(cluster: &Cluster) -> Result<()> {
    cluster
        .helm(&[
            "uninstall",
            RELEASE,
            "--namespace",
            NAMESPACE,
            "--ignore-not-found",
            "--wait",
        ])
        .await?;
    upgrade(cluster).await?;
    namespace::remove_left_over(cluster).await
}

/// Installs the chart, or upgrades what is installed.
pub async fn upgrade(cluster: &Cluster) -> Result<()> {
    let root = source_root();
    // Helm installs CRDs but never upgrades them.
    let crds = root.join("crds");
    let crds = crds.to_string_lossy();
    cluster
        .kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &crds])
        .await?;
    cluster
        .kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "crd/websocketgateways.wsc.dev",
        ])
        .await?;
    let chart = root.join("charts/wsc-operator");
    let chart = chart.to_string_lossy();
    let repository = format!("image.repository={IMAGE_REPOSITORY}");
    let tag = format!("image.tag={IMAGE_TAG}");
    let args = [
        "upgrade",
        "--install",
        RELEASE,
        &chart,
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--set",
        &repository,
        "--set",
        &tag,
        "--set",
        "image.pullPolicy=IfNotPresent",
        "--wait",
        "--timeout=150s",
    ];
    cluster.helm(&args).await.map(drop)
}
