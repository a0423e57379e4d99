//! The cluster in Redis (7.0 or newer): leases, directory, and pub/sub between nodes.
//!
//! One Redis, named by host and port: a single server, or a primary behind a name or address that follows it. A server
//! that turned into a replica is dropped and the name asked for again. Neither Redis Cluster (a redirection is a refusal
//! here), nor Sentinel, nor TLS is spoken. All keys of a cluster carry one hash tag, the cluster's name, so that what one
//! script touches lies in one slot. The directory is written when sessions come and go, not per message.

mod assignments;
mod broker;
mod directory;
mod keys;
mod link;
mod registry;
mod scripts;

pub use assignments::RedisAssignments;
pub(super) use broker::Opening;
pub use broker::RedisBroker;
pub use directory::RedisDirectory;
pub use link::RedisLink;
pub use registry::RedisRegistry;
