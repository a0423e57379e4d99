//! `Cluster`: this node's membership in the cluster, the handle that the rest of the gateway holds. Cheap to clone.
//!
//! Starting it never fails and never waits: a backend that is away is a state, not an error, and heals by itself. It
//! composes the tasks (writer, courier, keeper, reaper, canary, inbound) and owns no logic of its own.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wsc_proto::cluster::peers_server::PeersServer;

use super::backend::{Backing, Ground};
use super::canary::Canary;
use super::courier::{Counter, courier};
use super::envelope;
use super::inbound::inbound;
use super::keeper::{Keeper, Pauses, Progress};
use super::offices::Offices;
use super::peers::{Heard, PeerService};
use super::reaper::Reaper;
use super::redis::RedisLink;
use super::returns::returns;
use super::routing::Routing;
use super::shared::{Identity, Reach, Shared, View};
use super::wire::Wire;
use super::writer::{Changes, WriterParts, writer};
use super::{
    Backend, ClusterError, ClusterParams, ClusterStats, ClusterStatus, Destination, Forward,
    LocalNode, NodeInfo, OnlinePage, PresenceBook, SessionChange, SessionRecord,
};
use crate::protocol::{Epoch, GroupId, NodeId, UserId};
use crate::telemetry::traces::{Kind, Tracer};

/// See the module.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    backing: Backing,
    changes: Changes,
    counter: Counter,
    offices: Offices,
    leave: mpsc::Sender<oneshot::Sender<Result<(), ClusterError>>>,
    tracer: OnceLock<Tracer>,
    news_take: Duration,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// The longest anyone waits for room in the queue to other nodes.
    pub const PATIENCE: Duration = Duration::from_secs(1);

    /// The longest a farewell may take; a lease that could not be given back runs out.
    const FAREWELL: Duration = Duration::from_secs(5);

    /// Starts the node's tasks on the current runtime. Cancelling ends them without a farewell, as a crash would.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "parameters are made for one start"
    )]
    pub fn start(
        params: ClusterParams,
        local: Arc<dyn LocalNode>,
        tasks: &TaskTracker,
        cancel: CancellationToken,
    ) -> Self {
        let shared = Arc::new(shared(&params));
        let (desk, coming_back) = returns(shared.clone());
        let heard = Arc::new(Heard::default());
        let (listener, hand) = inbound(shared.clone(), local.clone(), (desk, heard.clone()));
        let ground = Ground {
            tasks,
            cancel: &cancel,
        };
        let backing = Backing::make(&params, (&shared, &heard), Arc::new(listener), &ground);
        let offices = Offices {
            shared: shared.clone(),
            routing: Arc::new(Routing::new(params.routing, params.balance)),
            assignments: backing.assignments.clone(),
        };
        let (orders, orders_taken) = mpsc::channel(1);
        let (reaper, dead) = mpsc::channel(1);
        let (leave, farewells) = mpsc::channel(1);
        let parts = WriterParts {
            local: local.clone(),
            directory: backing.directory.clone(),
            broker: backing.broker.clone(),
            presence: backing.presence.clone(),
            orders: orders_taken,
        };
        let (changes, writer) = writer(shared.clone(), parts);
        let (counter, courier) = courier(
            shared.clone(),
            (backing.directory.clone(), backing.interest.clone()),
            backing.broker.clone(),
        );
        let keeper = Keeper {
            shared: shared.clone(),
            local: local.clone(),
            registry: backing.registry.clone(),
            directory: backing.directory.clone(),
            broker: backing.broker.clone(),
            writer: orders,
            reaper,
            leave: farewells,
            offices: offices.clone(),
            pauses: Pauses {
                renewal: params.renewal(),
                look: params.look(),
                sync: params.node_sync_interval,
            },
            progress: Progress::default(),
        };
        tasks.spawn(hand.run(cancel.clone()));
        tasks.spawn(writer.run(cancel.clone()));
        tasks.spawn(courier.run(cancel.clone()));
        tasks.spawn(keeper.run(cancel.clone()));
        let (directory, broker) = (backing.directory.clone(), backing.broker.clone());
        let returns = coming_back.over(directory.clone(), broker);
        tasks.spawn(returns.run(cancel.clone()));
        tasks.spawn(
            Reaper {
                shared: shared.clone(),
                directory,
                local,
                dead,
            }
            .run(cancel.clone()),
        );
        if backing.redis.is_some() {
            let broker = backing.broker.clone();
            let canary = Canary {
                shared: shared.clone(),
                broker,
                pause: params.canary(),
            };
            tasks.spawn(canary.run(cancel));
        }
        Self(Arc::new(Inner {
            shared,
            backing,
            changes,
            counter,
            offices,
            leave,
            tracer: OnceLock::new(),
            news_take: params.renewal() + params.look(),
        }))
    }

    /// Tells the directory of a session's begin or end. Never blocks; called by shard threads in the order it happened.
    pub fn changed(&self, change: SessionChange) {
        self.0.changes.push(change);
    }

    /// Hands in work for other nodes; waits at most a second for room in the queue. The report is called in any case,
    /// by the time the work has been done or has failed. Work handed in one after the other arrives in that order.
    pub async fn forward(&self, work: Forward) {
        self.forward_by(work, Instant::now() + Self::PATIENCE).await;
    }

    /// The same with a deadline of the caller's, who has much to hand in and must not wait for each.
    pub async fn forward_by(&self, work: Forward, deadline: Instant) {
        if self.0.backing.broker.alone() {
            return work.report_nobody();
        }
        let work = traced(self.tracer(), work);
        self.0.counter.hand_in(work, deadline).await;
    }

    /// Traces what is handed to other nodes from now on. Called once, at the start.
    pub fn trace_with(&self, tracer: Tracer) {
        let _set = self.0.tracer.set(tracer);
    }

    /// What traces; off unless [`Cluster::trace_with`] was called.
    pub fn tracer(&self) -> &Tracer {
        self.0.tracer.get_or_init(Tracer::default)
    }

    /// How much waits, by queue: work for other nodes, and session changes for the directory.
    pub fn queues(&self) -> [(&'static str, u64); 2] {
        let directory = self.stats().directory_queue.load(Relaxed);
        [
            ("cluster_out", self.0.counter.waiting()),
            ("directory", directory),
        ]
    }

    /// How this node stands now.
    pub fn status(&self) -> ClusterStatus {
        let etcd = self.0.backing.etcd.as_ref().map(|etcd| etcd.health());
        ClusterStatus {
            etcd,
            ..self.0.shared.status()
        }
    }

    /// This node's name and its incarnation now. Cheap: asked once per session.
    pub fn identity(&self) -> (&NodeId, Epoch) {
        let identity = &self.0.shared.identity;
        (&identity.node, identity.epoch())
    }

    /// Whether this node is part of the cluster now: registered, and heard by the others.
    pub fn is_part(&self) -> bool {
        self.0.shared.check().is_ok()
    }

    /// Whether there is no other node that work could be handed to. Cheap: asked once per message.
    pub fn is_alone(&self) -> bool {
        self.0.backing.broker.alone()
    }

    /// The address this node tells its peers.
    pub fn address(&self) -> &str {
        &self.0.shared.identity.address
    }

    /// The counters.
    pub fn stats(&self) -> &ClusterStats {
        &self.0.shared.stats
    }

    /// Resolves with the newer epoch once another process holds this node's name: this one should drain and end.
    pub async fn fenced(&self) -> Epoch {
        let mut view = self.0.shared.watch_view();
        loop {
            let fenced = view.borrow_and_update().fenced;
            if let Some(epoch) = fenced {
                return epoch;
            }
            if view.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// A page of the users online on any live node, after `after`, ordered by id.
    pub async fn online(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<OnlinePage, ClusterError> {
        self.0.backing.directory.online(after, limit).await
    }

    /// The sessions of a user on any live node, oldest first.
    pub async fn sessions_of(&self, user: &UserId) -> Result<Vec<SessionRecord>, ClusterError> {
        self.0.backing.directory.sessions_of(user).await
    }

    /// Who is online and what changed.
    pub fn presence(&self) -> &dyn PresenceBook {
        &*self.0.backing.presence
    }

    /// From now on messages to the group come to this node, too. The number grows with each call for a group.
    pub async fn hold_group(&self, group: &GroupId, number: u64) -> Result<(), ClusterError> {
        let node = &self.0.shared.identity.node;
        self.0.backing.interest.hold(node, group, number).await
    }

    /// They no longer do, unless they were asked for anew since.
    pub async fn release_group(&self, group: &GroupId, number: u64) -> Result<(), ClusterError> {
        let node = &self.0.shared.identity.node;
        self.0.backing.interest.release(node, group, number).await
    }

    /// For each user, in order, the live nodes that hold at least one of their sessions.
    pub async fn nodes_of(&self, users: &[UserId]) -> Result<Vec<Vec<NodeId>>, ClusterError> {
        self.0.backing.directory.nodes_of(users).await
    }

    /// The link to Redis, for whoever keeps more there than the cluster does: scripts and pipelines under its deadline, over
    /// connections that heal. `None`: this gateway runs on memory.
    pub fn redis(&self) -> Option<Arc<RedisLink>> {
        self.0.backing.redis.clone()
    }

    /// What peers bring their streams to, until cancelled; `None`: this node has no door, or nothing is between nodes. A
    /// call may have [`Keep`](super::Keep) in its extensions.
    pub fn peer_service(&self, cancel: CancellationToken) -> Option<PeersServer<PeerService>> {
        let incoming = self.0.backing.incoming.clone()?;
        Some(PeerService::new(incoming, cancel))
    }

    /// Has every peer read the list of revoked tokens now.
    pub async fn tell_revocation(&self) -> Result<(), ClusterError> {
        let envelope = envelope::revoked(&self.0.shared.identity);
        let told = self
            .0
            .backing
            .broker
            .publish(vec![(Destination::All, envelope)]);
        told.await.map(drop)
    }

    /// Resolves when a peer has said that the list of revoked tokens grew. For one waiter.
    pub async fn revocation_told(&self) {
        self.0.shared.revoked.notified().await;
    }

    /// The peers as this node last saw them, with their connections, and each change of that. Seen anew with every look
    /// at the registry, so it wakes its watchers even where only the load has changed.
    pub fn peers(&self) -> watch::Receiver<Arc<View>> {
        self.0.shared.watch_view()
    }

    /// The one node that owns this work, which any node could do, by `messageRouting`: its name means the same on all
    /// nodes. While nodes differ in whom they see, they may differ in this too, for as long as it takes them to look at
    /// the registry: what must never be done twice is claimed where it is kept.
    pub async fn owner_of(&self, work: &str) -> Result<NodeId, ClusterError> {
        self.0.offices.owner_of(work).await
    }

    /// A node for a piece of work that is handed over once, by `messageRouting`: only `hash` gives the same one again.
    pub fn assign(&self, work: &str) -> NodeId {
        self.0.offices.pick(work)
    }

    /// Whether who is found nowhere really is: this node is part of the cluster and every live node's part of the
    /// directory is written. False for a moment after Redis has lost its data and while nodes begin.
    pub fn is_settled(&self) -> bool {
        let shared = &self.0.shared;
        shared.check().is_ok() && shared.view().live.iter().all(|info| info.synced)
    }

    /// Tells the peers with the next renewal, which is now, that this node sends its sessions away.
    pub fn say_leaving(&self) {
        self.0.shared.leaving();
    }

    /// Whether that was said.
    pub fn is_leaving(&self) -> bool {
        self.0.shared.is_leaving()
    }

    /// After how long what happens on a node is seen by the others: the longest pause between two renewals of a lease,
    /// and between two looks at those of others.
    pub fn news_take(&self) -> Duration {
        self.0.news_take
    }

    /// Every live node, read now, this one included.
    pub async fn nodes(&self) -> Result<Vec<NodeInfo>, ClusterError> {
        self.0.backing.registry.nodes().await
    }

    /// Says farewell: removes this node's directory entries and its lease, and tells the peers. Changes from now on are
    /// not written; forwarding goes on until cancelled. Bounded by a deadline.
    pub async fn leave(&self) -> Result<(), ClusterError> {
        let farewell = async {
            let (done, said) = oneshot::channel();
            self.0
                .leave
                .send(done)
                .await
                .map_err(|_| ClusterError::Disconnected)?;
            said.await.map_err(|_| ClusterError::Disconnected)?
        };
        let millis = u64::try_from(Self::FAREWELL.as_millis()).unwrap_or(u64::MAX);
        let late = ClusterError::Deadline {
            operation: "leave",
            millis,
        };
        timeout(Self::FAREWELL, farewell).await.unwrap_or(Err(late))
    }
}

/// The hand-over to other nodes is a span of its own, which theirs are part of; it ends when they have taken the message.
fn traced(tracer: &Tracer, mut work: Forward) -> Forward {
    let (parcel, report) = match &mut work {
        Forward::Users { parcel, report, .. }
        | Forward::Group { parcel, report, .. }
        | Forward::Broadcast { parcel, report } => (parcel, report),
        Forward::KickUser { .. } | Forward::KickSession { .. } | Forward::GroupChanged { .. } => {
            return work;
        }
    };
    if let Some(mut span) = tracer.span("wsc.cluster.publish", Kind::Producer, parcel.trace) {
        parcel.trace = Some(span.context());
        let told = std::mem::replace(report, Box::new(drop));
        *report = Box::new(move |outcome| {
            match &outcome {
                Ok(nodes) => span.number("wsc.nodes", nodes.iter().sum::<usize>() as u64),
                Err(error) => span.failed(error.label()),
            }
            drop(span);
            told(outcome);
        });
    }
    work
}

fn shared(params: &ClusterParams) -> Shared {
    let identity = Identity::new(params.node.clone(), params.address.clone(), Epoch(0));
    let identity = identity.behind(params.door.clone());
    match &params.backend {
        Backend::Memory(_) => Shared::new(identity, Arc::new(Wire::always_up()), Reach::Process),
        Backend::Redis(_) | Backend::Etcd(..) => {
            Shared::new(identity, Arc::new(Wire::down()), Reach::Network)
        }
    }
}
