//! `MemoryDirectory`: users' sessions in memory, by the same rules as in Redis: entries belong to a holder (node and
//! epoch), and readers leave out holders without a live lease.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{MemoryStore, State};
use crate::cluster::presence::OFFLINE_DELAY;
use crate::cluster::{ClusterError, Directory, Left, OnlinePage, SessionChange, SessionRecord};
use crate::protocol::{Epoch, NodeId, SessionId, UserId};

/// Who wrote an entry.
type Holder = (NodeId, Epoch);

/// Every entry, by user and by holder.
#[derive(Default)]
pub(super) struct Book {
    users: BTreeMap<UserId, Held>,
    holders: BTreeMap<Holder, HashSet<UserId>>,
}

/// A user's sessions, in the order of holders. Most users have one: trees within trees would take two kilobytes for it.
type Held = Vec<SessionRecord>;

fn is_of(record: &SessionRecord, (node, epoch): &Holder) -> bool {
    record.epoch == *epoch && record.node == *node
}

/// Where a session of a holder is, or belongs.
fn place(held: &Held, (node, epoch): &Holder, session: SessionId) -> Result<usize, usize> {
    let key = (node, *epoch, session);
    held.binary_search_by(|record| (&record.node, record.epoch, record.session).cmp(&key))
}

impl Book {
    /// True if it was the holder's first session of that user.
    fn up(&mut self, holder: &Holder, record: &SessionRecord) -> bool {
        let user = record.user.clone();
        // Room for one and no more, until there is a second.
        let held = self
            .users
            .entry(user.clone())
            .or_insert_with(|| Vec::with_capacity(1));
        let first = !held.iter().any(|record| is_of(record, holder));
        let record = SessionRecord {
            node: holder.0.clone(),
            epoch: holder.1,
            ..record.clone()
        };
        match place(held, holder, record.session) {
            Ok(at) => held.splice(at..=at, [record]).for_each(drop),
            Err(at) => held.insert(at, record),
        }
        self.holders.entry(holder.clone()).or_default().insert(user);
        first
    }

    /// True if it was the holder's last session of that user.
    fn down(&mut self, holder: &Holder, user: &UserId, session: SessionId) -> bool {
        let Some(held) = self.users.get_mut(user) else {
            return false;
        };
        let Ok(at) = place(held, holder, session) else {
            return false;
        };
        held.remove(at);
        let last = !held.iter().any(|record| is_of(record, holder));
        if last {
            self.forget(holder, user);
        }
        last
    }

    fn forget(&mut self, holder: &Holder, user: &UserId) {
        if let Some(held) = self.users.get_mut(user) {
            held.retain(|record| !is_of(record, holder));
            if held.is_empty() {
                self.users.remove(user);
            }
        }
        if let Some(users) = self.holders.get_mut(holder) {
            users.remove(user);
            if users.is_empty() {
                self.holders.remove(holder);
            }
        }
    }

    /// Who had sessions of this holder.
    fn clear(&mut self, holder: &Holder) -> HashSet<UserId> {
        let users = self.holders.remove(holder).unwrap_or_default();
        for user in &users {
            self.forget(holder, user);
        }
        users
    }

    /// Whether anybody has an entry of this user.
    pub(super) fn has(&self, user: &UserId) -> bool {
        self.users.contains_key(user)
    }
}

impl State {
    /// What the roll is told of a user whose entries of one holder came or went.
    fn note(&mut self, user: &UserId, delay: Duration) {
        if self.book.has(user) {
            self.roll.arrive(user);
        } else {
            self.roll.depart(user, delay);
        }
    }

    fn apply(
        &mut self,
        holder: &Holder,
        changes: &[SessionChange],
        delay: Duration,
    ) -> Vec<UserId> {
        let mut moved = Vec::new();
        for change in changes {
            let (user, turned) = match change {
                SessionChange::Up(record) => (&record.user, self.book.up(holder, record)),
                SessionChange::Down { session, user } => {
                    (user, self.book.down(holder, user, *session))
                }
            };
            if turned {
                self.note(user, delay);
                moved.push(user.clone());
            }
        }
        moved
    }

    fn live_holders(&self) -> HashMap<(&NodeId, Epoch), bool> {
        self.book
            .holders
            .keys()
            .map(|(node, epoch)| ((node, *epoch), self.is_live(node, *epoch)))
            .collect()
    }

    fn online(&self, after: Option<&str>, limit: usize) -> OnlinePage {
        let live = self.live_holders();
        let is_online = |held: &Held| {
            held.iter().any(|record| {
                live.get(&(&record.node, record.epoch))
                    .copied()
                    .unwrap_or(false)
            })
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut users: Vec<UserId> = self
            .book
            .users
            .range::<str, _>((from, Bound::Unbounded))
            .filter(|(_, held)| is_online(held))
            .map(|(user, _)| user.clone())
            .take(limit.saturating_add(1))
            .collect();
        let more = users.len() > limit;
        users.truncate(limit);
        let total = if live.values().all(|live| *live) {
            self.book.users.len()
        } else {
            self.book
                .users
                .values()
                .filter(|held| is_online(held))
                .count()
        };
        OnlinePage {
            users,
            more,
            total: total as u64,
        }
    }

    fn nodes_of(&self, user: &UserId) -> Vec<NodeId> {
        let held = self.book.users.get(user).into_iter().flatten();
        let mut holders: Vec<_> = held.map(|record| (&record.node, record.epoch)).collect();
        holders.dedup();
        holders
            .into_iter()
            .filter(|(node, epoch)| self.is_live(node, *epoch))
            .map(|(node, _)| node.clone())
            .collect()
    }

    fn sessions_of(&self, user: &UserId) -> Vec<SessionRecord> {
        let held = self.book.users.get(user);
        let mut sessions: Vec<SessionRecord> = held
            .into_iter()
            .flatten()
            .filter(|record| self.is_live(&record.node, record.epoch))
            .cloned()
            .collect();
        sessions.sort_by_key(|record| (record.connected_at, record.session));
        sessions
    }
}

/// Users' sessions in memory.
#[derive(Debug)]
pub struct MemoryDirectory {
    store: Arc<MemoryStore>,
    delay: Duration,
}

impl MemoryDirectory {
    /// Over this store.
    pub fn new(store: Arc<MemoryStore>) -> Self {
        Self {
            store,
            delay: OFFLINE_DELAY,
        }
    }

    /// Who is nowhere for so long is offline.
    #[must_use]
    pub fn offline_after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

impl Directory for MemoryDirectory {
    fn apply<'a>(
        &'a self,
        node: &'a NodeId,
        epoch: Epoch,
        changes: &'a [SessionChange],
    ) -> BoxFuture<'a, Result<Vec<UserId>, ClusterError>> {
        Box::pin(async move {
            let holder = (node.clone(), epoch);
            Ok(self.store.0.lock().apply(&holder, changes, self.delay))
        })
    }

    fn replace<'a>(
        &'a self,
        node: &'a NodeId,
        epoch: Epoch,
        sessions: Vec<SessionRecord>,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            let holder = (node.clone(), epoch);
            let mut state = self.store.0.lock();
            let mut users = state.book.clear(&holder);
            for record in &sessions {
                state.book.up(&holder, record);
                users.insert(record.user.clone());
            }
            for user in &users {
                state.note(user, self.delay);
            }
            Ok(())
        })
    }

    fn nodes_of<'a>(
        &'a self,
        users: &'a [UserId],
    ) -> BoxFuture<'a, Result<Vec<Vec<NodeId>>, ClusterError>> {
        Box::pin(async move {
            let state = self.store.0.lock();
            Ok(users.iter().map(|user| state.nodes_of(user)).collect())
        })
    }

    fn sessions_of<'a>(
        &'a self,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Vec<SessionRecord>, ClusterError>> {
        Box::pin(async move { Ok(self.store.0.lock().sessions_of(user)) })
    }

    fn online<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<OnlinePage, ClusterError>> {
        Box::pin(async move { Ok(self.store.0.lock().online(after, limit)) })
    }

    fn holders(&self) -> BoxFuture<'_, Result<Vec<(NodeId, Epoch)>, ClusterError>> {
        Box::pin(async move { Ok(self.store.0.lock().book.holders.keys().cloned().collect()) })
    }

    fn left_by<'a>(
        &'a self,
        node: &'a NodeId,
        epoch: Epoch,
        _: Option<&'a UserId>,
    ) -> BoxFuture<'a, Result<Left, ClusterError>> {
        Box::pin(async move {
            let holder = (node.clone(), epoch);
            let state = self.store.0.lock();
            let held = state.book.users.values().flatten();
            let left = held.filter(|record| is_of(record, &holder)).cloned();
            Ok((left.collect(), None))
        })
    }

    fn reap<'a>(
        &'a self,
        node: &'a NodeId,
        epoch: Epoch,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            let mut state = self.store.0.lock();
            if !state.is_live(node, epoch) {
                for user in state.book.clear(&(node.clone(), epoch)) {
                    state.note(&user, self.delay);
                }
            }
            Ok(())
        })
    }
}
