//! Follows the log of messages to everyone for all sessions of this node: what did not come from the node that took it is
//! read, as it is with inboxes.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Delivery;
use crate::cluster::{ClusterError, Rounds};
use crate::hub::Outgoing;
use crate::log::Most;
use crate::protocol::LogId;

/// What is read at once, and given to sessions before those have a moment to read it.
const PAGE: Most = Most {
    messages: 50,
    bytes: 4 * PORTION,
};
/// Bytes given before such a moment.
const PORTION: usize = 256 * 1024;
/// That moment.
const BREATH: Duration = Duration::from_millis(100);
/// The pause after a read that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Broadcasts {
    pub(super) delivery: Delivery,
    pub(super) rounds: Rounds,
}

impl Broadcasts {
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        cancel.run_until_cancelled(self.follow()).await;
    }

    async fn follow(&mut self) {
        let hub = self.delivery.0.hub.clone();
        // What a read that failed has not come to is asked for by nothing else: live messages wait for it.
        let mut behind = false;
        loop {
            tokio::select! {
                () = self.rounds.due() => tell(self.look().await),
                () = hub.broadcasts_missed() => behind = true,
                () = sleep(PAUSE), if behind => {}
            }
            if behind {
                let caught_up = self.catch_up().await;
                behind = caught_up.is_err();
                tell(caught_up);
            }
        }
    }

    async fn look(&self) -> Result<(), ClusterError> {
        for head in self.delivery.0.log.heads(&[LogId::Broadcast]).await? {
            self.delivery.0.hub.broadcasts_reach(head).await;
        }
        Ok(())
    }

    async fn catch_up(&self) -> Result<(), ClusterError> {
        let hub = &self.delivery.0.hub;
        loop {
            let (at, noted) = hub.broadcasts_at().await;
            let page = self.delivery.0.log.read(&LogId::Broadcast, at, PAGE);
            let page = page.await?;
            let (end, more) = (page.end, page.more());
            let vanished = page.entries.is_empty() && noted > Some(page.head);
            let mut given = 0;
            for entry in page.entries {
                given += entry.json.len();
                let parcel = entry.into_parcel(LogId::Broadcast, end.epoch);
                hub.broadcast_read(&Outgoing::new(parcel)).await;
                if given > PORTION {
                    given = 0;
                    sleep(BREATH).await;
                }
            }
            if hub.broadcasts_read(end, vanished).await && !more {
                return Ok(());
            }
            sleep(BREATH).await;
        }
    }
}

fn tell(outcome: Result<(), ClusterError>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "the log of broadcasts cannot be read now");
    }
}
