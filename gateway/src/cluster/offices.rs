//! `Offices`: which of the nodes now alive does a piece of work, by the configured routing. Asked by the keeper and, through
//! `Cluster`, by everybody else who has such work.

use std::sync::Arc;

use super::routing::{Policy, Routing};
use super::shared::Shared;
use super::{Assignments, ClusterError, Holder, NodeInfo};
use crate::protocol::NodeId;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Offices {
    pub(super) shared: Arc<Shared>,
    pub(super) routing: Arc<Routing>,
    pub(super) assignments: Arc<dyn Assignments>,
}

impl Offices {
    /// One pick; with `random` and `round-robin` each is another.
    pub(super) fn pick(&self, work: &str) -> NodeId {
        let nodes = self.nodes();
        let picked = self.routing.pick(work, &nodes);
        picked.map_or_else(
            || self.shared.identity.node.clone(),
            |info| info.node.clone(),
        )
    }

    /// The one owner. By `hash` everybody finds it alone; a pick of another kind is carried by the assignments.
    pub(super) async fn owner_of(&self, work: &str) -> Result<NodeId, ClusterError> {
        let policy = self.routing.policy();
        let pick = self.pick(work);
        match policy {
            Policy::Hash => Ok(pick),
            Policy::Random | Policy::RoundRobin => {
                let nodes = self.nodes();
                let live: Vec<Holder> = nodes
                    .iter()
                    .map(|info| (info.node.clone(), info.epoch))
                    .collect();
                let picked = live.iter().find(|(node, _)| *node == pick);
                let picked = picked
                    .cloned()
                    .unwrap_or((pick, self.shared.identity.epoch()));
                let (owner, _) = self.assignments.assign(work, &picked, &live).await?;
                Ok(owner)
            }
        }
    }

    /// Everybody alive. A node that has not looked yet, or was not there when it looked, knows at least of itself.
    fn nodes(&self) -> Vec<NodeInfo> {
        let view = self.shared.view();
        let me = &self.shared.identity;
        let mut nodes = view.live.clone();
        if !nodes.iter().any(|info| info.node == me.node) {
            nodes.push(NodeInfo {
                node: me.node.clone(),
                epoch: me.epoch(),
                address: me.address.clone(),
                connections: 0,
                synced: false,
                beat: 0,
                leaving: false,
                door: None,
            });
        }
        nodes
    }
}
