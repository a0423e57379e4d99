//! The cluster in Redis (7.0 or newer): leases, directory, and pub/sub between nodes.
//!
//! All keys of a cluster carry one hash tag, the cluster's name: what one script touches lies in one slot, so that Redis
//! Cluster works. The directory is written when sessions come and go, not per message, which one slot carries well.

mod broker;
mod directory;
mod keys;
mod link;
mod registry;
mod scripts;

pub use broker::RedisBroker;
pub use directory::RedisDirectory;
pub use link::RedisLink;
pub use registry::RedisRegistry;
