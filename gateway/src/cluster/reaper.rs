//! `Reaper`: removes from the directory what dead incarnations left behind. The keeper of one survivor tells it whom;
//! the directory itself refuses to touch a holder whose lease lives, so a wrong order harms nothing.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::status::bump;
use super::{Directory, NodeInfo};
use crate::protocol::{Epoch, NodeId};

/// See the module.
pub(super) struct Reaper {
    pub(super) shared: Arc<Shared>,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) dead: mpsc::Receiver<Vec<(NodeId, Epoch)>>,
}

impl Reaper {
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        loop {
            let dead = tokio::select! {
                () = cancel.cancelled() => return,
                dead = self.dead.recv() => dead,
            };
            let Some(dead) = dead else { return };
            for (node, epoch) in dead {
                let reaped = tokio::select! {
                    () = cancel.cancelled() => return,
                    reaped = self.directory.reap(&node, epoch) => reaped,
                };
                match reaped {
                    Ok(()) => {
                        bump(&self.shared.stats.reaped);
                        tracing::info!(%node, %epoch, "removed what a dead node left in the directory");
                    }
                    Err(error) => {
                        tracing::debug!(%node, %epoch, %error, "reaping failed, it will be tried again");
                    }
                }
            }
        }
    }
}

/// Holders without a live lease, if this node is the one to reap them: the live node with the smallest name.
pub(super) fn duty(
    me: &NodeId,
    live: &[NodeInfo],
    holders: Vec<(NodeId, Epoch)>,
) -> Vec<(NodeId, Epoch)> {
    if live.iter().map(|info| &info.node).min() != Some(me) {
        return Vec::new();
    }
    let is_dead = |(node, epoch): &(NodeId, Epoch)| {
        !live
            .iter()
            .any(|info| info.node == *node && info.epoch == *epoch)
    };
    holders.into_iter().filter(is_dead).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(node: &str, epoch: u64) -> NodeInfo {
        NodeInfo {
            node: NodeId::new(node),
            epoch: Epoch(epoch),
            address: String::new(),
            connections: 0,
        }
    }

    fn holder(node: &str, epoch: u64) -> (NodeId, Epoch) {
        (NodeId::new(node), Epoch(epoch))
    }

    #[test]
    fn one_survivor_reaps_and_only_what_has_no_live_lease() {
        let live = [info("a", 3), info("b", 1)];
        let holders = vec![
            holder("a", 2),
            holder("a", 3),
            holder("b", 1),
            holder("c", 9),
        ];
        let dead = duty(&NodeId::new("a"), &live, holders.clone());
        assert_eq!(dead, [holder("a", 2), holder("c", 9)]);
        assert!(duty(&NodeId::new("b"), &live, holders).is_empty());
    }
}
