//! The steward: carries out what this node hears of groups from others, and keeps its copy of who is in which right: read
//! anew when it is too old (`wsc.group.cacheExpire`), when the link to the cluster was down, and when something was missed.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Groups;
use crate::cluster::Link;
use crate::protocol::GroupId;

/// How often it is looked what is due.
const TICK: Duration = Duration::from_millis(500);
/// Users whose groups are read in one look, and how many at once.
const READS: usize = 512;
const AT_ONCE: usize = 32;
/// How long a node remembers the groups of users who have gone, and gets the messages of groups without a member here: who
/// reconnects finds everything ready, and a flapping client costs nothing.
const LINGER: Duration = Duration::from_secs(30);
/// How often a node says again which groups' messages it wants, in case Redis has forgotten.
const REMIND: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct Steward {
    groups: Groups,
    /// How often the link had been made at the last look with one; `None`: there was no look yet.
    links: Option<u64>,
    reminded: Instant,
}

impl Steward {
    pub(super) fn new(groups: Groups) -> Self {
        Self {
            groups,
            links: None,
            reminded: Instant::now(),
        }
    }

    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.groups.hub().groups().changed() => {}
                () = sleep(TICK) => {}
            }
            let working = async {
                for change in self.groups.hub().groups().take_changes() {
                    self.groups.settle(&change).await;
                }
                if Instant::now() >= next {
                    next = Instant::now() + TICK;
                    self.look().await;
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = working => {}
            }
        }
    }

    async fn look(&mut self) {
        let hub = self.groups.hub();
        let status = self.groups.cluster().status();
        let is_up = !matches!(status.link, Link::Down { .. });
        // What was read before the first look was read over this link.
        let is_back = is_up && self.links.is_some_and(|links| links != status.links);
        if is_up || self.links.is_none() {
            self.links = Some(status.links);
        }
        if is_back || hub.groups().has_missed() {
            hub.groups().roster().doubt();
        }
        let roster = hub.groups().roster();
        roster.sweep(LINGER, |user| hub.users().find(user).1 > 0);
        if !is_up {
            return;
        }
        if is_back || self.reminded.elapsed() >= REMIND {
            self.reminded = Instant::now();
            self.remind().await;
        }
        for (user, group) in roster.take_wanted() {
            self.groups.follow(&user, &group).await;
        }
        let due = roster.due(self.groups.settings().cache, READS);
        stream::iter(due)
            .for_each_concurrent(AT_ONCE, async |user| self.groups.read(&user).await)
            .await;
        self.let_go().await;
    }

    async fn remind(&self) {
        let groups = self.groups.hub().groups().index().all();
        stream::iter(groups)
            .for_each_concurrent(AT_ONCE, async |(group, _)| {
                if let Err(error) = self.groups.hold(&group).await {
                    tracing::debug!(%group, %error, "a group's messages are asked for later");
                }
            })
            .await;
    }

    async fn let_go(&self) {
        let idle: Vec<(GroupId, u64)> = self.groups.hub().groups().index().take_idle(LINGER);
        for (group, number) in idle {
            let released = self.groups.cluster().release_group(&group, number).await;
            if let Err(error) = released {
                // Whoever sends to the group finds nobody here until the entry runs out.
                tracing::debug!(%group, %error, "a group's messages still come");
            }
        }
    }
}
