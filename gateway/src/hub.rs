//! This node's sessions: shards, one per core, each with its sessions, outboxes, dirty list and timing wheel.

mod stats;

pub use stats::{ShardStats, StatsSnapshot};
