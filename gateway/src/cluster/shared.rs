//! `Shared`: what the cluster's tasks know in common: who this node is, who its peers are, whether the link is of use.
//!
//! Nothing here waits. The keeper writes the view, everyone reads it; counters are written where things happen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

use super::cache::NodeCache;
use super::peers::Doorway;
use super::wire::Wire;
use super::{ClusterError, ClusterStats, ClusterStatus, Link, NodeInfo};
use crate::protocol::{Epoch, NodeId};

/// Who this node is. Its epoch changes when it has to register anew.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) node: NodeId,
    pub(super) address: String,
    /// Where peers may bring streams.
    pub(super) door: Option<Doorway>,
    epoch: AtomicU64,
}

impl Identity {
    pub(super) fn new(node: NodeId, address: String, epoch: Epoch) -> Self {
        Self {
            node,
            address,
            door: None,
            epoch: AtomicU64::new(epoch.0),
        }
    }

    /// The same with a door for streams.
    pub(super) fn behind(self, door: Option<Doorway>) -> Self {
        Self { door, ..self }
    }

    /// Zero until the node has registered.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    pub(super) fn register(&self, epoch: Epoch) {
        self.epoch.store(epoch.0, Ordering::Release);
    }
}

/// The cluster as this node last saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Other live nodes, ordered by name.
    pub peers: Vec<NodeInfo>,
    /// Every live node as the registry said, this one included if it was there; what all nodes pick owners of work from.
    pub live: Vec<NodeInfo>,
    /// The newer epoch under this node's name.
    pub fenced: Option<Epoch>,
}

/// Whether a cluster has other machines in it at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Process,
    Network,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) cache: NodeCache,
    pub(super) stats: Arc<ClusterStats>,
    pub(super) wire: Arc<Wire>,
    /// A peer said that nodes came or went.
    pub(super) look: Notify,
    /// A peer said that tokens were taken back.
    pub(super) revoked: Notify,
    /// Something looks as if they had. As often as messages go, while a node is listed that does not hear.
    pub(super) suspicion: Notify,
    /// Somebody has reason to think that this node's name is no longer its own.
    pub(super) doubt: Notify,
    /// The number of the canary that is under way. Another process of this name has canaries of its own.
    pub(super) flying: AtomicU64,
    /// The number of the last one that came around.
    pub(super) canary: watch::Sender<u64>,
    view: watch::Sender<Arc<View>>,
    reach: Reach,
    /// The connection over which this node is registered and its directory written; zero: none.
    established: AtomicU64,
    /// How often it was so.
    links: AtomicU64,
    /// How often the lease was renewed, or should have been.
    beats: AtomicU64,
    /// Sessions are sent away.
    leaving: AtomicBool,
}

impl Shared {
    pub(super) fn new(identity: Identity, wire: Arc<Wire>, reach: Reach) -> Self {
        Self {
            identity,
            cache: NodeCache::default(),
            stats: Arc::default(),
            wire,
            look: Notify::new(),
            revoked: Notify::new(),
            suspicion: Notify::new(),
            doubt: Notify::new(),
            flying: AtomicU64::new(0),
            canary: watch::Sender::new(0),
            view: watch::Sender::default(),
            reach,
            established: AtomicU64::new(0),
            links: AtomicU64::new(0),
            beats: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
        }
    }

    pub(super) fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    pub(super) fn watch_view(&self) -> watch::Receiver<Arc<View>> {
        self.view.subscribe()
    }

    /// Stores who is alive; true if nodes came or went since.
    pub(super) fn see(&self, live: Vec<NodeInfo>) -> bool {
        let before = self.view();
        let others = live.iter().filter(|info| info.node != self.identity.node);
        let peers: Vec<NodeInfo> = others.cloned().collect();
        let same = before.peers.len() == peers.len()
            && before
                .peers
                .iter()
                .zip(&peers)
                .all(|(a, b)| a.node == b.node && a.epoch == b.epoch);
        self.view.send_modify(|view| {
            *view = Arc::new(View {
                peers,
                live,
                fenced: view.fenced,
            });
        });
        !same
    }

    pub(super) fn fence(&self, fenced: Option<Epoch>) {
        self.view.send_if_modified(|view| {
            let changed = view.fenced != fenced;
            if changed {
                *view = Arc::new(View {
                    peers: view.peers.clone(),
                    live: view.live.clone(),
                    fenced,
                });
            }
            changed
        });
    }

    /// Registered and written over this connection.
    pub(super) fn establish(&self, generation: u64) {
        if self.established.swap(generation, Ordering::AcqRel) != generation {
            self.links.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The connection may be there, but this node is not part of the cluster over it.
    pub(super) fn falter(&self, reason: String) {
        if self.is_established() {
            self.established.store(0, Ordering::Release);
            self.wire.falter(reason);
        } else {
            self.wire.explain(reason);
        }
    }

    fn is_established(&self) -> bool {
        let established = self.established.load(Ordering::Acquire);
        established != 0 && self.wire.generation() == Some(established)
    }

    /// The number of the next renewal.
    pub(super) fn next_beat(&self) -> u64 {
        self.beats.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// From now on the lease says that this node goes.
    pub(super) fn leaving(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.doubt.notify_one();
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Whether work for other nodes can be done now.
    pub(super) fn check(&self) -> Result<(), ClusterError> {
        if let Some(epoch) = self.view.borrow().fenced {
            return Err(ClusterError::Fenced {
                node: self.identity.node.clone(),
                epoch,
            });
        }
        if self.is_established() {
            Ok(())
        } else {
            Err(ClusterError::Disconnected)
        }
    }

    pub(super) fn status(&self) -> ClusterStatus {
        let view = self.view();
        let link = match self.reach {
            Reach::Process => Link::Alone,
            Reach::Network if self.is_established() => Link::Up,
            Reach::Network => {
                let wire = self.wire.state();
                Link::Down {
                    since: wire.down_since,
                    last_error: wire.last_error,
                }
            }
        };
        ClusterStatus {
            link,
            links: self.links.load(Ordering::Acquire),
            peers: view.peers.clone(),
            epoch: self.identity.epoch(),
            node: self.identity.node.clone(),
            fenced: view.fenced,
            connected: self.wire.generation().is_some(),
            etcd: None,
        }
    }
}
