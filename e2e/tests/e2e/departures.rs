//! `Departures`: how pods ended: by themselves and in time, or killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use wsc_e2e::gateway::{Gateway, held};
use wsc_e2e::namespace::READY_WITHIN;
use wsc_e2e::wait::until;

/// What was seen of a pod that goes.
#[derive(Clone, Debug, Default)]
struct Departure {
    /// When Kubernetes would kill it: the end of its grace period.
    killed_at: Option<Timestamp>,
    /// How its container ended, and when.
    ended: Option<(i32, Option<Timestamp>)>,
}

/// A watch of a gateway's pods that remembers how each ended.
pub struct Departures {
    seen: Arc<Mutex<BTreeMap<String, Departure>>>,
    watch: AbortHandle,
}

impl Departures {
    /// Watches from now on.
    pub fn watch(gateway: &Gateway) -> Self {
        let pods: Api<Pod> = Api::namespaced(gateway.client(), gateway.namespace());
        let label = format!("wsc.dev/gateway={}", gateway.name());
        let seen: Arc<Mutex<BTreeMap<String, Departure>>> = Arc::default();
        let notes = seen.clone();
        let watch = tokio::spawn(async move {
            let params = WatchParams::default().labels(&label).timeout(290);
            let mut from = "0".to_owned();
            loop {
                if let Ok(events) = pods.watch(&params, &from).await {
                    let mut events = std::pin::pin!(events);
                    while let Some(event) = events.next().await {
                        match event {
                            Ok(
                                WatchEvent::Added(pod)
                                | WatchEvent::Modified(pod)
                                | WatchEvent::Deleted(pod),
                            ) => {
                                note(&mut notes.lock(), &pod);
                                from = pod.metadata.resource_version.unwrap_or_default();
                            }
                            Ok(WatchEvent::Bookmark(mark)) => from = mark.metadata.resource_version,
                            // Too old, most likely: what is told again changes nothing.
                            Ok(WatchEvent::Error(_)) | Err(_) => "0".clone_into(&mut from),
                        }
                    }
                }
                sleep(Duration::from_secs(1)).await;
            }
        });
        Self {
            seen,
            watch: watch.abort_handle(),
        }
    }

    /// These pods have ended by themselves, within their grace periods.
    pub async fn were_orderly(&self, pods: &[String]) -> Result<()> {
        until("the ends of pods to be told", READY_WITHIN, async || {
            let seen = self.seen.lock();
            let ended = |pod: &&String| seen.get(*pod).is_some_and(|found| found.ended.is_some());
            Ok(held(pods.iter().all(|pod| ended(&pod)), || {
                format!("{seen:?}")
            }))
        })
        .await?;
        for pod in pods {
            let found = self.seen.lock().get(pod).cloned().unwrap_or_default();
            let Some((code, at)) = found.ended else {
                continue;
            };
            ensure!(code == 0, "{pod} ended with {code}: {found:?}");
            ensure!(
                at <= found.killed_at,
                "{pod} took longer than its grace period: {found:?}"
            );
        }
        Ok(())
    }
}

impl Drop for Departures {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

fn note(seen: &mut BTreeMap<String, Departure>, pod: &Pod) {
    let (Some(name), Some(killed_at)) = (&pod.metadata.name, &pod.metadata.deletion_timestamp)
    else {
        return;
    };
    let found = seen.entry(name.clone()).or_default();
    // The kubelet deletes what has ended with a grace period of none, which moves the moment.
    found.killed_at.get_or_insert(killed_at.0);
    let containers = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    for container in containers.into_iter().flatten() {
        let ended = container
            .state
            .as_ref()
            .and_then(|state| state.terminated.as_ref());
        if let Some(ended) = ended {
            found.ended = Some((ended.exit_code, ended.finished_at.as_ref().map(|at| at.0)));
        }
    }
}
