//! `GroupIndex`: the groups with members here: which shards hold their sessions, and how far their logs go. Touched when a
//! session enters or leaves a group and once per message to it, never per delivery.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{ShardId, ShardSet};
use crate::protocol::{GroupId, Position};

/// Stripes: more than the threads that could meet.
const STRIPES: usize = 64;
/// Events that members of one group are told in a second; who joins a group of thousands with thousands of others is not
/// told of each.
const TOLD: u32 = 50;

type Stripe = HashMap<GroupId, Local>;

/// One group that this node gets the messages of.
#[derive(Debug)]
struct Local {
    /// Sessions of members, by shard.
    counts: Vec<(ShardId, u32)>,
    /// The last that is known of its log.
    tail: Position,
    /// The number under which the node asked for its messages.
    interest: u64,
    /// Since when no member has a session here.
    idle: Option<Instant>,
    told: (Instant, u32),
}

/// See the module.
#[derive(Debug)]
pub struct GroupIndex {
    hasher: RandomState,
    stripes: Vec<Mutex<Stripe>>,
}

impl Default for GroupIndex {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
        }
    }
}

impl GroupIndex {
    /// From here on the node gets the group's messages, by the interest of this number; its log went this far.
    pub fn attach(&self, group: &GroupId, interest: u64, tail: Position) {
        self.with(group, |stripe| {
            let local = stripe.entry(group.clone()).or_insert_with(|| Local {
                counts: Vec::with_capacity(1),
                tail,
                interest,
                idle: Some(Instant::now()),
                told: (Instant::now(), 0),
            });
            local.interest = local.interest.max(interest);
            local.tail = local.tail.max(tail);
        });
    }

    /// How far the group's log goes, if the node gets its messages.
    pub fn tail(&self, group: &GroupId) -> Option<Position> {
        self.with(group, |stripe| stripe.get(group).map(|local| local.tail))
    }

    /// Adds a session; how far the log goes. `None`: the node does not get the group's messages, nothing was added.
    pub fn add(&self, group: &GroupId, shard: ShardId) -> Option<Position> {
        self.with(group, |stripe| {
            let local = stripe.get_mut(group)?;
            local.idle = None;
            match local.counts.iter_mut().find(|(id, _)| *id == shard) {
                Some((_, count)) => *count += 1,
                None => local.counts.push((shard, 1)),
            }
            Some(local.tail)
        })
    }

    /// Removes a session.
    pub fn remove(&self, group: &GroupId, shard: ShardId) {
        self.with(group, |stripe| {
            let Some(local) = stripe.get_mut(group) else {
                return;
            };
            if let Some((_, count)) = local.counts.iter_mut().find(|(id, _)| *id == shard) {
                *count = count.saturating_sub(1);
            }
            local.counts.retain(|(_, count)| *count > 0);
            if local.counts.is_empty() {
                local.idle = Some(Instant::now());
            }
        });
    }

    /// The shards with sessions of members, and how many sessions there are. `reached`: how far the log goes by now.
    pub fn find(&self, group: &GroupId, reached: Option<Position>) -> (ShardSet, usize) {
        self.with(group, |stripe| {
            let Some(local) = stripe.get_mut(group) else {
                return Default::default();
            };
            local.tail = local.tail.max(reached.unwrap_or_default());
            let sessions = local.counts.iter().map(|(_, count)| *count as usize).sum();
            let shards = local.counts.iter().map(|(shard, _)| *shard).collect();
            (shards, sessions)
        })
    }

    /// Whether members may be told of one more event in this second.
    pub fn may_tell(&self, group: &GroupId) -> bool {
        self.with(group, |stripe| {
            let Some(local) = stripe.get_mut(group) else {
                return true;
            };
            if local.told.0.elapsed() >= Duration::from_secs(1) {
                local.told = (Instant::now(), 0);
            }
            local.told.1 += 1;
            local.told.1 <= TOLD
        })
    }

    /// Every group that the node gets the messages of, with the number of its interest.
    pub fn all(&self) -> Vec<(GroupId, u64)> {
        let stripes = self.stripes.iter();
        let all = stripes.flat_map(|stripe| {
            let stripe = stripe.lock();
            let all = stripe.iter();
            all.map(|(group, local)| (group.clone(), local.interest))
                .collect::<Vec<_>>()
        });
        all.collect()
    }

    /// Takes out the groups without a session for so long.
    pub fn take_idle(&self, linger: Duration) -> Vec<(GroupId, u64)> {
        let stripes = self.stripes.iter();
        let taken = stripes.flat_map(|stripe| {
            let is_over = |local: &Local| local.idle.is_some_and(|idle| idle.elapsed() >= linger);
            let mut stripe = stripe.lock();
            let taken = stripe.extract_if(|_, local| is_over(local));
            taken
                .map(|(group, local)| (group, local.interest))
                .collect::<Vec<_>>()
        });
        taken.collect()
    }

    /// Groups with members here.
    pub fn len(&self) -> usize {
        let held = |local: &&Local| local.idle.is_none();
        let stripes = self.stripes.iter();
        stripes
            .map(|stripe| stripe.lock().values().filter(held).count())
            .sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn with<R>(&self, group: &GroupId, f: impl FnOnce(&mut Stripe) -> R) -> R {
        let stripe = usize::try_from(self.hasher.hash_one(group)).unwrap_or_default() % STRIPES;
        #[allow(clippy::indexing_slicing)] // there are STRIPES of them
        f(&mut self.stripes[stripe].lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_kept_while_a_member_is_here_and_a_while_longer() {
        let (index, group) = (GroupIndex::default(), GroupId::new("g").unwrap());
        assert_eq!(index.add(&group, 0), None, "its messages do not come here");
        let tail = Position {
            epoch: 7,
            offset: 1,
        };
        index.attach(&group, 5, tail);
        assert_eq!(index.add(&group, 0), Some(tail));
        assert_eq!(index.take_idle(Duration::ZERO), []);
        index.remove(&group, 0);
        assert_eq!(index.take_idle(Duration::from_secs(60)), []);
        assert_eq!(index.take_idle(Duration::ZERO), [(group.clone(), 5)]);
        assert_eq!(index.tail(&group), None);
    }

    #[test]
    fn members_are_told_of_so_many_events_in_a_second() {
        let (index, group) = (GroupIndex::default(), GroupId::new("g").unwrap());
        index.attach(&group, 1, Position::default());
        let told = (0..2 * TOLD).filter(|_| index.may_tell(&group)).count();
        assert_eq!(told, TOLD as usize);
    }
}
