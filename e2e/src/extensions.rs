//! The CRDs of other projects that the operator makes objects of where they are: installed by the tests that need them.
//!
//! They stay: another test may be looking at their objects, and on a user's cluster they may be the user's.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cluster::{self, Cluster};
use crate::wait::{Probe, until};

const SERVED_WITHIN: Duration = Duration::from_mins(1);

/// Gateway API.
pub const GATEWAY_API: Extension = Extension {
    files: "gateway-api",
    crds: &[
        "httproutes.gateway.networking.k8s.io",
        "grpcroutes.gateway.networking.k8s.io",
    ],
};

/// Some CRDs of a project.
pub struct Extension {
    /// Where `e2e/cluster/up crds` puts their files.
    files: &'static str,
    /// Their names.
    crds: &'static [&'static str],
}

impl Extension {
    /// Whether the cluster has all of them.
    pub async fn is_installed(&self, cluster: &Cluster) -> bool {
        let args = [&["get", "crd"], self.crds].concat();
        cluster.kubectl(&args).await.is_ok()
    }

    /// Installs them, unless the cluster has them.
    pub async fn install(&self, cluster: &Cluster) -> Result<()> {
        if self.is_installed(cluster).await {
            return Ok(());
        }
        let files = cluster::cache().join("crds").join(self.files);
        ensure!(
            files.is_dir(),
            "{} does not exist: fetch the CRDs with `e2e/cluster/up crds`",
            files.display()
        );
        let files = files.to_string_lossy();
        cluster
            .kubectl(&["apply", "--server-side", "-f", &files])
            .await?;
        let args = ["wait", "--for=condition=Established", "--timeout=5s", "crd"];
        let args = [&args, self.crds].concat();
        // kubectl fails at once where the API server has not yet said anything about one.
        until("the CRDs to be served", SERVED_WITHIN, async || {
            cluster.kubectl(&args).await.map(|_| Probe::Done(()))
        })
        .await
    }
}
