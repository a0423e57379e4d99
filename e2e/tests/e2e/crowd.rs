//! `Load`: clients that follow their inboxes and publishers that fill them, and the judge of their history.
//!
//! Clients come by the Service's address where that is reachable, as on the machine of the throw-away cluster; elsewhere
//! through the API server, which then carries so much that there are fewer of them.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use wsc_e2e::forward;
use wsc_e2e::gateway::{Gateway, WS_PORT, held};
use wsc_e2e::namespace::READY_WITHIN;
use wsc_e2e::tokens;
use wsc_e2e::wait::until;

use crate::gates::Gates;
use crate::load::history;
use crate::publisher::{PublisherTask, Work, accepted};
use crate::reader::ReaderTask;

/// The most where each is a stream through the API server.
const FORWARDED: usize = 60;
const REACHED_WITHIN: Duration = Duration::from_secs(10);
/// For everything that was accepted to arrive once the pods are at rest.
const SETTLED_WITHIN: Duration = Duration::from_mins(1);
const CONNECTED_WITHIN: Duration = Duration::from_mins(1);

/// Clients that follow their inboxes, and publishers that fill them.
pub struct Load {
    pub readers: Vec<ReaderTask>,
    pub publishers: Vec<PublisherTask>,
    name: &'static str,
    stop: CancellationToken,
}

impl Load {
    pub async fn start(gateway: &Gateway, name: &'static str, clients: usize) -> Result<Self> {
        let stop = CancellationToken::new();
        let (door, way) = door(gateway, &stop).await?;
        let clients = match way {
            Way::Direct => clients,
            Way::Forwarded => clients.min(FORWARDED),
        };
        println!("{name}: {clients} clients, {way:?}");
        let key = gateway.jwt_key().await?;
        let gates =
            Gates::new(move |user| tokens::mint(key.as_bytes(), user, "").unwrap_or_default());
        gates.open(format!("ws://{door}/ws"));
        let users: Vec<String> = (0..clients).map(|number| format!("r{number}")).collect();
        let start = |user: &String| ReaderTask::start(user.clone(), gates.clone(), stop.clone());
        let mut load = Self {
            readers: users.iter().map(start).collect(),
            publishers: Vec::new(),
            name,
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

    /// Messages accepted so far.
    pub fn accepted(&self) -> usize {
        accepted(&self.publishers)
    }

    /// More is accepted than was until now.
    pub async fn more_is_accepted(&self) -> Result<()> {
        let enough = self.accepted() + 200;
        until("more to be accepted", READY_WITHIN, async || {
            let accepted = self.accepted();
            Ok(held(accepted >= enough, || format!("{accepted}")))
        })
        .await
    }

    /// Does something, and gives the longest time in which nothing was accepted until 200 more were.
    pub async fn longest_pause(&self, work: impl AsyncFnOnce() -> Result<()>) -> Result<Duration> {
        let mut work = pin!(async {
            work().await.context("what was to be done")?;
            self.more_is_accepted().await
        });
        let (mut longest, mut last, mut seen) = (Duration::ZERO, Instant::now(), self.accepted());
        loop {
            let done = timeout(Duration::from_millis(20), work.as_mut()).await;
            longest = longest.max(last.elapsed());
            let accepted = self.accepted();
            if accepted > seen {
                (last, seen) = (Instant::now(), accepted);
            }
            if let Ok(done) = done {
                return done.map(|()| longest);
            }
        }
    }

    /// Nobody was disconnected, ever.
    pub fn nobody_was_disconnected(&self) -> Result<()> {
        for reader in &self.readers {
            let stays = reader.notes.lock().stays.len();
            ensure!(stays == 1, "{} was disconnected", reader.user);
        }
        Ok(())
    }

    /// Every reader is connected.
    pub async fn everybody_is_back(&self) -> Result<()> {
        until("everybody to be connected", CONNECTED_WITHIN, async || {
            let away = self.readers.iter().filter(|reader| !reader.is_connected());
            let away = away.count();
            Ok(held(away == 0, || format!("{away} are not")))
        })
        .await
    }

    /// Everything accepted has arrived.
    pub async fn settle(&self) -> Result<()> {
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
            "{}: {}",
            self.name,
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

/// Where clients knock: host and port.
async fn door(gateway: &Gateway, stop: &CancellationToken) -> Result<(String, Way)> {
    let services: Api<Service> = Api::namespaced(gateway.client(), gateway.namespace());
    let service = services.get(gateway.name()).await?;
    let address = service.spec.and_then(|spec| spec.cluster_ip);
    let address = format!(
        "{}:{WS_PORT}",
        address.context("the Service has no address")?
    );
    // The pods may be ready for longer than the node's rules have known of them.
    let reached = until("the Service to be reached", REACHED_WITHIN, async || {
        TcpStream::connect(&address).await?;
        Ok(held(true, String::new))
    });
    match reached.await {
        Ok(()) => Ok((address, Way::Direct)),
        Err(_) => Ok((forwarded(gateway.clone(), stop).await?, Way::Forwarded)),
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
