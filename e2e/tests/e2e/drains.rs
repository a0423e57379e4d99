//! Pods that go under load: a rollout, a scale-in and an eviction lose nothing that was accepted, and cause no storm.
//!
//! `WSC_PROOF_CLIENTS` says how many clients; the figures are printed (`--nocapture`). Clients come by the Service's
//! address where that is reachable, as on the machine of the throw-away cluster; elsewhere through the API server, which
//! then carries so much that there are fewer of them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::EvictParams;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use wsc_e2e::chart;
use wsc_e2e::forward;
use wsc_e2e::gateway::{Gateway, WS_PORT, held};
use wsc_e2e::namespace::{READY_WITHIN, with_gateway};
use wsc_e2e::resource::{sample, with};
use wsc_e2e::tokens;
use wsc_e2e::wait::until;

use crate::gates::Gates;
use crate::load::{history, most_in_a_second};
use crate::publisher::{PublisherTask, Work};
use crate::reader::ReaderTask;

/// Clients without a word to the contrary.
const CLIENTS: usize = 300;
/// The most where each is a stream through the API server.
const FORWARDED: usize = 60;
const REACHED_WITHIN: Duration = Duration::from_secs(3);
/// A pod sends its clients away in about so many seconds.
const DRAIN_SECONDS: usize = 10;
/// `drain.deadline` in seconds, within which the pod has left; Kubernetes would kill it some seconds later.
const DEADLINE: u64 = 40;
/// For everything that was accepted to arrive once the pods are at rest.
const SETTLED_WITHIN: Duration = Duration::from_mins(1);
const CONNECTED_WITHIN: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn rollouts_scale_in_and_evictions_lose_nothing_and_cause_no_storm() -> Result<()> {
    let _operator = chart::operator_in_use().await;
    let clients = match std::env::var("WSC_PROOF_CLIENTS") {
        Ok(text) => text.parse().context("WSC_PROOF_CLIENTS")?,
        Err(_) => CLIENTS,
    };
    let spec = json!({"spec": {
        "drain": {"ratePerSecond": rate(clients), "window": "1s", "deadline": format!("{DEADLINE}s")},
        "wsc": {
            "performance": {"maxConnectionsPerNode": clients + 100},
            "security": {"enableRateLimit": false},
        },
    }});
    with_gateway("drains", with(sample(3), &spec), async |gateway| {
        let load = Load::start(&gateway, clients).await?;
        let mut seen = load.begin(rate(clients));

        let before = names(&gateway).await?;
        gateway
            .kubectl(&["rollout", "restart", "deployment/chat"])
            .await?;
        await_gone(&gateway, &before).await?;
        gateway.await_ready(3, READY_WITHIN).await?;
        load.everybody_is_back().await?;
        seen = load.undisturbed("rollout", &seen, before.len())?;

        let before = names(&gateway).await?;
        gateway
            .kubectl(&["scale", "wsg/chat", "--replicas=2"])
            .await?;
        let going = await_leaving(&gateway, &before).await?;
        status_tells_what_remains(&gateway).await?;
        await_gone(&gateway, &going).await?;
        load.everybody_is_back().await?;
        seen = load.undisturbed("scale-in", &seen, 1)?;

        let evicted = gateway.any_ready_pod().await?;
        let pods: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(gateway.client(), gateway.namespace());
        pods.evict(&evicted, &EvictParams::default()).await?;
        await_gone(&gateway, &[evicted]).await?;
        gateway.await_ready(2, READY_WITHIN).await?;
        load.everybody_is_back().await?;
        load.undisturbed("eviction", &seen, 1)?;
        load.settle().await
    })
    .await
}

/// Clients that a pod may send away in a second.
fn rate(clients: usize) -> usize {
    clients.div_ceil(3 * DRAIN_SECONDS)
}

/// Where clients knock: host and port.
async fn door(gateway: &Gateway, stop: &CancellationToken) -> Result<(String, Way)> {
    let services: Api<Service> = Api::namespaced(gateway.client(), gateway.namespace());
    let service = services.get(gateway.name()).await?;
    let address = service.spec.and_then(|spec| spec.cluster_ip);
    let address = format!(
        "{}:{WS_PORT}",
        address.context("the Service has no address")?
    );
    match timeout(REACHED_WITHIN, TcpStream::connect(&address)).await {
        Ok(Ok(_)) => Ok((address, Way::Direct)),
        Ok(Err(_)) | Err(_) => Ok((forwarded(gateway.clone(), stop).await?, Way::Forwarded)),
    }
}

/// How clients get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    Forwarded,
}

/// A port here; each connection goes to a ready pod, as the Service would have it.
async fn forwarded(gateway: Gateway, stop: &CancellationToken) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let accept = async move {
        while let Ok((mut here, _)) = listener.accept().await {
            let gateway = gateway.clone();
            tokio::spawn(async move {
                let pod = gateway.any_ready_pod().await?;
                let mut there =
                    forward::open(&gateway.client(), &gateway.port(&pod, WS_PORT)).await?;
                tokio::io::copy_bidirectional(&mut here, &mut there).await?;
                anyhow::Ok(())
            });
        }
    };
    tokio::spawn(stop.clone().run_until_cancelled_owned(accept));
    Ok(address)
}

/// Clients that follow their inboxes, and publishers that fill them.
struct Load {
    readers: Vec<ReaderTask>,
    publishers: Vec<PublisherTask>,
    stop: CancellationToken,
}

/// Where an operation began: how often each client had been disconnected by then.
struct Began {
    rate: usize,
    at: Instant,
    away: Vec<usize>,
}

impl Load {
    async fn start(gateway: &Gateway, clients: usize) -> Result<Self> {
        let stop = CancellationToken::new();
        let (door, way) = door(gateway, &stop).await?;
        let clients = match way {
            Way::Direct => clients,
            Way::Forwarded => clients.min(FORWARDED),
        };
        println!("drains: {clients} clients, {way:?}");
        let key = gateway.jwt_key().await?;
        let gates =
            Gates::new(move |user| tokens::mint(key.as_bytes(), user, "").unwrap_or_default());
        gates.open(format!("ws://{door}/ws"));
        let users: Vec<String> = (0..clients).map(|number| format!("r{number}")).collect();
        let start = |user: &String| ReaderTask::start(user.clone(), gates.clone(), stop.clone());
        let mut load = Self {
            readers: users.iter().map(start).collect(),
            publishers: Vec::new(),
            stop: stop.clone(),
        };
        load.everybody_is_back().await?;
        let to = Arc::new(users);
        for number in 0..4 {
            let work = Work {
                user: format!("p{number}"),
                messages: usize::MAX,
                pause: Duration::from_millis(20),
                to: to.clone(),
            };
            load.publishers
                .push(PublisherTask::start(work, gates.clone(), stop.clone()));
        }
        Ok(load)
    }

    fn begin(&self, rate: usize) -> Began {
        Began {
            rate,
            at: Instant::now(),
            away: self.readers.iter().map(disconnects).collect(),
        }
    }

    async fn everybody_is_back(&self) -> Result<()> {
        until("everybody to be connected", CONNECTED_WITHIN, async || {
            let away = self.readers.iter().filter(|reader| !reader.is_connected());
            let away = away.count();
            Ok(held(away == 0, || format!("{away} are not")))
        })
        .await
    }

    /// Nobody was disconnected more than twice or without a word, and they came back no faster than the pods that went
    /// at a time may send them.
    fn undisturbed(&self, what: &str, began: &Began, pods_at_a_time: usize) -> Result<Began> {
        let (mut most, mut all, mut untold, mut returns) = (0, 0, 0, Vec::new());
        for (reader, before) in self.readers.iter().zip(&began.away) {
            let notes = reader.notes.lock();
            let gone = notes.stays.get(*before..).unwrap_or_default();
            let (_last, gone) = gone.split_last().context("never connected")?;
            (most, all) = (most.max(gone.len()), all + gone.len());
            untold += gone.iter().filter(|stay| stay.told.is_none()).count();
            let stays = notes.stays.get(before + 1..).unwrap_or_default();
            returns.extend(stays.iter().map(|stay| stay.began));
        }
        let storm = most_in_a_second(&returns);
        let bound = began.rate * pods_at_a_time * 3 / 2;
        println!(
            "{what}: {} clients, {all} disconnects, at most {most} each, {untold} without a word; at most {storm} came back \
             in a second, {bound} allowed ({} a pod); {:.1} s",
            self.readers.len(),
            began.rate,
            began.at.elapsed().as_secs_f64()
        );
        ensure!(all > 0, "{what}: nobody had to go");
        ensure!(most <= 2, "{what}: a client was disconnected {most} times");
        ensure!(untold == 0, "{what}: {untold} were not told");
        ensure!(storm <= bound, "{what}: {storm} came back in a second");
        Ok(self.begin(began.rate))
    }

    /// Everything accepted has arrived.
    async fn settle(&self) -> Result<()> {
        for publisher in &self.publishers {
            publisher.enough();
        }
        until("all to be accepted", SETTLED_WITHIN, async || {
            let done = self.publishers.iter().all(|one| one.is_done(usize::MAX));
            Ok(held(done, || "some are not".to_owned()))
        })
        .await?;
        until("a sound history", SETTLED_WITHIN, async || {
            let report = history(&self.publishers, &self.readers).check();
            Ok(held(report.is_sound(), || report.to_string()))
        })
        .await?;
        println!(
            "drains: {}",
            history(&self.publishers, &self.readers).check()
        );
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn disconnects(reader: &ReaderTask) -> usize {
    reader.notes.lock().stays.len().saturating_sub(1)
}

async fn names(gateway: &Gateway) -> Result<Vec<String>> {
    let pods = gateway.pods().await?.into_iter();
    Ok(pods.filter_map(|pod| pod.metadata.name).collect())
}

/// The pods of before that have begun to go.
async fn await_leaving(gateway: &Gateway, before: &[String]) -> Result<Vec<String>> {
    until("a pod to go", READY_WITHIN, async || {
        let stay = names(gateway).await?;
        let going = before.iter().filter(|pod| !stay.contains(pod));
        let going: Vec<String> = going.cloned().collect();
        Ok(wsc_e2e::wait::done_if(!going.is_empty(), going, || {
            stay.join(", ")
        }))
    })
    .await
}

async fn status_tells_what_remains(gateway: &Gateway) -> Result<()> {
    until(
        "the status to say what remains",
        Duration::from_secs(DEADLINE),
        async || {
            let status = gateway.get().await?.data["status"].clone();
            let remaining = status["drain"]["remaining"].as_u64().unwrap_or(0);
            Ok(held(remaining > 0, || status["drain"].to_string()))
        },
    )
    .await
}

/// These pods have left altogether, each by itself.
async fn await_gone(gateway: &Gateway, pods: &[String]) -> Result<()> {
    // New pods come first, each takes a moment, and the last to be told to go has its deadline then.
    let within = READY_WITHIN + Duration::from_secs(DEADLINE);
    until("the pods to be gone", within, async || {
        let list = gateway.kubectl(&["get", "pods", "-o", "name"]).await?;
        let left = pods.iter().filter(|pod| list.contains(pod.as_str()));
        let left: Vec<&String> = left.collect();
        Ok(held(left.is_empty(), || format!("{left:?}")))
    })
    .await
}
