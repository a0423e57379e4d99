//! `Service`: the extensions of a running gateway. Asked by connections (may this client connect, what becomes of this
//! message) and told by whoever knows that something happened.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::callbacks::Chain;
use super::lane::{Handler, Lane};
use super::live::Live;
use super::{
    Admission, Client, Doorkeeper, Event, EventFilter, Extensions, Fault, Gatekeeper, Hook,
    Incoming, Interceptor, LaneStats, Next, Rejection, Sent, Severity, Verdict,
};
use crate::cluster::SessionRecord;
use crate::group::rules::Verdict as Joining;
use crate::protocol::{Disconnect, GroupId};

/// What all callbacks and interceptors may take for one client or one message. Hooks have shorter deadlines of their own.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a session ended whose node is dead.
const NODE_LOST: &str = "node_lost";

/// What extensions decided, for metrics.
#[derive(Debug, Default)]
pub struct ServiceStats {
    /// Clients refused.
    pub clients_refused: AtomicU64,
    /// Messages refused.
    pub messages_refused: AtomicU64,
    /// Decisions that ended in a panic or took too long.
    pub decisions_failed: AtomicU64,
    /// Faults, by [`Severity::ALL`].
    pub faults: [AtomicU64; Severity::ALL.len()],
}

/// The extensions of a running gateway.
pub struct Service {
    connected: Chain<Client, Rejection>,
    received: Chain<(Client, Arc<Incoming>), Rejection>,
    gatekeepers: Vec<Arc<dyn Gatekeeper>>,
    doorkeepers: Vec<Arc<dyn Doorkeeper>>,
    interceptors: Vec<Arc<dyn Interceptor>>,
    /// Those and the hooks, which change while the gateway runs.
    live: ArcSwap<Live>,
    disconnected: Option<Lane<(Client, Disconnect)>>,
    sent: Option<Lane<Sent>>,
    faults: Option<Lane<Fault>>,
    events: Vec<(EventFilter, String, Lane<Event>)>,
    stats: ServiceStats,
    patience: Duration,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Service").finish_non_exhaustive()
    }
}

impl Service {
    /// Starts the workers of those that only hear of things. Cancelled, they do what waits and end.
    pub fn start(
        extensions: Extensions,
        tasks: &TaskTracker,
        cancel: &CancellationToken,
    ) -> Arc<Self> {
        Self::start_with(PATIENCE, extensions, tasks, cancel)
    }

    fn start_with(
        patience: Duration,
        extensions: Extensions,
        tasks: &TaskTracker,
        cancel: &CancellationToken,
    ) -> Arc<Self> {
        let interceptors = extensions.interceptors();
        let gatekeepers = extensions.gatekeepers();
        let doorkeepers = extensions.doorkeepers();
        let Extensions {
            connected,
            received,
            disconnected,
            sent,
            faults,
            events,
            ..
        } = extensions;
        let events = events.into_iter().map(|(filter, name, handler)| {
            let handler: Handler<Event> =
                Box::new(move |event| handler(event).map(Ok::<(), String>).boxed());
            let lane = Lane::start(&name, handler, tasks, cancel.clone());
            (filter, name, lane)
        });
        let service = Self {
            connected,
            received,
            gatekeepers,
            doorkeepers,
            interceptors,
            live: ArcSwap::default(),
            disconnected: lane("on_client_disconnect", disconnected, tasks, cancel),
            sent: lane("on_message_sent", sent, tasks, cancel),
            faults: lane("on_error", faults, tasks, cancel),
            events: events.collect(),
            stats: ServiceStats::default(),
            patience,
        };
        service.set_hooks(Vec::new());
        Arc::new(service)
    }

    /// Has just these hooks from now on.
    pub(super) fn set_hooks(&self, hooks: Vec<Arc<Hook>>) {
        let own = (&*self.gatekeepers, &*self.interceptors, &*self.doorkeepers);
        self.live.store(Arc::new(Live::of(own, hooks)));
    }

    /// The hooks, by their order.
    pub fn hooks(&self) -> Vec<Arc<Hook>> {
        self.live.load().hooks.clone()
    }

    /// Whether anyone wants to decide about clients that connect.
    pub fn decides_clients(&self) -> bool {
        !self.connected.is_empty() || !self.live.load().gatekeepers.is_empty()
    }

    /// Whether anyone wants to decide about messages.
    pub fn decides_messages(&self) -> bool {
        !self.received.is_empty() || !self.live.load().interceptors.is_empty()
    }

    /// Whether anyone wants to decide about clients that join groups.
    pub fn decides_joins(&self) -> bool {
        !self.live.load().doorkeepers.is_empty()
    }

    /// Whether anything at all is registered that concerns clients: without, connections keep no [`Client`].
    pub fn concerns_clients(&self) -> bool {
        self.decides_clients()
            || self.decides_messages()
            || self.decides_joins()
            || self.hears_sent()
            || self.hears_clients()
            || self.faults.is_some()
    }

    /// Whether anyone wants to know what goes wrong.
    pub fn hears_faults(&self) -> bool {
        self.faults.is_some()
    }

    /// Whether anyone wants to know which messages were sent.
    pub fn hears_sent(&self) -> bool {
        self.sent.is_some() || self.live.load().hears_sent
    }

    /// Whether anyone wants to know of clients that come and go.
    pub fn hears_clients(&self) -> bool {
        self.disconnected.is_some()
            || self.live.load().hears_clients
            || self.handles(Event::CONNECTED)
            || self.handles(Event::DISCONNECTED)
    }

    /// Whether anyone wants events of this name.
    pub fn wants(&self, name: &str) -> bool {
        let live = self.live.load();
        self.handles(name) || live.hooks.iter().any(|hook| hook.plan().wants(name))
    }

    /// Whether anyone in this process does.
    fn handles(&self, name: &str) -> bool {
        self.events.iter().any(|(filter, ..)| filter.wants(name))
    }

    /// Asks whether a client may have its session, and what is to be noted about it: callbacks first, then gatekeepers,
    /// each of which sees the client as it came; of two notes by the same name the later one stays.
    pub async fn connect(&self, client: &Client) -> Result<Admission, Rejection> {
        let asked = self.decide(client, self.admit(client)).await;
        if asked.is_err() {
            self.stats.clients_refused.fetch_add(1, Relaxed);
        }
        asked
    }

    async fn admit(&self, client: &Client) -> Result<Admission, Rejection> {
        self.connected.run(client).await?;
        let mut admission = Admission::default();
        for gatekeeper in &self.live.load_full().gatekeepers {
            admission.add(gatekeeper.admit(client).await?);
        }
        Ok(admission)
    }

    /// Asks whether a client may join a group of which its token says nothing.
    pub async fn join(&self, client: &Client, group: &GroupId) -> Result<Joining, Rejection> {
        let live = self.live.load_full();
        let asking = async {
            for doorkeeper in &live.doorkeepers {
                match doorkeeper.join(client, group).await? {
                    Joining::Unasked => {}
                    decided => return Ok(decided),
                }
            }
            Ok(Joining::Unasked)
        };
        self.decide(client, asking).await
    }

    /// Asks what becomes of a message: callbacks first, then the interceptors.
    pub async fn message(&self, client: &Client, message: Incoming) -> Result<Verdict, Rejection> {
        let asked = self.decide(client, self.judge(client, message)).await;
        if asked.is_err() {
            self.stats.messages_refused.fetch_add(1, Relaxed);
        }
        asked
    }

    async fn judge(&self, client: &Client, message: Incoming) -> Result<Verdict, Rejection> {
        let message = if self.received.is_empty() {
            message
        } else {
            let shown = (client.clone(), Arc::new(message));
            self.received.run(&shown).await?;
            Arc::unwrap_or_clone(shown.1)
        };
        let live = self.live.load_full();
        Next::new(client, &live.interceptors).run(message).await
    }

    /// Under the deadline; neither a panic nor an endless callback is the connection's end.
    async fn decide<T>(
        &self,
        client: &Client,
        deciding: impl Future<Output = Result<T, Rejection>>,
    ) -> Result<T, Rejection> {
        let what = match timeout(self.patience, AssertUnwindSafe(deciding).catch_unwind()).await {
            Ok(Ok(decided)) => return decided,
            Ok(Err(_panic)) => "panicked",
            Err(_) => "took too long",
        };
        self.stats.decisions_failed.fetch_add(1, Relaxed);
        self.fault(Fault {
            severity: Severity::Error,
            part: "extension".to_owned(),
            message: format!("a callback or an interceptor {what}"),
            client: Some(client.clone()),
        });
        Err(Rejection::unavailable(
            "the application did not decide about this",
        ))
    }

    /// A session began.
    pub fn client_connected(&self, client: &Client) {
        if self.wants(Event::CONNECTED) {
            self.emit(&Event::of_session(Event::CONNECTED, client, json(client)));
        }
    }

    /// A session ended.
    pub fn client_disconnected(&self, client: &Client, why: Disconnect) {
        if let Some(lane) = &self.disconnected {
            lane.offer((client.clone(), why));
        }
        if self.wants(Event::DISCONNECTED) {
            self.emit(&disconnected(client, why.label()));
        }
    }

    /// Sessions ended with the node that held them, and this node has to tell. Waits for room, within bounds: a node's
    /// sessions end all at once.
    pub async fn clients_lost(&self, sessions: &[SessionRecord]) {
        if !self.hears_clients() {
            return;
        }
        let live = self.live.load_full();
        for record in sessions {
            let client = Client::of_record(record);
            if let Some(lane) = &self.disconnected {
                let lost = (client.clone(), Disconnect::ConnectionLost);
                lane.offer_patiently(lost).await;
            }
            if self.wants(Event::DISCONNECTED) {
                let event = disconnected(&client, NODE_LOST);
                self.handle_patiently(&event).await;
                for hook in &live.hooks {
                    if hook.plan().wants(Event::DISCONNECTED) {
                        hook.tell_patiently(event.clone()).await;
                    }
                }
            }
        }
    }

    /// A message was handed over.
    pub fn message_sent(&self, sent: Sent) {
        let live = self.live.load();
        if live.hears_sent {
            let hooks = live.hooks.iter();
            let event = sent_event(&sent);
            hooks
                .filter(|hook| hook.plan().wants(Event::SENT))
                .for_each(|hook| hook.tell(event.clone()));
        }
        if let Some(lane) = &self.sent {
            lane.offer(sent);
        }
    }

    /// Something went wrong.
    pub fn fault(&self, fault: Fault) {
        for (_, counter) in Severity::ALL
            .iter()
            .zip(&self.stats.faults)
            .filter(|(known, _)| **known == fault.severity)
        {
            counter.fetch_add(1, Relaxed);
        }
        if let Some(lane) = &self.faults {
            lane.offer(fault);
        }
    }

    /// The gateway itself has come so far.
    pub fn emit_now(&self, name: &str, node: &str) {
        if self.wants(name) {
            let data = serde_json::json!({ "node": node });
            self.emit(&Event::now(name, Some(node), data));
        }
    }

    /// Something happened.
    pub fn emit(&self, event: &Event) {
        for (_, _, lane) in self
            .events
            .iter()
            .filter(|(filter, ..)| filter.wants(&event.name))
        {
            lane.offer(event.clone());
        }
        for hook in &self.live.load().hooks {
            if hook.plan().wants(&event.name) {
                hook.tell(event.clone());
            }
        }
    }

    /// Something happened that should not be missed: waits for room at the handlers of this process, within bounds. Hooks
    /// have ways of their own to it.
    pub async fn handle_patiently(&self, event: &Event) {
        for (_, _, lane) in self
            .events
            .iter()
            .filter(|(filter, ..)| filter.wants(&event.name))
        {
            lane.offer_patiently(event.clone()).await;
        }
    }

    /// What extensions decided.
    pub const fn stats(&self) -> &ServiceStats {
        &self.stats
    }

    /// The queues of those that only hear of things, by name.
    pub fn lanes<'a>(&'a self) -> Vec<(&'a str, &'a LaneStats)> {
        let of =
            |name: &'static str, stats: Option<&'a LaneStats>| stats.map(|stats| (name, stats));
        let fixed = [
            of(
                "on_client_disconnect",
                self.disconnected.as_ref().map(Lane::stats),
            ),
            of("on_message_sent", self.sent.as_ref().map(Lane::stats)),
            of("on_error", self.faults.as_ref().map(Lane::stats)),
        ];
        let events = self
            .events
            .iter()
            .map(|(_, name, lane)| (name.as_str(), lane.stats()));
        fixed.into_iter().flatten().chain(events).collect()
    }
}

fn disconnected(client: &Client, reason: &str) -> Event {
    let mut data = json(client);
    if let Some(fields) = data.as_object_mut() {
        fields.insert("reason".to_owned(), reason.into());
    }
    Event::of_session(Event::DISCONNECTED, client, data)
}

fn sent_event(sent: &Sent) -> Event {
    let message: serde_json::Value = serde_json::from_slice(&sent.json).unwrap_or_default();
    let data = serde_json::json!({ "client": json(&sent.client), "message": message });
    Event {
        id: format!("{}/{}/{}", sent.client.session, Event::SENT, sent.id),
        ..Event::now(Event::SENT, Some(sent.client.user.as_str()), data)
    }
}

fn json(client: &Client) -> serde_json::Value {
    // Strings and numbers only: it cannot fail.
    serde_json::to_value(client).unwrap_or_default()
}

fn lane<A: Clone + Send + Sync + 'static>(
    name: &str,
    chain: Chain<A, Rejection>,
    tasks: &TaskTracker,
    cancel: &CancellationToken,
) -> Option<Lane<A>> {
    if chain.is_empty() {
        return None;
    }
    let chain = Arc::new(chain);
    let handler: Handler<A> = Box::new(move |argument| {
        let chain = chain.clone();
        async move { chain.run(&argument).await.map_err(|no| no.message) }.boxed()
    });
    Some(Lane::start(name, handler, tasks, cancel.clone()))
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
