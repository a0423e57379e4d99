//! Gives up messages that nobody acknowledged in time, and tells their senders.
//!
//! What waits is remembered in the log and not by the node that took the message: another one does it when that is gone.
//! Each share of it is looked after by the one node that the routing picks. While nodes differ in whom that is, two may
//! look at the same: both then give a message up. It is told until it is forgotten, so that no end of a node and no lost
//! answer of the log keeps it from its sender.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Delivery, receipt};
use crate::cluster::ClusterError;
use crate::hub::unix_millis;
use crate::log::Awaited;

/// How often it is looked whether something is due.
const LOOK: Duration = Duration::from_millis(500);
/// Messages given up in one round of a share.
const ROUND: usize = 128;
/// So many of them at once: together they wait for the log as long as one.
const AT_ONCE: usize = 16;

/// See the module.
pub(super) struct Expiry {
    pub(super) delivery: Delivery,
}

impl Expiry {
    pub(super) async fn run(self, cancel: CancellationToken) {
        // Switched off later, what waits then is given up all the same.
        let mut ever = false;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep(LOOK) => {}
            }
            ever |= self.delivery.0.awaits.load(Relaxed);
            if !ever {
                continue;
            }
            // All at once: together they take as long as one.
            let looks = (0..Awaited::SHARES).map(|share| self.look(share));
            for error in join_all(looks)
                .await
                .iter()
                .filter_map(|look| look.as_ref().err())
            {
                tracing::debug!(%error, "what is due cannot be given up now");
            }
        }
    }

    async fn look(&self, share: u8) -> Result<(), ClusterError> {
        let cluster = &self.delivery.0.cluster;
        let owner = cluster.owner_of(&format!("expire {share}")).await?;
        if owner != *cluster.identity().0 {
            return Ok(());
        }
        let log = &self.delivery.0.log;
        loop {
            let due = log.due(share, (unix_millis(), ROUND)).await?;
            let mut done = Vec::with_capacity(due.len());
            let mut failed = None;
            for some in due.chunks(AT_ONCE) {
                let given_up = join_all(some.iter().map(|awaited| self.give_up(awaited))).await;
                for (awaited, outcome) in some.iter().zip(given_up) {
                    match outcome {
                        Ok(()) => done.push(awaited.clone()),
                        Err(error) => failed = Some(error),
                    }
                }
            }
            // Only now: whoever does this work after us finds what we did not get to. Without those that failed: they are
            // tried at the next look, and the others must not be told of again then.
            log.forget(&done).await?;
            match failed {
                Some(error) => return Err(error),
                None if due.len() < ROUND => return Ok(()),
                None => {}
            }
        }
    }

    async fn give_up(&self, awaited: &Awaited) -> Result<(), ClusterError> {
        let at = unix_millis();
        if self.delivery.0.log.expire(awaited, at).await? {
            let Awaited { user, message, .. } = awaited;
            let receipt = receipt::of_recipient("expired", &message.id, user, at);
            self.delivery.tell_user(&message.sender, receipt).await;
        }
        Ok(())
    }
}
