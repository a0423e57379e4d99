//! The cluster in Redis (7.0 or newer): leases, directory, and pub/sub between nodes.
//!
//! One server, or a primary behind a name or address that follows it; the primary that Sentinels name; or a Redis Cluster,
//! whose redirections the connection follows and whose sharded pub/sub it uses. A server that turned into a replica is
//! dropped and the name asked for again. The cluster's own keys carry one hash tag, its name, so that what one script
//! touches lies in one slot. The directory is written when sessions come and go, not per message.

mod assignments;
mod broker;
mod calls;
mod dial;
mod directory;
mod interest;
mod keys;
mod link;
mod pool;
mod presence;
mod registry;
mod scripts;
mod seats;
mod sentinel;
mod shadow;
mod together;
mod verdict;
mod waits;

pub use assignments::RedisAssignments;
pub use broker::RedisBroker;
pub(super) use broker::{ENVELOPES, Opening};
pub use calls::RedisCalls;
pub use directory::RedisDirectory;
pub use interest::{NODES, RedisInterest};
pub use link::RedisLink;
pub use presence::RedisPresence;
pub use registry::RedisRegistry;
pub use seats::{RedisSeats, Seating, Yields};
pub use shadow::Shadow;
pub use together::Ask;
