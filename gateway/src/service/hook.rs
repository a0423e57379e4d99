//! `Hook`: one application out of process that is asked and told, by the rules of its configuration.
//!
//! To the rest of the gateway it is a gatekeeper and an interceptor like those in process, in one order with them, and an
//! ear for events. Asking happens on the shared runtime under the hook's deadline, never on a shard's thread. What it
//! costs others is bounded: requests at once, events that wait, time; and while its circuit is open it costs nothing.

mod ask;
mod circuit;
mod clients;
mod cloud_event;
mod grpc;
mod heir;
mod http;
mod journal;
mod plan;
mod scribe;
mod signer;
mod stats;
mod teller;
mod wire;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use wsc_config::{FailurePolicy, HookPoint};

use super::{
    Admission, Client, Doorkeeper, Event, Gatekeeper, Incoming, Interceptor, Next, Rejection,
    Verdict,
};
use crate::cluster::Cluster;
use crate::group::rules::Verdict as Joining;
use crate::presence::Feed;
use crate::protocol::GroupId;

use ask::{Ask, Reply};
use circuit::Circuit;
use heir::Heir;
use journal::Journal;
use scribe::{Pen, Scribe, Waiting};
use teller::Teller;
use wire::{HookError, Wire};

pub(super) use clients::HookClients;
pub use plan::{HookPlan, HookPlanError};
pub use stats::HookStats;

/// See the module.
pub struct Hook {
    core: Arc<Core>,
    /// Events of this node. When the hook is dropped the queue ends, and what waits in it is still delivered.
    queue: mpsc::Sender<Waiting>,
    /// So many may wait.
    places: Arc<Semaphore>,
    _retire: DropGuard,
}

/// What a hook's workers share with it.
struct Core {
    plan: HookPlan,
    wire: Wire,
    circuit: Circuit,
    permits: Semaphore,
    stats: Arc<HookStats>,
    runtime: Handle,
    tasks: TaskTracker,
}

/// What hooks run on.
#[derive(Clone)]
pub struct HookGround {
    /// Where requests are made.
    pub runtime: Handle,
    /// Whose tasks they are.
    pub tasks: TaskTracker,
    /// Ends them.
    pub cancel: CancellationToken,
    /// Who is online.
    pub cluster: Cluster,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Hook")
            .field("name", &self.plan().name())
            .finish_non_exhaustive()
    }
}

impl Hook {
    /// Starts its workers. Nothing is sent before somebody asks or something happens.
    pub(super) fn start(
        plan: HookPlan,
        clients: &HookClients,
        ground: &HookGround,
    ) -> Result<Arc<Self>, HookPlanError> {
        let config = plan.config();
        let most = config.batch.queue as usize;
        // Whatever has a place finds room in both.
        let (sender, told) = mpsc::channel(most);
        let (onward, queue) = mpsc::channel(most);
        let core = Arc::new(Core {
            wire: Wire::new(&plan, clients)?,
            circuit: Circuit::new(&config.circuit),
            permits: Semaphore::new(config.max_concurrency as usize),
            stats: Arc::default(),
            runtime: ground.runtime.clone(),
            tasks: ground.tasks.clone(),
            plan,
        });
        let retire = ground.cancel.child_token();
        core.work(ground, (told, onward, queue));
        core.work_for_others(ground, &retire);
        Ok(Arc::new(Self {
            core,
            queue: sender,
            places: Arc::new(Semaphore::new(most)),
            _retire: retire.drop_guard(),
        }))
    }

    /// What it goes by.
    pub fn plan(&self) -> &HookPlan {
        &self.core.plan
    }

    /// What became of what it was asked and told.
    pub fn stats(&self) -> &Arc<HookStats> {
        &self.core.stats
    }

    /// Whether it is taken to be down.
    pub fn is_down(&self) -> bool {
        self.core.circuit.is_open()
    }

    /// Tells it of something, if there is room.
    pub(super) fn tell(&self, event: Event) {
        let place = self.places.clone().try_acquire_owned().ok();
        self.have_wait(event, place);
    }

    /// The same, but waits for room for a while.
    pub(super) async fn tell_patiently(&self, event: Event) {
        let place = timeout(super::lane::ROOM, self.places.clone().acquire_owned());
        let place = place.await.ok().and_then(Result::ok);
        self.have_wait(event, place);
    }

    fn have_wait(&self, event: Event, place: Option<OwnedSemaphorePermit>) {
        let stats = &self.core.stats;
        stats.queued.fetch_add(1, Relaxed);
        let waits = place.is_some_and(|place| {
            let waiting = Waiting {
                event,
                place,
                written: None,
            };
            self.queue.try_send(waiting).is_ok()
        });
        if !waits {
            stats.queued.fetch_sub(1, Relaxed);
            stats.dropped.fetch_add(1, Relaxed);
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Reply, HookError> {
        self.core.stats.asked.fetch_add(1, Relaxed);
        let core = self.core.clone();
        let asking = self
            .core
            .tasks
            .spawn_on(async move { core.decide(&ask).await }, &self.core.runtime);
        let given_up = |_| {
            Err(HookError::Unreachable(
                "the request was given up".to_owned(),
            ))
        };
        asking.await.unwrap_or_else(given_up)
    }

    /// What is to be done when it did not decide; `ignored`: what goes on without it.
    fn by_policy<T>(&self, decided: Result<T, HookError>, ignored: T) -> Result<T, Rejection> {
        let error = match decided {
            Ok(decided) => return Ok(decided),
            Err(error) => error,
        };
        let (name, policy) = (self.plan().name(), self.plan().config().failure_policy);
        tracing::debug!(hook = name, %error, %policy, "a hook did not decide");
        self.core.stats.failed.fetch_add(1, Relaxed);
        match policy {
            FailurePolicy::Ignore => Ok(ignored),
            FailurePolicy::Fail => Err(Rejection::unavailable(
                "the application did not decide about this",
            )),
        }
    }
}

/// The two queues between whoever tells of something and the teller.
type Queues = (
    mpsc::Receiver<Waiting>,
    mpsc::Sender<Waiting>,
    mpsc::Receiver<Waiting>,
);

impl Core {
    /// Starts the workers for this node's own events: one writes them down, one delivers them.
    fn work(self: &Arc<Self>, ground: &HookGround, (told, onward, queue): Queues) {
        let journal = self.journal(ground);
        let scribe = Scribe {
            core: self.clone(),
            pen: journal
                .clone()
                .map(|journal| Pen::new(journal, ground.cluster.clone())),
            cancel: ground.cancel.clone(),
        };
        let _worker = ground
            .tasks
            .spawn_on(scribe.run(told, onward), &ground.runtime);
        let teller = self.teller(&ground.cancel);
        let _worker = ground
            .tasks
            .spawn_on(teller.run(queue, journal), &ground.runtime);
    }

    /// Starts the workers for what one node of the cluster does for all, until the hook is gone.
    fn work_for_others(self: &Arc<Self>, ground: &HookGround, retire: &CancellationToken) {
        let (cluster, teller) = (&ground.cluster, self.teller(retire));
        if self.plan.hears_presence() {
            let reader = format!("hook {}", self.plan.name());
            let feed = Feed::new(cluster.clone(), &reader);
            let passing_on = teller.clone().pass_on(feed);
            let _worker = ground.tasks.spawn_on(passing_on, &ground.runtime);
        }
        if let Some(journal) = self.journal(ground) {
            let heir = Heir::new(teller, journal, cluster.clone());
            let _worker = ground.tasks.spawn_on(heir.run(), &ground.runtime);
        }
    }

    fn teller(self: &Arc<Self>, cancel: &CancellationToken) -> Teller {
        Teller {
            core: self.clone(),
            cancel: cancel.clone(),
        }
    }

    /// Where events are written down: where nodes share a Redis, and the hook is told of any.
    fn journal(&self, ground: &HookGround) -> Option<Journal> {
        let link = ground.cluster.redis().filter(|_| self.plan.hears_any())?;
        Some(Journal::new(&link, self.plan.name()))
    }

    /// Asks until there is an answer, the deadline is over, or it makes no sense any more.
    async fn decide(&self, ask: &Ask) -> Result<Reply, HookError> {
        let deadline = Instant::now() + self.plan.config().timeout.get();
        if self.circuit.enter().is_err() {
            return Err(HookError::Open);
        }
        let asking = timeout_at(deadline, self.ask_repeatedly(ask)).await;
        let decided = asking.unwrap_or(Err(HookError::Deadline));
        self.circuit.note(decided.as_ref().err());
        decided
    }

    async fn ask_repeatedly(&self, ask: &Ask) -> Result<Reply, HookError> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let retry = &self.plan.config().retry;
        let mut attempt = 1;
        loop {
            match self.wire.ask(ask).await {
                Err(error) if error.is_passing() && attempt < retry.max_attempts => {
                    self.stats.retried.fetch_add(1, Relaxed);
                    sleep(self.plan.pause(attempt)).await;
                    attempt += 1;
                }
                decided => return decided,
            }
        }
    }

    /// One attempt to deliver events.
    async fn tell(&self, events: &[Event]) -> Result<(), HookError> {
        if self.circuit.enter().is_err() {
            return Err(HookError::Open);
        }
        let deadline = Instant::now() + self.plan.config().timeout.get();
        let told = timeout_at(deadline, self.wire.tell(events)).await;
        let told = told.unwrap_or(Err(HookError::Deadline));
        self.circuit.note(told.as_ref().err());
        told
    }
}

impl Gatekeeper for Hook {
    fn name(&self) -> &str {
        self.plan().name()
    }

    fn order(&self) -> i32 {
        self.plan().config().order
    }

    fn admit<'a>(&'a self, client: &'a Client) -> BoxFuture<'a, Result<Admission, Rejection>> {
        Box::pin(async move {
            let ask = Ask::connect(self.plan().name(), client);
            let decided = self.ask(ask).await.and_then(Reply::into_admission);
            self.by_policy(decided, Ok(Admission::default()))?
        })
    }
}

impl Doorkeeper for Hook {
    fn name(&self) -> &str {
        self.plan().name()
    }

    fn order(&self) -> i32 {
        self.plan().config().order
    }

    fn join<'a>(
        &'a self,
        client: &'a Client,
        group: &'a GroupId,
    ) -> BoxFuture<'a, Result<Joining, Rejection>> {
        Box::pin(async move {
            let ask = Ask::join(self.plan().name(), client, group);
            let replied = self.ask(ask).await.and_then(Reply::into_admission);
            let decided = replied.map(|admitted| admitted.map(|_| Joining::Allowed));
            self.by_policy(decided, Ok(Joining::Unasked))?
        })
    }
}

impl Interceptor for Hook {
    fn name(&self) -> &str {
        self.plan().name()
    }

    fn order(&self) -> i32 {
        self.plan().config().order
    }

    fn intercept<'a>(
        &'a self,
        client: &'a Client,
        message: Incoming,
        next: Next<'a>,
    ) -> BoxFuture<'a, Result<Verdict, Rejection>> {
        Box::pin(async move {
            let ask = Ask::message(self.plan().name(), client, &message);
            let unchanged = Verdict::Send(Box::new(message.clone()));
            let replied = self.ask(ask).await;
            let decided = replied.and_then(|reply| reply.into_verdict(message));
            match self.by_policy(decided, Ok(unchanged))?? {
                Verdict::Send(message) => next.run(*message).await,
                other => Ok(other),
            }
        })
    }
}

impl Hook {
    /// Whether it takes part in this.
    pub(super) fn is_on(&self, point: HookPoint) -> bool {
        self.plan().config().points.contains(&point)
    }
}
