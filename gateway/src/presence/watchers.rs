//! `Watchers`: which sessions of this node watch whom, and up to where they have been told. Nothing here waits.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use super::Watcher;
use crate::cluster::Place;
use crate::protocol::UserId;

/// See the module.
#[derive(Default)]
pub(super) struct Watchers {
    state: Mutex<State>,
    /// So that the end of a session that watches nobody, as most do, costs no lock.
    count: AtomicUsize,
}

#[derive(Default)]
struct State {
    of_user: HashMap<UserId, HashSet<Watcher>>,
    of_watcher: HashMap<Watcher, HashSet<UserId>>,
    /// Nothing while nobody watches: then nothing is read.
    position: Option<Place>,
}

impl State {
    fn drop_one(&mut self, watcher: Watcher, user: &UserId) {
        if let Some(watchers) = self.of_user.get_mut(user) {
            watchers.remove(&watcher);
            if watchers.is_empty() {
                self.of_user.remove(user);
            }
        }
    }
}

impl Watchers {
    /// The users it did not watch before; nothing, if it would then watch more than `most`.
    pub(super) fn add(
        &self,
        watcher: Watcher,
        users: &[UserId],
        most: usize,
    ) -> Option<Vec<UserId>> {
        let mut state = self.state.lock();
        let known = state.of_watcher.get(&watcher);
        let is_new = |user: &&UserId| known.is_none_or(|known| !known.contains(*user));
        let new: HashSet<UserId> = users.iter().filter(is_new).cloned().collect();
        if known.map_or(0, HashSet::len) + new.len() > most {
            return None;
        }
        for user in &new {
            let watchers = state.of_user.entry(user.clone()).or_default();
            watchers.insert(watcher);
        }
        if !new.is_empty() {
            let watched = state.of_watcher.entry(watcher).or_default();
            watched.extend(new.iter().cloned());
        }
        self.count.store(state.of_watcher.len(), Relaxed);
        Some(new.into_iter().collect())
    }

    pub(super) fn remove(&self, watcher: Watcher, users: &[UserId]) {
        let mut state = self.state.lock();
        for user in users {
            state.drop_one(watcher, user);
        }
        if let Some(watched) = state.of_watcher.get_mut(&watcher) {
            watched.retain(|user| !users.contains(user));
            if watched.is_empty() {
                state.of_watcher.remove(&watcher);
            }
        }
        self.settle(&mut state);
    }

    pub(super) fn forget(&self, watcher: Watcher) {
        if self.count.load(Relaxed) == 0 {
            return;
        }
        let mut state = self.state.lock();
        for user in state.of_watcher.remove(&watcher).unwrap_or_default() {
            state.drop_one(watcher, &user);
        }
        self.settle(&mut state);
    }

    fn settle(&self, state: &mut State) {
        self.count.store(state.of_watcher.len(), Relaxed);
        if state.of_watcher.is_empty() {
            state.position = None;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Relaxed)
    }

    pub(super) fn of(&self, user: &UserId) -> Vec<Watcher> {
        let state = self.state.lock();
        let watchers = state.of_user.get(user);
        watchers.into_iter().flatten().copied().collect()
    }

    pub(super) fn position(&self) -> Option<Place> {
        self.state.lock().position
    }

    /// Begins to read here, unless somebody has begun already or nobody watches any more.
    pub(super) fn begin(&self, at: Place) {
        let mut state = self.state.lock();
        if !state.of_watcher.is_empty() {
            state.position.get_or_insert(at);
        }
    }

    pub(super) fn advance(&self, to: Place) {
        let mut state = self.state.lock();
        if let Some(position) = &mut state.position {
            *position = to.max(*position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::SessionKey;

    const ALICE: Watcher = (
        0,
        SessionKey {
            slot: 1,
            generation: 1,
        },
    );

    fn users(names: &[&str]) -> Vec<UserId> {
        let ids = names.iter().map(|name| UserId::new(name).unwrap());
        ids.collect()
    }

    #[test]
    fn a_session_watches_so_many_users_and_no_more_however_often_it_names_them() {
        let watchers = Watchers::default();
        let two = users(&["bob", "eve"]);
        assert_eq!(watchers.add(ALICE, &two, 2).unwrap().len(), 2);
        assert_eq!(watchers.add(ALICE, &two, 2), Some(Vec::new()));
        assert_eq!(watchers.add(ALICE, &users(&["dan"]), 2), None);
        assert!(watchers.of(&users(&["dan"])[0]).is_empty());
        watchers.remove(ALICE, &two[..1]);
        assert!(watchers.add(ALICE, &users(&["dan"]), 2).is_some());
        assert_eq!(watchers.of(&two[1]), [ALICE]);
    }

    #[test]
    fn nothing_is_kept_of_a_session_that_has_ended() {
        let watchers = Watchers::default();
        watchers.add(ALICE, &users(&["bob"]), 9);
        watchers.begin(Place::default());
        assert!(watchers.position().is_some());
        watchers.forget(ALICE);
        assert_eq!((watchers.len(), watchers.position()), (0, None));
        assert!(watchers.state.lock().of_user.is_empty());
        watchers.begin(Place::default());
        assert_eq!(watchers.position(), None, "nobody watches");
    }
}
