//! `MemoryInterest`: the nodes that get a group's messages, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::{BoxFuture, ready};

use super::MemoryStore;
use crate::cluster::{ClusterError, Holding, Interest};
use crate::protocol::{GroupId, NodeId};

/// See the module.
#[derive(Debug)]
pub struct MemoryInterest {
    store: Arc<MemoryStore>,
}

impl MemoryInterest {
    /// Over this store.
    pub fn new(store: Arc<MemoryStore>) -> Self {
        Self { store }
    }
}

impl Interest for MemoryInterest {
    fn hold<'a>(
        &'a self,
        node: &'a NodeId,
        group: &'a GroupId,
        number: u64,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        let mut state = self.store.0.lock();
        let nodes = state.interest.entry(group.clone()).or_default();
        let held = nodes.entry(node.clone()).or_default();
        *held = number.max(*held);
        Box::pin(ready(Ok(())))
    }

    fn release<'a>(
        &'a self,
        node: &'a NodeId,
        group: &'a GroupId,
        number: u64,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        let mut state = self.store.0.lock();
        if let Some(nodes) = state.interest.get_mut(group) {
            nodes.retain(|held, since| held != node || *since > number);
            if nodes.is_empty() {
                state.interest.remove(group);
            }
        }
        Box::pin(ready(Ok(())))
    }

    fn holders<'a>(
        &'a self,
        groups: &'a [GroupId],
    ) -> BoxFuture<'a, Vec<Result<Vec<Holding>, ClusterError>>> {
        let state = self.store.0.lock();
        let held = groups.iter().map(|group| {
            let nodes: Option<&BTreeMap<NodeId, u64>> = state.interest.get(group);
            let held = nodes.into_iter().flatten();
            Ok(held.map(|(node, number)| (node.clone(), *number)).collect())
        });
        let held = held.collect();
        Box::pin(ready(held))
    }
}
