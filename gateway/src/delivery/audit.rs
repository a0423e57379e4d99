//! Compares how far sessions have come with where their inboxes and the logs of their groups end, so that nothing waits unseen.
//! Those of tickets are compared where it is known who is in which.
//!
//! What is sent between nodes is at most once: a wedged subscription, a full queue or a lookup a moment too early lose it.
//! The log has it. Looked at regularly, and at once when the link to the cluster is back.

use super::Delivery;
use crate::cluster::ClusterError;
use crate::hub::Command;
use crate::protocol::{LogId, Position, Start, UserId};

/// Logs asked for at once.
const ROUND: usize = 256;

impl Delivery {
    /// Compares inboxes and the logs of groups.
    pub(super) async fn audit_all(&self) -> Result<(), ClusterError> {
        let hub = &self.0.hub;
        let groups = hub.groups().index().all();
        let groups: Vec<LogId> = groups.into_iter().map(|(id, _)| LogId::Group(id)).collect();
        for logs in groups.chunks(ROUND) {
            for (log, head) in logs.iter().zip(self.0.log.heads(logs).await?) {
                if let LogId::Group(group) = log {
                    hub.group_reaches(group, head).await;
                }
            }
        }
        let readers = hub.users().all().into_iter();
        let inboxes = readers.map(|user| (LogId::Inbox(user.clone()), vec![user]));
        let inboxes: Vec<_> = inboxes.collect();
        self.audit(&inboxes, Start::Beginning).await
    }

    /// Has the sessions here of each log's readers read it if they have not come to where it ends now; those that do not
    /// follow it yet from its beginning, or not.
    pub async fn audit(
        &self,
        logs: &[(LogId, Vec<UserId>)],
        start: Start,
    ) -> Result<(), ClusterError> {
        for some in logs.chunks(ROUND) {
            let ids: Vec<LogId> = some.iter().map(|(log, _)| log.clone()).collect();
            for ((log, readers), head) in some.iter().zip(self.0.log.heads(&ids).await?) {
                for user in readers {
                    self.reaches(user, log, (head, start)).await;
                }
            }
        }
        Ok(())
    }

    async fn reaches(&self, user: &UserId, log: &LogId, (head, start): (Position, Start)) {
        for shard in self.0.hub.users().find(user).0.iter() {
            let command = Command::Reaches(user.clone(), log.clone(), head, start);
            self.0.hub.post(shard, command).await;
        }
    }
}
