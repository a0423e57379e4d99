//! `Reaper`: tells this node which sessions ended with a dead incarnation, then removes what that left in the directory.
//! The keeper of the one survivor that the routing picks for it tells it whom; the directory itself refuses to touch a
//! holder whose lease lives, so a wrong order harms nothing. A reaper that dies half way is followed by another, which
//! tells everything anew: each session is told at least once.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::status::bump;
use super::{ClusterError, Directory, Holder, LocalNode, NodeInfo};
use crate::protocol::{Epoch, NodeId};

/// See the module.
pub(super) struct Reaper {
    pub(super) shared: Arc<Shared>,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) local: Arc<dyn LocalNode>,
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
                    reaped = self.reap(&node, epoch) => reaped,
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

impl Reaper {
    async fn reap(&self, node: &NodeId, epoch: Epoch) -> Result<(), ClusterError> {
        let mut after = None;
        loop {
            let (sessions, next) = self.directory.left_by(node, epoch, after.as_ref()).await?;
            if !sessions.is_empty() {
                self.local.lost(&sessions).await;
            }
            match next {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        self.directory.reap(node, epoch).await
    }
}

/// The work of reaping a holder, by name.
pub(super) fn work((node, epoch): &Holder) -> String {
    format!("reap {epoch}@{node}")
}

/// Holders without a live lease.
pub(super) fn dead(live: &[NodeInfo], holders: Vec<Holder>) -> Vec<Holder> {
    let is_dead = |(node, epoch): &Holder| {
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
            synced: true,
            beat: 1,
            leaving: false,
            door: None,
        }
    }

    fn holder(node: &str, epoch: u64) -> (NodeId, Epoch) {
        (NodeId::new(node), Epoch(epoch))
    }

    #[test]
    fn only_who_has_no_live_lease_is_dead() {
        let live = [info("a", 3), info("b", 1)];
        let holders = vec![
            holder("a", 2),
            holder("a", 3),
            holder("b", 1),
            holder("c", 9),
        ];
        assert_eq!(dead(&live, holders), [holder("a", 2), holder("c", 9)]);
    }
}
