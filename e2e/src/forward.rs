//! A byte stream to a port of a pod, through the API server.
//!
//! One stream is one TCP connection in the pod's network. It ends when the pod's end closes or the pod dies, which is
//! what a client on the network would see.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::io::{AsyncRead, AsyncWrite};

/// Longest the API server may take to open a stream.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// Where a stream goes.
#[derive(Debug, Clone)]
pub struct PodPort {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Port in the pod.
    pub port: u16,
}

/// Opens a stream to `to`.
///
/// # Errors
/// When the pod is gone or the API server refuses. A port nobody listens on shows as a stream that ends at once.
pub async fn open(
    client: &Client,
    to: &PodPort,
) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static + use<>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &to.namespace);
    let at = || format!("port {} of pod {}/{}", to.port, to.namespace, to.pod);
    let mut forwarder = tokio::time::timeout(OPEN_DEADLINE, pods.portforward(&to.pod, &[to.port]))
        .await
        .with_context(|| format!("{}: the API server did not answer", at()))?
        .with_context(at)?;
    forwarder.take_stream(to.port).with_context(at)
}
