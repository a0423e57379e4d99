//! Durable delivery: a message is stored in its log, its sender hears `accepted`, and whoever is connected gets it at once.
//!
//! [`Delivery`] is the handle that shards, groups, tickets and the API hold. The clerk behind it stores messages in
//! batches, in the order in which they were handed in, and hands what was stored to the hub and to other nodes. What is
//! delivered live carries its place in the log: a session that misses one reads it from there.

mod acks;
mod audit;
mod broadcasts;
mod clerk;
mod expiry;
mod receipt;
mod seen;
mod unanswered;

pub use acks::AckRules;
pub use clerk::awaited;
pub use receipt::Level;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wsc_config::{Acceptance, WscConfig};

use crate::cluster::{Cluster, ClusterError, ForwardReport, Rounds};
use crate::hub::{Hub, unix_millis};
use crate::log::{About, AckState, Append, Log, MemoryLog, RedisLog, Retention, Word};
use crate::protocol::{GroupId, LogId, Parcel, Position, TraceContext, UserId};
use crate::telemetry::traces::{self, Kind};

use broadcasts::Broadcasts;
use clerk::Job;
use expiry::Expiry;
use seen::Seen;
use unanswered::{Saying, Unanswered};

/// Messages that wait to be stored: some tens of milliseconds' worth.
const QUEUE: usize = 4_096;
/// Their bytes, in KiB.
const QUEUE_KIB: u32 = 64 << 10;

/// Whom a stored message is handed to at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Every session of these users.
    Users(Vec<UserId>),
    /// Every session of the group's members.
    Group(GroupId),
    /// Every session.
    All,
}

/// What became of a message that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Where it stands in its log.
    pub position: Position,
    /// Whether its sender had sent it before; nothing was done again.
    pub repeated: bool,
    /// What `accepted` promises.
    pub level: Level,
    /// Sessions of this node that it was handed to.
    pub local_sessions: usize,
}

/// Called once.
pub type Report = Box<dyn FnOnce(Result<Accepted, ClusterError>) + Send>;

/// A message to be stored and delivered.
pub struct Submission {
    /// The log it belongs to.
    pub log: LogId,
    /// Whom it is for now.
    pub route: Route,
    /// The message.
    pub append: Append,
    /// Told as soon as it is stored, or that it was not.
    pub report: Report,
    /// Told about other nodes, where somebody wants to know; not called if nothing was stored anew.
    pub forwarded: Option<ForwardReport>,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Delivery(Arc<Inner>);

struct Inner {
    log: Arc<dyn Log>,
    acks: ArcSwapOption<AckRules>,
    /// Whether anything is to be acknowledged, in inboxes or in tickets.
    awaits: AtomicBool,
    hub: Arc<Hub>,
    cluster: Cluster,
    queue: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    seen: Seen,
    unanswered: Unanswered,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").finish_non_exhaustive()
    }
}

impl Delivery {
    /// Starts the tasks on the current runtime. Logs are in Redis where the cluster has one, else in this process.
    pub fn start(
        config: &WscConfig,
        (hub, cluster): (Arc<Hub>, Cluster),
        tasks: &TaskTracker,
        cancel: &CancellationToken,
    ) -> Self {
        let retention = retention(config);
        let replicated = config.delivery.acceptance == Acceptance::Replicated;
        let log: Arc<dyn Log> = match cluster.redis() {
            Some(link) => Arc::new(RedisLog::new(&link, retention, replicated)),
            None => Arc::new(MemoryLog::new(
                retention,
                unix_millis().saturating_mul(1000),
            )),
        };
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (seen, flusher) = seen::seen(log.clone());
        let (unanswered, sayings) = Unanswered::new();
        let delivery = Self(Arc::new(Inner {
            log: log.clone(),
            acks: ArcSwapOption::from_pointee(AckRules::new(&config.ack)),
            awaits: AtomicBool::new(awaits(config)),
            hub,
            cluster,
            queue,
            room: Arc::new(Semaphore::new(QUEUE_KIB as usize)),
            seen,
            unanswered,
        }));
        let level = Level::of(config.delivery.acceptance, log.outlives_process());
        let (clerk, carrier) = clerk::clerk(&delivery, level);
        let expiry = Expiry {
            delivery: delivery.clone(),
        };
        tasks.spawn(expiry.run(cancel.clone()));
        tasks.spawn(clerk.run(jobs, cancel.clone()));
        tasks.spawn(carrier.run());
        tasks.spawn(flusher.run(cancel.clone()));
        tasks.spawn(sayings.run(delivery.clone(), cancel.clone()));
        let pause = config.distributed.health_check_interval.into();
        let rounds = || Rounds::new(delivery.0.cluster.clone(), pause);
        let broadcasts = Broadcasts {
            delivery: delivery.clone(),
            rounds: rounds(),
        };
        // Whatever this node keeps: others may send what is stored.
        tasks.spawn(broadcasts.run(cancel.clone()));
        // On memory nothing is lost on the way.
        if log.outlives_process() && config.delivery.acceptance != Acceptance::None {
            let (audited, cancel) = (delivery.clone(), cancel.clone());
            tasks.spawn(rounds().run(cancel, async move || audited.audit_all().await));
        }
        delivery
    }

    /// Goes by this configuration from now on, as far as it changes while running: what is kept and for how long, and when
    /// a message that nobody acknowledged is given up.
    pub fn go_by(&self, config: &WscConfig) {
        self.0.log.keep(retention(config));
        let acks = AckRules::new(&config.ack);
        self.0.acks.store(acks.map(Arc::new));
        self.0.awaits.store(awaits(config), Relaxed);
    }

    /// The sessions here.
    pub fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// The logs.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.0.log
    }

    /// Hands in a message; waits at most until the deadline for room. The report is called in any case. Messages handed
    /// in one after the other are stored in that order.
    pub async fn submit(&self, submission: Submission, deadline: Instant) {
        self.submit_as(submission, traces::current(), deadline)
            .await;
    }

    /// The same as part of this span.
    pub async fn submit_as(
        &self,
        mut submission: Submission,
        trace: Option<TraceContext>,
        deadline: Instant,
    ) {
        submission.append.trace = trace;
        let tracer = self.0.cluster.tracer();
        let span = tracer.span("wsc.log.append", Kind::Internal, trace);
        let kib = u32::try_from(submission.append.json.len() / 1024 + 1)
            .unwrap_or(QUEUE_KIB)
            .min(QUEUE_KIB);
        let room = timeout_at(deadline, async {
            let room = self.0.room.clone().acquire_many_owned(kib).await.ok()?;
            Some((room, self.0.queue.reserve().await.ok()?))
        });
        match room.await {
            Ok(Some((room, place))) => place.send(Job {
                submission,
                room,
                trace,
                span,
            }),
            Ok(None) => (submission.report)(Err(ClusterError::Disconnected)),
            Err(_) => (submission.report)(Err(ClusterError::Busy)),
        }
    }

    /// How many messages wait to be stored.
    pub fn waiting(&self) -> u64 {
        (self.0.queue.max_capacity() - self.0.queue.capacity()) as u64
    }

    /// Takes a reader's word for messages of a log, and passes it on to their senders. If the log does not answer, that is
    /// done once it does, so that what it has taken all the same reaches the senders too.
    pub async fn acknowledge(
        &self,
        log: LogId,
        (user, about): (&UserId, About<'_>),
        state: AckState,
    ) -> Result<(), ClusterError> {
        let saying = Saying {
            log,
            user: user.clone(),
            id: about.id.to_owned(),
            sender: about.sender.map(ToOwned::to_owned),
            state,
            at: unix_millis(),
        };
        let noted = self.pass_on(&saying).await;
        if let Err(met @ (ClusterError::Deadline { .. } | ClusterError::Disconnected)) = &noted {
            self.0.unanswered.keep(saying, met);
        }
        noted
    }

    async fn pass_on(&self, saying: &Saying) -> Result<(), ClusterError> {
        let Saying {
            log,
            user,
            id,
            sender,
            state,
            at,
        } = saying;
        let sender = sender.as_deref();
        let by_about = (user, About { id, sender });
        let told = self
            .0
            .log
            .acknowledge(log, by_about, (Word::Is(*state), *at));
        for sender in told.await? {
            let receipt = receipt::of_recipient(state.as_str(), id, user, *at);
            self.tell_user(&sender, receipt).await;
        }
        Ok(())
    }

    /// Notes that everything in the user's inbox up to here has arrived at a client of the user's. Never waits.
    pub fn saw(&self, user: &UserId, position: Position) {
        self.0.seen.note(user, position);
    }

    /// Tells every session of a user, on whatever node. Lost where there is none: it can be asked for.
    async fn tell_user(&self, user: &str, json: bytes::Bytes) {
        // A backend may call itself anything; only users have sessions.
        let Ok(user) = UserId::new(user) else { return };
        self.hand_over(&Route::Users(vec![user]), Parcel::from(json), None)
            .await;
    }

    /// Gives a message to sessions here and to other nodes.
    pub async fn hand_over(&self, route: &Route, parcel: Parcel, forwarded: Option<ForwardReport>) {
        clerk::hand_over((&self.0.hub, &self.0.cluster), route, parcel, forwarded).await;
    }
}

const fn awaits(config: &WscConfig) -> bool {
    config.ack.enabled || (config.ticket.enabled && config.ticket.enable_ack)
}

fn retention(config: &WscConfig) -> Retention {
    let kept: Duration = config.delivery.retention.into();
    let records = config.record.enabled.then(|| config.record.ttl.into());
    let tickets = config.ticket.enable_offline_message;
    let tickets = tickets.then(|| config.ticket.offline_message_expire.into());
    let age = records.map_or(kept, |records| kept.max(records));
    Retention {
        tickets: tickets.map_or(age, |tickets: Duration| tickets.max(age)),
        // A record is of a message that can be read.
        age,
        messages: u64::from(config.delivery.max_messages),
        dedupe: config.delivery.dedupe_window.into(),
        records,
    }
}
