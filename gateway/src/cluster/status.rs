//! `ClusterStatus` and `ClusterStats`: what readiness, the admin port and metrics are told. Read by anyone at any time
//! without waiting; written by the cluster's own tasks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use std::time::Duration;

use tokio::time::Instant;

use super::etcd::EtcdHealth;
use super::{ClusterError, NodeInfo};
use crate::protocol::{Epoch, NodeId};

/// The state of the link to the other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// There is none: this gateway runs on memory.
    Alone,
    /// Connected, registered, and the directory is written.
    Up,
    /// Not so; it heals by itself.
    Down {
        /// Since when.
        since: Instant,
        /// What was last heard.
        last_error: String,
    },
}

/// How this node stands in the cluster at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterStatus {
    /// The link.
    pub link: Link,
    /// How often it was made: whoever sees the same number twice has missed no moment without it.
    pub links: u64,
    /// Every other live node this node knows of, ordered by name.
    pub peers: Vec<NodeInfo>,
    /// This node's incarnation; provisional until it has registered for the first time.
    pub epoch: Epoch,
    /// This node.
    pub node: NodeId,
    /// Whether there is a connection to Redis, whatever else keeps this node from being part of the cluster.
    pub connected: bool,
    /// How etcd answered last, where nodes are registered there.
    pub etcd: Option<EtcdHealth>,
    /// The newer epoch that holds this node's name, if there is one: this process should end.
    pub fenced: Option<Epoch>,
}

/// Counters for metrics; relaxed, since no decision depends on them.
#[derive(Debug, Default)]
pub struct ClusterStats {
    /// Times the link was made again after it had been up.
    pub reconnects: AtomicU64,
    /// Messages and kicks handed to other nodes, counted once per node; those that may hold a user, too, while they write
    /// the directory.
    pub forwarded: AtomicU64,
    /// Messages and kicks taken from other nodes.
    pub received: AtomicU64,
    /// Envelopes ignored since they could not be read.
    pub malformed: AtomicU64,
    /// Envelopes ignored since their sender's incarnation is over.
    pub stale: AtomicU64,
    /// Envelopes dropped since this node's inbound queue was full.
    pub inbound_dropped: AtomicU64,
    /// Messages taken from other nodes for users of whom no session was here; each goes back to its sender's node, once.
    pub nobody_here: AtomicU64,
    /// Messages that came back and were sent to where the directory then said their recipients were.
    pub resent: AtomicU64,
    /// Messages that could not go back or out again, since too many were waiting to.
    pub returns_dropped: AtomicU64,
    /// Streams to peers that are open.
    pub streams: AtomicU64,
    /// Envelopes that went to peers over streams and were acknowledged.
    pub streamed_out: AtomicU64,
    /// Envelopes that a stream did not take and that went again by pub/sub.
    pub stream_repeats: AtomicU64,
    /// Envelopes that came over streams.
    pub streamed_in: AtomicU64,
    /// Envelopes that came again by pub/sub although a stream had brought them.
    pub doubles: AtomicU64,
    /// Times a stream waited in vain for what its sender had said before by pub/sub.
    pub order_given_up: AtomicU64,
    /// Round trip of the last canary in milliseconds.
    pub canary_ms: AtomicU64,
    /// When the last one came around, in milliseconds since `began`.
    pub canary_at_ms: AtomicU64,
    /// When counting began.
    pub began: Began,
    /// Canaries that did not come back.
    pub canaries_lost: AtomicU64,
    /// Work for other nodes that failed, by [`ClusterError::CAUSES`].
    pub failures: [AtomicU64; ClusterError::CAUSES.len()],
    /// Session changes waiting for the directory.
    pub directory_queue: AtomicU64,
    /// Times the directory was written anew as a whole.
    pub resyncs: AtomicU64,
    /// Session changes dropped since that queue was full; each caused a resync.
    pub overflows: AtomicU64,
    /// Directory lookups that the cache answered.
    pub cache_hits: AtomicU64,
    /// Directory lookups that it did not.
    pub cache_misses: AtomicU64,
    /// Dead incarnations whose leftovers this node removed.
    pub reaped: AtomicU64,
}

/// A moment that is now by default.
#[derive(Clone, Copy, Debug)]
pub struct Began(Instant);

impl Default for Began {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl ClusterStats {
    /// A canary came around now, in so many milliseconds.
    pub(super) fn canary_came(&self, millis: u64) {
        self.canary_ms.store(millis, Relaxed);
        let at = u64::try_from(self.began.0.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.canary_at_ms.store(at, Relaxed);
    }

    /// How long ago the last canary came around, or since the start.
    pub fn canary_age(&self) -> Duration {
        let at = Duration::from_millis(self.canary_at_ms.load(Relaxed));
        self.began.0.elapsed().saturating_sub(at)
    }

    pub(super) fn failed(&self, error: &ClusterError) {
        if let Some(counter) = self.failures.get(error.cause()) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Failures by cause, with the label of each.
    pub fn failures_by_cause(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        ClusterError::CAUSES
            .into_iter()
            .zip(self.failures.iter().map(|count| count.load(Relaxed)))
    }
}

pub(super) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
