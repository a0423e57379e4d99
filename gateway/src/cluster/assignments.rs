//! `Assignments`: carries a pick, so that all nodes know one owner of a piece of work whatever the policy picks by.
//!
//! The first who asks writes the pick; everybody else is told it for as long as that incarnation lives. An assignment
//! nobody asks for is forgotten after a while. It says who should do the work; it is no lock.

use futures_util::future::BoxFuture;

use super::ClusterError;
use crate::protocol::{Epoch, NodeId};

/// A node's incarnation.
pub type Holder = (NodeId, Epoch);

/// See the module.
pub trait Assignments: Send + Sync + 'static {
    /// Who has this work: the one it was given to if they are among `live`, or else `pick`, who has it from now on.
    fn assign<'a>(
        &'a self,
        work: &'a str,
        pick: &'a Holder,
        live: &'a [Holder],
    ) -> BoxFuture<'a, Result<Holder, ClusterError>>;
}
