//! `Interest`: which nodes get the messages of a group, since they hold sessions of its members.
//!
//! A node asks before the first of its members' sessions follows the group and stops a while after the last has gone. Each
//! asking has a number that only grows on its node, so that a late stop undoes no newer asking.

use futures_util::future::BoxFuture;

use super::ClusterError;
use crate::protocol::{GroupId, NodeId};

/// A node that gets a group's messages, and the number of its asking.
pub type Holding = (NodeId, u64);

/// See the module. Nothing removes what a dead node asked for by itself: who finds that a node does not listen releases
/// what it had.
pub trait Interest: Send + Sync + 'static {
    /// From now on the group's messages go to the node, too.
    fn hold<'a>(
        &'a self,
        node: &'a NodeId,
        group: &'a GroupId,
        number: u64,
    ) -> BoxFuture<'a, Result<(), ClusterError>>;
    /// They no longer do, unless the node has asked anew since, under a larger number.
    fn release<'a>(
        &'a self,
        node: &'a NodeId,
        group: &'a GroupId,
        number: u64,
    ) -> BoxFuture<'a, Result<(), ClusterError>>;
    /// The nodes that get the messages of each of these groups, in order, with the number of each. That one cannot be asked for
    /// says nothing of the others.
    fn holders<'a>(
        &'a self,
        groups: &'a [GroupId],
    ) -> BoxFuture<'a, Vec<Result<Vec<Holding>, ClusterError>>>;
}
