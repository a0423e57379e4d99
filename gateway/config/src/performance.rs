//! `PerformanceConfig`: limits of a node, buffers, compression and what is measured.

use derive_setters::Setters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, Millis, Seconds, schema};

/// Limits of a node, buffers, compression and what is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Setters)]
#[serde(rename_all = "camelCase", default)]
#[setters(prefix = "with_")]
#[schemars(transform = schema::kubernetes)]
pub struct PerformanceConfig {
    /// The most connections of a node. Beyond it the upgrade is refused with 503 and `Retry-After`.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_connections_per_node: u32,
    /// The part of the container's memory limit, in percent, past which handshakes are refused with 503 and `Retry-After`;
    /// who is connected stays. 0: memory is not looked at, nor is it where there is no limit.
    #[schemars(range(min = 0, max = 100))]
    pub max_memory_percent: u32,
    /// What a shard takes from a socket at once. One buffer serves all connections of a shard, so that an idle one has
    /// none; a larger message is put together from several reads.
    #[schemars(transform = schema::between("512B", "16MiB"))]
    pub read_buffer_size: ByteSize,
    /// How much of what waits for a client goes out in one write. Frames up to 4 KiB are copied together in one buffer of
    /// a shard, larger ones are written by themselves.
    #[schemars(transform = schema::between("512B", "16MiB"))]
    pub write_buffer_size: ByteSize,
    /// Whether clients that offer permessage-deflate get it. A message is compressed once for all its recipients, if it
    /// has 256 bytes or more.
    pub enable_compression: bool,
    /// How hard messages are compressed: 1 is the fastest, 9 the smallest.
    #[schemars(range(min = 1, max = 9))]
    pub compression_level: u32,
    /// Whether the admin port answers `/metrics`. False: it answers 404, and no times are taken.
    pub enable_metrics: bool,
    /// How old gauges that cost something to read (memory, file descriptors) may be before a scrape reads them anew.
    #[schemars(transform = schema::between("1s", "1h"))]
    pub metrics_interval: Seconds,
    /// Whether slow operations are logged, with operation, session and time.
    pub enable_slow_log: bool,
    /// From what time on an operation is slow.
    #[schemars(transform = schema::between("1ms", "1h"))]
    pub slow_log_threshold: Millis,
}

impl Default for PerformanceConfig {
    fn default() -> Self {
        Self {
            max_connections_per_node: 10_000,
            max_memory_percent: 90,
            read_buffer_size: ByteSize::from_kib(16),
            write_buffer_size: ByteSize::from_kib(16),
            enable_compression: false,
            compression_level: 6,
            enable_metrics: true,
            metrics_interval: Seconds::from_secs(60),
            enable_slow_log: true,
            slow_log_threshold: Millis::from_millis(1000),
        }
    }
}
