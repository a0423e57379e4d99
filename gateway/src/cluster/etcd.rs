//! Nodes registered in etcd (v3): leases, epochs and news of who comes and goes. Everything else stays in Redis.
//!
//! The directory's scripts judge who is alive by lease keys in Redis, since what is atomic there cannot ask etcd. So a node
//! that holds its lease in etcd keeps a shadow of it in Redis (`redis/shadow.rs`), written after etcd has said yes and
//! running out as the lease does. etcd decides who has a name; the shadow only tells scripts.

mod decide;
mod faults;
mod link;
mod registry;
mod watch;

pub use faults::EtcdFault;
pub use link::{EtcdHealth, EtcdLink};
pub use registry::EtcdRegistry;
pub(super) use watch::watch;
