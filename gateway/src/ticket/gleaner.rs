//! `Gleaner`: tells of steps that were committed long enough ago and that nobody has told of: their node is gone, or could not
//! store them. On the one node that `messageRouting` picks for it, oldest first.
//!
//! While nodes differ in which one that is, two may tell the same: it has the same ids.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::store::{Untold, Version};
use super::teller::{Pace, Teller};
use super::timekeeper::WORK;
use crate::cluster::{Cluster, ClusterError};
use crate::protocol::TicketId;

/// How old a commit is that others than the node that made it tell of.
pub(super) const LATE: Duration = Duration::from_secs(5);

/// The pause between two looks; the longest, as long as something cannot be told.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Commits read at once.
const PAGE: usize = 128;

/// See the module.
pub(super) struct Gleaner {
    pub(super) teller: Teller,
    pub(super) cluster: Cluster,
}

/// What is left after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    /// What could not be told.
    Something,
}

impl Gleaner {
    pub(super) async fn run(self, cancel: CancellationToken) {
        let mut pause = PAUSE.0;
        // Switched off later, what was committed before is told all the same.
        let mut ever = false;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep(pause) => {}
            }
            ever |= self.teller.tickets.policy().enabled;
            if !ever {
                continue;
            }
            pause = match self.look(&cancel).await {
                Ok(Left::Nothing) => PAUSE.0,
                Ok(Left::Something) => (pause * 2).min(PAUSE.1),
                Err(error) => {
                    tracing::debug!(%error, "what is not told of tickets cannot be read now");
                    PAUSE.0
                }
            };
        }
    }

    async fn look(&self, cancel: &CancellationToken) -> Result<Left, ClusterError> {
        if self.cluster.owner_of(WORK).await? != *self.cluster.identity().0 {
            return Ok(Left::Nothing);
        }
        let store = self.teller.tickets.bell().store();
        // What comes after something that cannot be told waits for it, so that each ticket's steps stay in order.
        let mut stuck = HashSet::<TicketId>::new();
        let mut after = Version(0);
        loop {
            let page = store.untold(LATE, (after, PAGE)).await?;
            for Untold { version, events } in &page {
                if cancel.is_cancelled() {
                    return Ok(Left::Something);
                }
                let waits = |ticket: &TicketId| stuck.contains(ticket);
                let commit = (*version, events.as_slice());
                let untold = self.teller.tell(commit, Pace::Late, waits).await;
                stuck.extend(untold);
                after = *version;
            }
            if page.len() < PAGE {
                return Ok(if stuck.is_empty() {
                    Left::Nothing
                } else {
                    Left::Something
                });
            }
        }
    }
}
