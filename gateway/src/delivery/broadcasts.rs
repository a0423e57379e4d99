//! Follows the log of messages to everyone for all sessions of this node: what did not come from the node that took it is
//! read, as it is with inboxes.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Delivery;
use crate::cluster::{ClusterError, Rounds};
use crate::hub::Outgoing;
use crate::protocol::LogId;

/// Messages read at once.
const PAGE: usize = 100;
/// The pause after a read that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Broadcasts {
    pub(super) delivery: Delivery,
    pub(super) rounds: Rounds,
}

impl Broadcasts {
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let hub = self.delivery.0.hub.clone();
        loop {
            let working = async {
                let outcome = tokio::select! {
                    () = self.rounds.due() => self.look().await,
                    () = hub.broadcasts_missed() => self.catch_up().await,
                };
                if let Err(error) = outcome {
                    tracing::debug!(%error, "the log of broadcasts cannot be read now");
                    sleep(PAUSE).await;
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = working => {}
            }
        }
    }

    async fn look(&self) -> Result<(), ClusterError> {
        let heads = self.delivery.0.log.heads(&[LogId::Broadcast]).await?;
        let hub = &self.delivery.0.hub;
        for head in heads {
            hub.broadcasts_reach(head).await;
        }
        // A read that failed is not begun again by what comes.
        let (at, noted) = hub.broadcasts_at().await;
        if noted > at {
            self.catch_up().await
        } else {
            Ok(())
        }
    }

    async fn catch_up(&self) -> Result<(), ClusterError> {
        let hub = &self.delivery.0.hub;
        loop {
            let (at, noted) = hub.broadcasts_at().await;
            let page = self.delivery.0.log.read(&LogId::Broadcast, at, PAGE);
            let page = page.await?;
            let (end, more) = (page.end, page.more());
            let vanished = page.entries.is_empty() && noted > Some(page.head);
            for entry in page.entries {
                let parcel = entry.into_parcel(LogId::Broadcast, end.epoch);
                hub.broadcast_read(&Outgoing::new(parcel)).await;
            }
            if hub.broadcasts_read(end, vanished).await && !more {
                return Ok(());
            }
        }
    }
}
