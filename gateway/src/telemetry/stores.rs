//! `StoreTimes`: how long Redis and etcd take to answer, by what they are asked for. One histogram for each of a closed set
//! of parts, so that a slow answer can be told to be the log's or the directory's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use super::label::label;

label! {
    /// For which part of the gateway Redis is asked for something.
    RedisPart {
        /// Who is alive, and who owns what.
        Registry = "registry",
        /// Which nodes hold a user's sessions.
        Directory = "directory",
        /// Who is online.
        Presence = "presence",
        /// Messages between nodes.
        Messages = "messages",
        /// Durable logs, records and acknowledgements.
        Logs = "logs",
        /// Groups, their members, and which nodes want their messages.
        Groups = "groups",
        /// The ticket desk.
        Tickets = "tickets",
        /// Seats, rates and lock-outs.
        Limits = "limits",
        /// Tokens that were taken back.
        Revocations = "revocations",
        /// Events of hooks.
        Hooks = "hooks",
    }
}

label! {
    /// What etcd is asked for.
    EtcdCall {
        /// Reading keys.
        Read = "read",
        /// A transaction.
        Write = "write",
        /// A new lease.
        Grant = "grant",
        /// A lease's renewal.
        Renew = "renew",
        /// To tell of changes; until it says that it does.
        Watch = "watch",
    }
}

/// The label of an answer of Redis.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfPart {
    part: RedisPart,
}

/// The label of an answer of etcd.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfCall {
    call: EtcdCall,
}

/// See the module. Cheap to clone; clones share their values.
#[derive(Clone, Debug)]
pub struct StoreTimes {
    pub(super) redis: Family<OfPart, Histogram, fn() -> Histogram>,
    pub(super) etcd: Family<OfCall, Histogram, fn() -> Histogram>,
    collects: Arc<AtomicBool>,
}

impl Default for StoreTimes {
    fn default() -> Self {
        Self::while_collecting(Arc::new(AtomicBool::new(true)))
    }
}

impl StoreTimes {
    /// Notes nothing while that is false.
    pub(super) fn while_collecting(collects: Arc<AtomicBool>) -> Self {
        Self {
            redis: Family::new_with_constructor(seconds),
            etcd: Family::new_with_constructor(seconds),
            collects,
        }
    }

    /// Redis answered, or did not in time.
    pub fn redis(&self, part: RedisPart, took: Duration) {
        if self.collects.load(Relaxed) {
            let times = self.redis.get_or_create(&OfPart { part });
            times.observe(took.as_secs_f64());
        }
    }

    /// etcd answered, or did not in time.
    pub fn etcd(&self, call: EtcdCall, took: Duration) {
        if self.collects.load(Relaxed) {
            let times = self.etcd.get_or_create(&OfCall { call });
            times.observe(took.as_secs_f64());
        }
    }
}

/// From 100 µs to 13 s, each bucket double the one before: an answer takes a fraction of a millisecond, and its deadline is
/// two seconds.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 16))
}
