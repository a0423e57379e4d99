//! The cluster in one process's memory: what a gateway without Redis runs on, and several nodes in one test.
//!
//! [`MemoryStore`] is the shared state behind one lock that is never held across an await or a call out of this module.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::Instant;

pub use self::directory::MemoryDirectory;
pub use self::interest::MemoryInterest;
pub use self::presence::MemoryPresence;
use super::assignments::{Assignments, Holder};
use super::{Broker, Claim, ClusterError, Destination, Listener, NodeInfo, NodeRegistry};
use crate::protocol::{Epoch, GroupId, NodeId};

mod directory;
mod interest;
mod presence;

/// What several nodes in one process share.
#[derive(Default)]
pub struct MemoryStore(Mutex<State>);

#[derive(Default)]
struct State {
    leases: BTreeMap<NodeId, Lease>,
    epochs: HashMap<NodeId, Epoch>,
    listeners: BTreeMap<NodeId, (u64, Arc<dyn Listener>)>,
    attached: u64,
    work: HashMap<String, Holder>,
    book: directory::Book,
    roll: presence::Roll,
    interest: HashMap<GroupId, BTreeMap<NodeId, u64>>,
}

struct Lease {
    info: NodeInfo,
    /// Who was given it.
    process: u64,
    until: Instant,
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// From now on the listener gets what is sent to this node, until the returned value is dropped.
    pub fn attach(self: &Arc<Self>, node: NodeId, listener: Arc<dyn Listener>) -> Attached {
        let mut state = self.0.lock();
        state.attached += 1;
        let number = state.attached;
        state.listeners.insert(node.clone(), (number, listener));
        Attached {
            store: self.clone(),
            node,
            number,
        }
    }
}

impl State {
    fn is_live(&self, node: &NodeId, epoch: Epoch) -> bool {
        let now = Instant::now();
        self.leases
            .get(node)
            .is_some_and(|lease| lease.until > now && lease.info.epoch == epoch)
    }

    fn held(&self, node: &NodeId) -> Option<&Lease> {
        let lease = self.leases.get(node)?;
        (lease.until > Instant::now()).then_some(lease)
    }

    /// The newer epoch that another process holds the caller's name with.
    fn fence(&self, info: &NodeInfo, process: u64) -> Option<ClusterError> {
        let held = self.held(&info.node)?;
        let is_own = process != 0 && held.process == process;
        (held.info.epoch > info.epoch && !is_own).then(|| ClusterError::Fenced {
            node: info.node.clone(),
            epoch: held.info.epoch,
        })
    }

    fn next_epoch(&self, info: &NodeInfo) -> Epoch {
        let last = self.epochs.get(&info.node).copied().unwrap_or(Epoch(0));
        let last = last.max(info.epoch);
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let micros = u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX);
        Epoch(micros.max(last.0 + 1))
    }
}

/// A listener's place in the store.
#[derive(Debug)]
pub struct Attached {
    store: Arc<MemoryStore>,
    node: NodeId,
    number: u64,
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut state = self.store.0.lock();
        if state
            .listeners
            .get(&self.node)
            .is_some_and(|(number, _)| *number == self.number)
        {
            state.listeners.remove(&self.node);
        }
    }
}

/// Leases in memory.
#[derive(Debug)]
pub struct MemoryRegistry {
    store: Arc<MemoryStore>,
    lease: Duration,
    process: u64,
}

impl MemoryRegistry {
    /// Over this store, with leases of this life, for a process that does not know leases by their process.
    pub fn new(store: Arc<MemoryStore>, lease: Duration) -> Self {
        Self::of_process(0, store, lease)
    }

    /// The same for the process of this number, drawn at random and not zero.
    pub fn of_process(process: u64, store: Arc<MemoryStore>, lease: Duration) -> Self {
        Self {
            store,
            lease,
            process,
        }
    }

    fn claim_now(&self, info: &NodeInfo, claim: Claim) -> Result<Epoch, ClusterError> {
        let mut state = self.store.0.lock();
        let mut granted = None;
        if claim == Claim::IfVacant {
            if let Some(fenced) = state.fence(info, self.process) {
                return Err(fenced);
            }
            let held = state.held(&info.node).map(|held| held.info.epoch);
            granted = held.filter(|held| *held > info.epoch);
        }
        let epoch = granted.unwrap_or_else(|| state.next_epoch(info));
        state.epochs.insert(info.node.clone(), epoch);
        let info = NodeInfo {
            epoch,
            ..info.clone()
        };
        let until = Instant::now() + self.lease;
        let lease = Lease {
            info,
            process: self.process,
            until,
        };
        state.leases.insert(lease.info.node.clone(), lease);
        Ok(epoch)
    }

    fn renew_now(&self, info: &NodeInfo) -> Result<bool, ClusterError> {
        let mut state = self.store.0.lock();
        if let Some(fenced) = state.fence(info, self.process) {
            return Err(fenced);
        }
        if state.held(&info.node).map(|held| held.info.epoch) != Some(info.epoch) {
            return Ok(false);
        }
        let lease = Lease {
            info: info.clone(),
            process: self.process,
            until: Instant::now() + self.lease,
        };
        state.leases.insert(info.node.clone(), lease);
        Ok(true)
    }
}

impl NodeRegistry for MemoryRegistry {
    fn claim<'a>(
        &'a self,
        info: &'a NodeInfo,
        claim: Claim,
    ) -> BoxFuture<'a, Result<Epoch, ClusterError>> {
        Box::pin(async move { self.claim_now(info, claim) })
    }

    fn renew<'a>(&'a self, info: &'a NodeInfo) -> BoxFuture<'a, Result<bool, ClusterError>> {
        Box::pin(async move { self.renew_now(info) })
    }

    fn leave<'a>(
        &'a self,
        node: &'a NodeId,
        epoch: Epoch,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            let mut state = self.store.0.lock();
            if state
                .leases
                .get(node)
                .is_some_and(|lease| lease.info.epoch == epoch)
            {
                state.leases.remove(node);
            }
            Ok(())
        })
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeInfo>, ClusterError>> {
        Box::pin(async move {
            let mut state = self.store.0.lock();
            let now = Instant::now();
            state.leases.retain(|_, lease| lease.until > now);
            Ok(state
                .leases
                .values()
                .map(|lease| lease.info.clone())
                .collect())
        })
    }
}

/// Who has which work, in memory. Bounded: past that it begins anew.
#[derive(Debug)]
pub struct MemoryAssignments {
    store: Arc<MemoryStore>,
}

impl MemoryAssignments {
    /// Over this store.
    pub fn new(store: Arc<MemoryStore>) -> Self {
        Self { store }
    }
}

/// Work whose owner is remembered; past that all is picked anew.
const WORK: usize = 65_536;

impl Assignments for MemoryAssignments {
    fn assign<'a>(
        &'a self,
        work: &'a str,
        pick: &'a Holder,
        live: &'a [Holder],
    ) -> BoxFuture<'a, Result<Holder, ClusterError>> {
        Box::pin(async move {
            let mut state = self.store.0.lock();
            if let Some(given) = state.work.get(work).filter(|given| live.contains(given)) {
                return Ok(given.clone());
            }
            if state.work.len() >= WORK {
                state.work.clear();
            }
            state.work.insert(work.to_owned(), pick.clone());
            Ok(pick.clone())
        })
    }
}

/// Envelopes from listener to listener.
#[derive(Debug)]
pub struct MemoryBroker {
    store: Arc<MemoryStore>,
}

impl MemoryBroker {
    /// Over this store.
    pub fn new(store: Arc<MemoryStore>) -> Self {
        Self { store }
    }

    fn publish_one(&self, to: &Destination, envelope: &Bytes) -> u64 {
        let receivers: Vec<Arc<dyn Listener>> = {
            let state = self.store.0.lock();
            match to {
                Destination::Node(node) => state
                    .listeners
                    .get(node)
                    .map(|(_, listener)| listener.clone())
                    .into_iter()
                    .collect(),
                Destination::All => state
                    .listeners
                    .values()
                    .map(|(_, listener)| listener.clone())
                    .collect(),
            }
        };
        for listener in &receivers {
            listener.offer(envelope.clone());
        }
        receivers.len() as u64
    }
}

impl Broker for MemoryBroker {
    fn publish(
        &self,
        batch: Vec<(Destination, Bytes)>,
    ) -> BoxFuture<'_, Result<Vec<u64>, ClusterError>> {
        Box::pin(async move {
            Ok(batch
                .iter()
                .map(|(to, envelope)| self.publish_one(to, envelope))
                .collect())
        })
    }

    fn alone(&self) -> bool {
        self.store.0.lock().listeners.len() <= 1
    }
}
