//! Which cluster the tests talk to, and the two tools that speak to it as a user would: kubectl and helm.
//!
//! `KUBECONFIG` decides; without it the throw-away cluster of `e2e/cluster` is used. Never starts a cluster: that is
//! the Makefile's business.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, ListParams, ResourceExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// Longest a single kubectl or helm call may take.
const TOOL_DEADLINE: Duration = Duration::from_mins(3);
/// What to tell someone who has no cluster.
const HOW_TO_GET_ONE: &str =
    "Set KUBECONFIG, or start the throw-away cluster with `make cluster-up`";

/// The throw-away cluster's, below its state.
const KUBECONFIG: &str = "pki/admin.kubeconfig";

/// A cluster that answers.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    kubeconfig: PathBuf,
}

impl Cluster {
    /// Connects to the cluster of `KUBECONFIG` or the throw-away one.
    ///
    /// # Errors
    /// When there is none, with how to get one.
    pub async fn connect() -> Result<Self> {
        let (read, kubeconfig) = match Kubeconfig::from_env().context("KUBECONFIG")? {
            Some(given) => (given, std::env::var_os("KUBECONFIG").unwrap_or_default()),
            None => throw_away()?,
        };
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        client.apiserver_version().await.with_context(|| {
            format!(
                "no cluster: the one of {} does not answer. {HOW_TO_GET_ONE}",
                kubeconfig.display()
            )
        })?;
        Ok(Self {
            client,
            kubeconfig: kubeconfig.into(),
        })
    }

    /// The client for the API server. Bound to the runtime it was made on.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The kubeconfig in use; as in the variable, it may be a list.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs kubectl and gives what it printed.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.tool("kubectl", args, None).await
    }

    /// Runs kubectl with a text on its standard input.
    pub async fn kubectl_with_input(&self, args: &[&str], input: &str) -> Result<String> {
        self.tool("kubectl", args, Some(input)).await
    }

    /// Kills a pod: no grace.
    pub async fn kill_pod(&self, namespace: &str, pod: &str) -> Result<()> {
        let here = ["--namespace", namespace, "delete", "pod", pod];
        let at_once = ["--grace-period=0", "--force", "--wait=false"];
        self.kubectl(&[&here[..], &at_once].concat())
            .await
            .map(drop)
    }

    /// Starts a kubectl that goes on until it is dropped; its output can be read.
    pub fn start_kubectl(&self, args: &[&str]) -> Result<Child> {
        let mut command = self.command("kubectl", args);
        command.stdin(Stdio::null()).spawn().context("kubectl")
    }

    /// The process of the API server, where the cluster is the throw-away one.
    pub fn api_server(&self) -> Option<u32> {
        let run = run();
        if self.kubeconfig != run.join(KUBECONFIG) {
            return None;
        }
        let pid = std::fs::read_to_string(run.join("apiserver.pid")).ok()?;
        pid.trim().parse().ok()
    }

    /// Runs helm and gives what it printed.
    pub async fn helm(&self, args: &[&str]) -> Result<String> {
        self.tool("helm", args, None).await
    }

    /// Whether a volume claim that names no class gets a volume.
    pub async fn has_default_storage(&self) -> Result<bool> {
        let classes = Api::<StorageClass>::all(self.client())
            .list(&ListParams::default())
            .await?;
        let default = |class: &StorageClass| {
            class
                .annotations()
                .get("storageclass.kubernetes.io/is-default-class")
                .is_some_and(|v| v == "true")
        };
        Ok(classes.iter().any(default))
    }

    fn command(&self, name: &str, args: &[&str]) -> Command {
        let mut command = Command::new(name);
        command
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("PATH", path_with_tools())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn tool(&self, name: &str, args: &[&str], input: Option<&str>) -> Result<String> {
        let mut child = self
            .command(name, args)
            .stdin(if input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
            stdin.write_all(text.as_bytes()).await?;
        }
        let output = tokio::time::timeout(TOOL_DEADLINE, child.wait_with_output())
            .await
            .with_context(|| {
                format!(
                    "{name} {} took longer than {TOOL_DEADLINE:?}",
                    args.join(" ")
                )
            })??;
        if !output.status.success() {
            bail!(
                "{name} {}: {}",
                args.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The root of the source tree.
pub fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// Where the throw-away cluster keeps its state.
fn run() -> PathBuf {
    std::env::var_os("CLUSTER_RUN").map_or_else(|| "/var/tmp/wsc-cluster".into(), PathBuf::from)
}

fn throw_away() -> Result<(Kubeconfig, OsString)> {
    let path = run().join(KUBECONFIG);
    if !path.exists() {
        bail!(
            "no cluster: KUBECONFIG is not set, and {} does not exist. {HOW_TO_GET_ONE}",
            path.display()
        );
    }
    let read =
        Kubeconfig::read_from(&path).with_context(|| format!("kubeconfig {}", path.display()))?;
    Ok((read, path.into()))
}

/// Where `e2e/cluster/up` keeps what it builds and fetches.
pub fn cache() -> PathBuf {
    std::env::var_os("CLUSTER_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/wsc-cluster"),
        PathBuf::from,
    )
}

/// Where cargo puts the programs of this workspace: above the test that runs.
pub fn programs() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let above = test.parent().and_then(Path::parent);
    above.map(Path::to_path_buf).unwrap_or_default()
}

/// The throw-away cluster brings its own kubectl and helm; they come after the user's. Plugins of kubectl are beside our programs.
fn path_with_tools() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    for more in [cache().join("bin"), programs()] {
        path.push(":");
        path.push(more);
    }
    path
}
