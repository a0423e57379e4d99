//! `Backing`: the three interfaces over one backend, made from the parameters, with whatever task the backend needs.
//! Called once by `Cluster::start`; never fails, since a backend that is away now comes back by itself.

use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::memory::{
    MemoryAssignments, MemoryBroker, MemoryDirectory, MemoryInterest, MemoryPresence,
    MemoryRegistry, MemoryStore,
};
use super::redis::{
    Opening, RedisAssignments, RedisBroker, RedisDirectory, RedisInterest, RedisLink,
    RedisPresence, RedisRegistry,
};
use super::shared::Shared;
use super::{
    Assignments, Backend, Broker, ClusterParams, Directory, Interest, NodeRegistry, PresenceBook,
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
}

/// What a backend runs on.
pub(super) struct Ground<'a> {
    pub(super) tasks: &'a TaskTracker,
    pub(super) cancel: &'a CancellationToken,
}

impl Backing {
    pub(super) fn make(
        params: &ClusterParams,
        shared: &Arc<Shared>,
        listener: Arc<dyn Listener>,
        ground: &Ground<'_>,
    ) -> Self {
        let process = rand::random_range(1..=u64::MAX);
        match &params.backend {
            Backend::Memory(store) => Self::memory(store, (params, process), listener, ground),
            Backend::Redis(redis) => {
                let listener = Arc::new(Opening {
                    sealer: redis.sealer.clone(),
                    listener,
                });
                let link = Arc::new(RedisLink::new(
                    redis,
                    &params.cluster_name,
                    shared.wire.clone(),
                ));
                ground.tasks.spawn(link.clone().keep(
                    params.node.clone(),
                    listener,
                    ground.cancel.clone(),
                ));
                Self {
                    registry: Arc::new(RedisRegistry::of_process(
                        process,
                        link.clone(),
                        params.lease(),
                    )),
                    directory: Arc::new(
                        RedisDirectory::new(link.clone()).offline_after(params.offline_delay),
                    ),
                    presence: Arc::new(
                        RedisPresence::new(link.clone()).offline_after(params.offline_delay),
                    ),
                    broker: Arc::new(RedisBroker::new(link.clone())),
                    assignments: Arc::new(RedisAssignments::new(link.clone())),
                    interest: Arc::new(RedisInterest::new(link.clone())),
                    redis: Some(link),
                }
            }
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
        }
    }
}
