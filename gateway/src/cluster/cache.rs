//! `NodeCache`: which nodes hold a user's sessions, as the directory last said. Asked by the courier, told by events.
//!
//! Two generations of a bounded size each: when the young one is full it becomes the old one and what was old is
//! forgotten, so that users in use stay. An event that arrives while a lookup is in flight must win over its answer:
//! the cache remembers who moved since the lookup began and does not store those.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

use crate::protocol::{NodeId, UserId};

/// Users per generation; about 6 MiB in all when full.
const GENERATION: usize = 32_768;

/// Moves remembered during one lookup; past that its whole answer is not stored.
const MOVED: usize = 8_192;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct NodeCache(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    young: HashMap<UserId, Vec<NodeId>>,
    old: HashMap<UserId, Vec<NodeId>>,
    lookup: Lookup,
}

#[derive(Debug, Default)]
enum Lookup {
    #[default]
    Idle,
    /// These moved since it began.
    Running(HashSet<UserId>),
    /// Too much changed: its answer is good for the batch that asked and no longer.
    Void,
}

impl NodeCache {
    pub(super) fn get(&self, user: &UserId) -> Option<Vec<NodeId>> {
        let mut state = self.0.lock();
        if let Some(nodes) = state.young.get(user) {
            return Some(nodes.clone());
        }
        let nodes = state.old.remove(user)?;
        state.insert(user.clone(), nodes.clone());
        Some(nodes)
    }

    /// A lookup begins. There is one at a time: the courier's.
    pub(super) fn begin(&self) {
        self.0.lock().lookup = Lookup::Running(HashSet::new());
    }

    /// The lookup ended; stores what was not overtaken by an event.
    pub(super) fn finish(&self, found: impl IntoIterator<Item = (UserId, Vec<NodeId>)>) {
        let mut state = self.0.lock();
        let Lookup::Running(moved) = std::mem::take(&mut state.lookup) else {
            return;
        };
        for (user, nodes) in found {
            if !moved.contains(&user) {
                state.insert(user, nodes);
            }
        }
    }

    /// These users' sessions changed nodes.
    pub(super) fn moved(&self, users: impl IntoIterator<Item = UserId>) {
        let mut state = self.0.lock();
        for user in users {
            state.young.remove(&user);
            state.old.remove(&user);
            if let Lookup::Running(moved) = &mut state.lookup {
                if moved.len() < MOVED {
                    moved.insert(user);
                } else {
                    state.lookup = Lookup::Void;
                }
            }
        }
    }

    /// Anything may have changed.
    pub(super) fn clear(&self) {
        let mut state = self.0.lock();
        state.young.clear();
        state.old.clear();
        if matches!(state.lookup, Lookup::Running(_)) {
            state.lookup = Lookup::Void;
        }
    }
}

impl State {
    fn insert(&mut self, user: UserId, nodes: Vec<NodeId>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(user, nodes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn on(node: &str) -> Vec<NodeId> {
        vec![NodeId::new(node)]
    }

    #[test]
    fn a_move_during_a_lookup_wins_over_its_answer() {
        let cache = NodeCache::default();
        cache.begin();
        cache.moved([user("bob")]);
        cache.finish([(user("bob"), on("a")), (user("eve"), on("b"))]);
        assert_eq!(cache.get(&user("bob")), None);
        assert_eq!(cache.get(&user("eve")), Some(on("b")));
    }

    #[test]
    fn a_clear_during_a_lookup_voids_its_whole_answer() {
        let cache = NodeCache::default();
        cache.begin();
        cache.clear();
        cache.finish([(user("bob"), on("a"))]);
        assert_eq!(cache.get(&user("bob")), None);
    }

    #[test]
    fn too_many_moves_during_a_lookup_void_its_whole_answer() {
        let cache = NodeCache::default();
        cache.begin();
        cache.moved((0..=MOVED).map(|n| user(&n.to_string())));
        cache.finish([(user("bob"), on("a"))]);
        assert_eq!(cache.get(&user("bob")), None);
    }

    #[test]
    fn it_stays_within_its_bound_and_keeps_who_is_in_use() {
        let cache = NodeCache::default();
        cache.begin();
        cache.finish([(user("bob"), on("a"))]);
        for n in 0..5 * GENERATION {
            cache.begin();
            cache.finish([(user(&format!("u{n}")), on("a"))]);
            assert_eq!(cache.get(&user("bob")), Some(on("a")));
        }
        let state = cache.0.lock();
        assert!(state.young.len() + state.old.len() <= 2 * GENERATION);
    }
}
