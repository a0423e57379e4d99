//! Groups, as far as this node's shards are concerned: messages to members here, and sessions that enter or leave.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Command, GroupIndex, Hub, Outgoing, Recipients, Roster, ShardSet};
use crate::group::Change;
use crate::protocol::{GroupId, Position, UserId};

/// Changes that other nodes told of and that wait for the steward.
const CHANGES: usize = 4_096;

/// What this node knows of groups.
#[derive(Debug, Default)]
pub struct HubGroups {
    roster: Roster,
    index: GroupIndex,
    changes: Mutex<VecDeque<Change>>,
    /// Some changes found no room: everything has to be read anew.
    missed: AtomicBool,
    wake: Notify,
}

impl HubGroups {
    /// Who is in which.
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Which shards have members of which.
    pub const fn index(&self) -> &GroupIndex {
        &self.index
    }

    /// Hears of a change from another node. Never waits: what follows is the steward's.
    pub fn hear(&self, change: Change) {
        self.roster.hear(&change);
        let mut changes = self.changes.lock();
        if changes.len() < CHANGES {
            changes.push_back(change);
        } else {
            self.missed.store(true, Relaxed);
        }
        drop(changes);
        self.wake.notify_one();
    }

    /// The changes that wait.
    pub fn take_changes(&self) -> Vec<Change> {
        self.changes.lock().drain(..).collect()
    }

    /// Whether changes were missed since the last time.
    pub fn has_missed(&self) -> bool {
        self.missed.swap(false, Relaxed)
    }

    /// Resolves when changes wait.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }
}

impl Hub {
    /// Puts a message into the outbox of every session of the group's members here; how many there are.
    pub async fn deliver_group(&self, group: &GroupId, message: &Outgoing) -> usize {
        let reached = message.mark().map(|mark| mark.position);
        let (shards, sessions) = self.groups().index().find(group, reached);
        self.deliver_to(shards, &Recipients::Group(group.clone()), message)
            .await;
        sessions
    }

    /// The same with the sessions of a user who has just joined: their shards may not have taken them in yet.
    pub async fn deliver_group_and(&self, user: &UserId, group: &GroupId, message: &Outgoing) {
        let (members, _) = self.groups().index().find(group, None);
        let shards = members.union(self.users().find(user).0);
        self.deliver_to(shards, &Recipients::Group(group.clone()), message)
            .await;
    }

    /// Has the user's sessions enter or leave the group, as the roster says by then.
    pub async fn regroup(&self, user: &UserId, group: &GroupId) {
        for shard in self.users().find(user).0.iter() {
            let command = Command::Regroup(user.clone(), group.clone());
            self.post(shard, command).await;
        }
    }

    /// The group's log reaches this far: sessions that are behind read it.
    pub async fn group_reaches(&self, group: &GroupId, head: Position) {
        let (shards, _) = self.groups().index().find(group, Some(head));
        for shard in shards.iter() {
            self.post(shard, Command::GroupReaches(group.clone(), head))
                .await;
        }
    }

    async fn deliver_to(&self, shards: ShardSet, to: &Recipients, message: &Outgoing) {
        for shard in shards.iter() {
            let command = Command::Deliver {
                to: to.clone(),
                message: message.clone(),
            };
            self.post(shard, command).await;
        }
    }
}
