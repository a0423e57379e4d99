//! Which shards of this node hold sessions of a user, and how many. Touched when a session begins or ends and once per
//! direct message, never per delivery.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};

use parking_lot::Mutex;

use crate::protocol::UserId;

/// Stripes: more than the threads that could meet.
const STRIPES: usize = 64;

/// A shard's number.
pub type ShardId = u16;

/// The most shards a node can have: what fits a [`ShardSet`].
pub const MAX_SHARDS: usize = 64;

type Counts = Vec<(ShardId, u32)>;

/// A set of shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSet(u64);

impl ShardSet {
    /// The shards in it, in order.
    pub fn iter(self) -> impl Iterator<Item = ShardId> {
        (0..64).filter(move |shard| self.0 >> shard & 1 == 1)
    }

    /// The shards in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<ShardId> for ShardSet {
    fn from_iter<I: IntoIterator<Item = ShardId>>(shards: I) -> Self {
        Self(
            shards
                .into_iter()
                .fold(0, |set, shard| set | 1 << (shard % 64)),
        )
    }
}

/// Users to shards, striped.
#[derive(Debug, Default)]
pub struct UserIndex {
    hasher: RandomState,
    stripes: Vec<Mutex<HashMap<UserId, Counts>>>,
}

impl UserIndex {
    /// An empty index.
    pub fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
        }
    }

    /// Adds a session, then calls `then` before anyone else can change this user.
    pub fn add(&self, user: &UserId, shard: ShardId, then: impl FnOnce()) {
        self.with(user, |stripe| {
            let counts = stripe
                .entry(user.clone())
                .or_insert_with(|| Vec::with_capacity(1));
            match counts.iter_mut().find(|(id, _)| *id == shard) {
                Some((_, count)) => *count += 1,
                None => counts.push((shard, 1)),
            }
            then();
        });
    }

    /// Removes a session, then calls `then` with whether it was the user's last here, before anyone else can change this
    /// user.
    pub fn remove(&self, user: &UserId, shard: ShardId, then: impl FnOnce(bool)) {
        self.with(user, |stripe| {
            let mut last = false;
            if let Entry::Occupied(mut entry) = stripe.entry(user.clone()) {
                let counts = entry.get_mut();
                if let Some((_, count)) = counts.iter_mut().find(|(id, _)| *id == shard) {
                    *count = count.saturating_sub(1);
                }
                counts.retain(|(_, count)| *count > 0);
                last = counts.is_empty();
                if last {
                    entry.remove();
                }
            }
            then(last);
        });
    }

    /// The shards with sessions of this user, and how many sessions there are.
    pub fn find(&self, user: &UserId) -> (ShardSet, usize) {
        self.with(user, |stripe| {
            let counts = stripe.get(user).map(Vec::as_slice).unwrap_or_default();
            let sessions = counts.iter().map(|(_, count)| *count as usize).sum();
            (counts.iter().map(|(shard, _)| *shard).collect(), sessions)
        })
    }

    /// Users with a session here.
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().len()).sum()
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everyone who is here, in no order.
    pub fn all(&self) -> Vec<UserId> {
        let stripes = self.stripes.iter();
        stripes
            .flat_map(|stripe| stripe.lock().keys().cloned().collect::<Vec<_>>())
            .collect()
    }

    fn with<R>(&self, user: &UserId, f: impl FnOnce(&mut HashMap<UserId, Counts>) -> R) -> R {
        let stripe = usize::try_from(self.hasher.hash_one(user)).unwrap_or_default() % STRIPES;
        #[allow(clippy::indexing_slicing)] // there are STRIPES of them
        f(&mut self.stripes[stripe].lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_session_is_told_from_the_others() {
        let (index, user) = (UserIndex::new(), UserId::new("alice").expect("valid"));
        index.add(&user, 0, || {});
        index.add(&user, 1, || {});
        index.add(&user, 1, || {});
        let (shards, sessions) = index.find(&user);
        assert_eq!(
            (shards.iter().collect::<Vec<_>>(), sessions),
            (vec![0, 1], 3)
        );
        let mut last = Vec::new();
        for shard in [1, 0, 1] {
            index.remove(&user, shard, |is_last| last.push(is_last));
        }
        assert_eq!(last, [false, false, true]);
        assert!(index.is_empty());
    }
}
