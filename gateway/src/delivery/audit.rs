//! Compares how far sessions have come with where their inboxes and the logs of their groups end, so that nothing waits unseen.
//!
//! What is sent between nodes is at most once: a wedged subscription, a full queue or a lookup a moment too early lose it.
//! The log has it. Looked at regularly, and at once when the link to the cluster is back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, Link};
use crate::hub::{Command, Hub};
use crate::log::Log;
use crate::protocol::{LogId, UserId};

/// How often it is looked whether the link has come back.
const GLANCE: Duration = Duration::from_millis(500);
/// Inboxes asked for at once.
const ROUND: usize = 256;

/// See the module.
pub(super) struct Audit {
    pub(super) hub: Arc<Hub>,
    pub(super) cluster: Cluster,
    pub(super) log: Arc<dyn Log>,
    pub(super) pause: Duration,
}

impl Audit {
    pub(super) async fn run(self, cancel: CancellationToken) {
        let mut was_up = false;
        let mut next = Instant::now() + self.pause;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep(GLANCE) => {}
            }
            let up = !matches!(self.cluster.status().link, Link::Down { .. });
            let is_back = up && !was_up;
            was_up = up;
            if up && (is_back || Instant::now() >= next) {
                self.look().await;
                next = Instant::now() + self.pause;
            }
        }
    }

    async fn look(&self) {
        self.look_at_groups().await;
        for users in self.hub.users().all().chunks(ROUND) {
            let logs: Vec<LogId> = users.iter().cloned().map(LogId::Inbox).collect();
            match self.log.heads(&logs).await {
                Ok(heads) => {
                    for (user, head) in users.iter().zip(heads) {
                        self.tell(user, head).await;
                    }
                }
                Err(error) => {
                    return tracing::debug!(%error, "the ends of inboxes cannot be read now");
                }
            }
        }
    }

    async fn look_at_groups(&self) {
        let groups = self.hub.groups().index().all();
        let groups: Vec<LogId> = groups.into_iter().map(|(id, _)| LogId::Group(id)).collect();
        for logs in groups.chunks(ROUND) {
            match self.log.heads(logs).await {
                Ok(heads) => {
                    for (log, head) in logs.iter().zip(heads) {
                        if let LogId::Group(group) = log {
                            self.hub.group_reaches(group, head).await;
                        }
                    }
                }
                Err(error) => {
                    return tracing::debug!(%error, "the ends of groups' logs cannot be read now");
                }
            }
        }
    }

    async fn tell(&self, user: &UserId, head: crate::protocol::Position) {
        for shard in self.hub.users().find(user).0.iter() {
            let command = Command::Reaches(user.clone(), head);
            self.hub.post(shard, command).await;
        }
    }
}
