//! `Backing`: the three interfaces over one backend, made from the parameters, with whatever task the backend needs.
//! Called once by `Cluster::start`; never fails, since a backend that is away now comes back by itself.

use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::etcd::{EtcdLink, EtcdRegistry, watch};
use super::memory::{
    MemoryAssignments, MemoryBroker, MemoryDirectory, MemoryInterest, MemoryPresence,
    MemoryRegistry, MemoryStore,
};
use super::peers::{Heard, Incoming, PeerBroker};
use super::redis::{
    Opening, RedisAssignments, RedisBroker, RedisDirectory, RedisInterest, RedisLink,
    RedisPresence, RedisRegistry, Shadow,
};
use super::shared::Shared;
use super::{
    Assignments, Backend, Broker, ClusterParams, Directory, Interest, NodeRegistry, PresenceBook,
    RedisParams,
};

/// Takes envelopes as they arrive. Called by the connection's own task: it must not wait.
pub trait Listener: Send + Sync + 'static {
    /// One envelope, in order per sender.
    fn offer(&self, envelope: Bytes);
}

/// See the module.
pub(super) struct Backing {
    pub(super) registry: Arc<dyn NodeRegistry>,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) presence: Arc<dyn PresenceBook>,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) assignments: Arc<dyn Assignments>,
    pub(super) interest: Arc<dyn Interest>,
    /// The link below them, if there is one.
    pub(super) redis: Option<Arc<RedisLink>>,
    /// Where nodes are registered, if not there.
    pub(super) etcd: Option<Arc<EtcdLink>>,
    /// What peers bring their streams to, where this node has a door.
    pub(super) incoming: Option<Arc<Incoming>>,
}

/// What a backend runs on.
pub(super) struct Ground<'a> {
    pub(super) tasks: &'a TaskTracker,
    pub(super) cancel: &'a CancellationToken,
}

impl Backing {
    pub(super) fn make(
        params: &ClusterParams,
        (shared, heard): (&Arc<Shared>, &Arc<Heard>),
        listener: Arc<dyn Listener>,
        ground: &Ground<'_>,
    ) -> Self {
        let process = rand::random_range(1..=u64::MAX);
        match &params.backend {
            Backend::Memory(store) => Self::memory(store, (params, process), listener, ground),
            Backend::Redis(redis) => {
                let listener = opening(redis, listener);
                let link = dial(redis, (params, shared), listener.clone(), ground);
                let registry = RedisRegistry::of_process(process, &link, params.lease());
                let backing = Self::redis(link, params, Arc::new(registry));
                backing.with_streams((shared, heard), listener, ground)
            }
            Backend::Etcd(redis, etcd) => {
                let listener = opening(redis, listener);
                let link = dial(redis, (params, shared), listener.clone(), ground);
                let etcd = EtcdLink::new(etcd, &params.cluster_name);
                let shadow = Shadow::new(&link, params.lease());
                let registry =
                    EtcdRegistry::of_process(process, etcd.clone(), Some(shadow), params.lease());
                let watching = watch(etcd.clone(), shared.clone(), ground.cancel.clone());
                ground.tasks.spawn(watching);
                let backing = Self {
                    etcd: Some(etcd),
                    ..Self::redis(link, params, Arc::new(registry))
                };
                backing.with_streams((shared, heard), listener, ground)
            }
        }
    }

    /// The same with streams to peers beside pub/sub, if this node has a door for theirs.
    fn with_streams(
        mut self,
        (shared, heard): (&Arc<Shared>, &Arc<Heard>),
        listener: Arc<dyn Listener>,
        ground: &Ground<'_>,
    ) -> Self {
        let (Some(door), Some(link)) = (shared.identity.door.clone(), &self.redis) else {
            return self;
        };
        self.broker = PeerBroker::start(
            shared.clone(),
            (self.broker.clone(), link.sealer().clone()),
            heard.clone(),
            (ground.tasks, ground.cancel),
        );
        self.incoming = Some(Arc::new(Incoming {
            door,
            shared: shared.clone(),
            heard: heard.clone(),
            listener,
        }));
        self
    }

    fn redis(
        link: Arc<RedisLink>,
        params: &ClusterParams,
        registry: Arc<dyn NodeRegistry>,
    ) -> Self {
        let delay = params.offline_delay;
        Self {
            registry,
            directory: Arc::new(RedisDirectory::new(&link).offline_after(delay)),
            presence: Arc::new(RedisPresence::new(&link).offline_after(delay)),
            broker: Arc::new(RedisBroker::new(&link)),
            assignments: Arc::new(RedisAssignments::new(&link)),
            interest: Arc::new(RedisInterest::new(&link)),
            redis: Some(link),
            etcd: None,
            incoming: None,
        }
    }

    fn memory(
        store: &Arc<MemoryStore>,
        (params, process): (&ClusterParams, u64),
        listener: Arc<dyn Listener>,
        ground: &Ground<'_>,
    ) -> Self {
        let attached = store.attach(params.node.clone(), listener);
        let cancelled = ground.cancel.clone();
        ground.tasks.spawn(async move {
            cancelled.cancelled().await;
            drop(attached);
        });
        Self {
            registry: Arc::new(MemoryRegistry::of_process(
                process,
                store.clone(),
                params.lease(),
            )),
            directory: Arc::new(
                MemoryDirectory::new(store.clone()).offline_after(params.offline_delay),
            ),
            presence: Arc::new(
                MemoryPresence::new(store.clone()).offline_after(params.offline_delay),
            ),
            broker: Arc::new(MemoryBroker::new(store.clone())),
            assignments: Arc::new(MemoryAssignments::new(store.clone())),
            interest: Arc::new(MemoryInterest::new(store.clone())),
            redis: None,
            etcd: None,
            incoming: None,
        }
    }
}

/// Opens what was sealed before the listener gets it.
fn opening(redis: &RedisParams, listener: Arc<dyn Listener>) -> Arc<dyn Listener> {
    Arc::new(Opening {
        sealer: redis.sealer.clone(),
        listener,
    })
}

/// A link to Redis that keeps itself connected.
fn dial(
    redis: &RedisParams,
    (params, shared): (&ClusterParams, &Shared),
    listener: Arc<dyn Listener>,
    ground: &Ground<'_>,
) -> Arc<RedisLink> {
    let link = RedisLink::new(redis, &params.cluster_name, shared.wire.clone());
    let link = Arc::new(link);
    let kept = link.clone();
    ground
        .tasks
        .spawn(kept.keep(params.node.clone(), listener, ground.cancel.clone()));
    link
}
