//! The operator's chart, installed once for all tests of a run.
//!
//! What an interrupted or older run left is removed first. The suite leaves the chart installed: on the throw-away
//! cluster it goes with the cluster, on a user's cluster `helm uninstall` takes it away.

use anyhow::{Context, Result, anyhow};
use serde_json::json;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::cluster::{Cluster, source_root};
use crate::namespace;

/// Name of the release.
pub const RELEASE: &str = "wsc-operator";
/// Where it is installed.
pub const NAMESPACE: &str = "wsc-system";
/// The images that `scripts/images` makes, and the chart values they go to; what is off by default; and two operators, of which
/// one leads.
const VALUES: [&str; 8] = [
    "image.repository=localhost/wsc-operator",
    "image.tag=dev",
    "gatewayImage=localhost/wsc-gateway:dev",
    "redisImage=localhost/wsc-redis:dev",
    "sidecars.enabled=true",
    "watchNamespaces={*}",
    "replicas=2",
    "leaderElection=true",
];
/// What registers the operator's metrics API.
const METRICS_API: &str = "v1beta1.external.metrics.k8s.io";
/// Name of the CRD.
const CRD: &str = "websocketgateways.wsc.dev";

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

/// Whether autoscalers of this cluster ask the operator how many connections there are.
pub async fn serves_metrics(cluster: &Cluster) -> bool {
    let namespace = "jsonpath={.spec.service.namespace}";
    let args = ["get", "apiservice", METRICS_API, "-o", namespace];
    cluster.kubectl(&args).await.is_ok_and(|of| of == NAMESPACE)
}

async fn fresh(cluster: &Cluster) -> Result<()> {
    namespace::remove_left_over(cluster).await?;
    reinstall(cluster).await
}

/// Removes the release of an earlier run, whose images may be others of the same name, and installs the chart.
pub async fn reinstall(cluster: &Cluster) -> Result<()> {
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
    install(cluster).await
}

/// Installs the chart as its README says, in a namespace where nothing may run that is not restricted.
async fn install(cluster: &Cluster) -> Result<()> {
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    });
    cluster
        .kubectl_with_input(&["apply", "-f", "-"], &namespace.to_string())
        .await?;
    let chart = source_root().join("charts/wsc-operator");
    let chart = chart.to_string_lossy();
    let mut args = vec!["install", RELEASE, &chart, "--namespace", NAMESPACE];
    args.extend(["--wait", "--timeout=150s"]);
    for value in VALUES {
        args.extend(["--set", value]);
    }
    // A user's cluster may have another, and there can be one only.
    if cluster
        .kubectl(&["get", "apiservice", METRICS_API])
        .await
        .is_err()
    {
        args.extend(["--set", "metricsApi.enabled=true"]);
    }
    let crds = format!("{chart}/crds");
    if cluster.kubectl(&["get", "crd", CRD]).await.is_ok() {
        // Helm installs a CRD but never upgrades it.
        cluster
            .kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &crds])
            .await?;
        args.push("--skip-crds");
    }
    cluster.helm(&args).await?;
    let established = [
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd",
        CRD,
    ];
    cluster.kubectl(&established).await.map(drop)
}
