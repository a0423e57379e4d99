//! `Cache`: the objects of one watch, by namespace, group and name.
//!
//! Applies watch events and says what changed. A list that comes after a broken watch is compared with what was known, so
//! that a deletion nobody told of still shows; the first list changes nothing, because every gateway is looked at anyway.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::watcher::Event;
use parking_lot::RwLock;
use tokio::sync::watch;

use super::forbidden::Forbidden;

/// Where an object is kept: namespace, group (the gateway it is labelled with, or nothing) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// The gateway it belongs to, or nothing.
    pub group: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The key of an object in a group.
    pub fn of<K: ResourceExt>(object: &K, group: Option<&str>) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            group: group.unwrap_or_default().to_owned(),
            name: object.name_any(),
        }
    }
}

/// What an event changed: keys of objects that came, changed or went.
pub type Change = Vec<Key>;

/// By name, with the version.
type Members<T> = BTreeMap<String, (String, Arc<T>)>;

/// Members by namespace and group, and the group of each member, which may change in an object's life.
struct Index<T> {
    members: HashMap<(String, String), Members<T>>,
    groups: HashMap<(String, String), String>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self {
            members: HashMap::new(),
            groups: HashMap::new(),
        }
    }
}

struct State<T> {
    current: Index<T>,
    /// A list that is still coming in.
    incoming: Option<Index<T>>,
    /// How often objects went, or may have: a list without them came.
    losses: u64,
}

/// What was known when a write of an object began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    version: Option<String>,
    losses: u64,
}

/// How much is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Nothing yet.
    Nothing,
    /// The cluster has no such kind.
    Absent,
    /// The API server does not let the operator see them.
    Refused,
    /// The first list is in.
    Listed,
}

/// How well the objects of a watch can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// As well as the watch tells.
    Clear,
    /// They were seen, and the API server does not let the operator see what has changed since.
    Stale,
    /// It has never let the operator see them.
    Blind,
}

/// The objects of one watch.
pub struct Cache<T> {
    state: RwLock<State<T>>,
    known: watch::Sender<Known>,
    forbidden: Forbidden,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self {
            state: RwLock::new(State {
                current: Index::default(),
                incoming: None,
                losses: 0,
            }),
            known: watch::Sender::new(Known::Nothing),
            forbidden: Forbidden::default(),
        }
    }
}

impl<T> Cache<T> {
    /// Applies an event. `keep` says where an object belongs and what of it is kept.
    pub fn apply<K: ResourceExt>(
        &self,
        event: Event<K>,
        keep: impl FnOnce(K) -> (Key, T),
    ) -> Change {
        let mut state = self.state.write();
        match event {
            Event::Init => {
                state.incoming = Some(Index::default());
                Vec::new()
            }
            Event::InitApply(object) => {
                let version = object.resource_version().unwrap_or_default();
                let (key, kept) = keep(object);
                state
                    .incoming
                    .get_or_insert_default()
                    .insert(&key, version, kept);
                Vec::new()
            }
            Event::InitDone => {
                let incoming = state.incoming.take().unwrap_or_default();
                let before = mem::replace(&mut state.current, incoming);
                state.losses += 1;
                match self.known.send_replace(Known::Listed) {
                    Known::Listed => difference(&before, &state.current),
                    Known::Nothing | Known::Absent | Known::Refused => Vec::new(),
                }
            }
            Event::Apply(object) => {
                let version = object.resource_version().unwrap_or_default();
                let (key, kept) = keep(object);
                let moved = state.current.insert(&key, version, kept);
                moved.into_iter().chain([key]).collect()
            }
            Event::Delete(object) => {
                let (key, _) = keep(object);
                let moved = state.current.remove(&key);
                state.losses += 1;
                moved.into_iter().chain([key]).collect()
            }
        }
    }

    /// What is known when a write begins, of an object that has this version; none: that there is not.
    pub fn before(&self, version: Option<String>) -> Before {
        let losses = self.state.read().losses;
        Before { version, losses }
    }

    /// Takes what the API server answered to a write, in the place of what was `before` it. If the watch has told of
    /// something else meanwhile, that is newer: an answer that comes late must not bring back what was deleted. Of one that
    /// was made and has gone there is no trace: while anything went, no answer to a creation is taken, and a look at the
    /// object finds it.
    pub fn written<K: ResourceExt>(
        &self,
        before: &Before,
        object: K,
        keep: impl FnOnce(K) -> (Key, T),
    ) {
        let version = object.resource_version().unwrap_or_default();
        let (key, kept) = keep(object);
        let mut state = self.state.write();
        let known = state.current.version(&key);
        let may_have_gone = before.version.is_none() && state.losses != before.losses;
        if known == before.version.as_deref() && !may_have_gone {
            state.current.insert(&key, version, kept);
        }
    }

    /// Takes note that an object was deleted which had this version. What the watch has told of meanwhile is newer and stands.
    pub fn deleted(&self, key: &Key, version: Option<&str>) {
        let mut state = self.state.write();
        if state.current.version(key) == version {
            state.current.remove(key);
            state.losses += 1;
        }
    }

    /// Takes note that the cluster has no such kind; says whether that is news.
    pub fn absent(&self) -> bool {
        let mut state = self.state.write();
        state.current = Index::default();
        state.incoming = None;
        state.losses += 1;
        self.known.send_replace(Known::Absent) != Known::Absent
    }

    /// Takes note that they may not be seen; says whether that is news. What was seen before stands: rights may be on their
    /// way from one role to another.
    pub fn refused(&self) -> bool {
        self.known.send_if_modified(|known| {
            let first = *known == Known::Nothing;
            if first {
                *known = Known::Refused;
            }
            first
        });
        self.forbidden.note()
    }

    /// Takes note that the watch goes on. Not for what was written here: that says nothing of what may be seen.
    pub fn watched(&self) {
        self.forbidden.clear();
    }

    /// How well they can be seen.
    pub fn sight(&self) -> Sight {
        if *self.known.borrow() == Known::Refused {
            Sight::Blind
        } else if self.forbidden.stands() {
            Sight::Stale
        } else {
            Sight::Clear
        }
    }

    /// Whether the cluster has no such kind.
    pub fn is_absent(&self) -> bool {
        *self.known.borrow() == Known::Absent
    }

    /// One object.
    pub fn get(&self, namespace: &str, group: &str, name: &str) -> Option<Arc<T>> {
        let state = self.state.read();
        let members = state
            .current
            .members
            .get(&(namespace.to_owned(), group.to_owned()))?;
        members.get(name).map(|(_, kept)| Arc::clone(kept))
    }

    /// The objects of one group, by name.
    pub fn group(&self, namespace: &str, group: &str) -> Vec<Arc<T>> {
        let state = self.state.read();
        let members = state
            .current
            .members
            .get(&(namespace.to_owned(), group.to_owned()));
        members
            .into_iter()
            .flat_map(BTreeMap::values)
            .map(|(_, kept)| Arc::clone(kept))
            .collect()
    }

    /// Every group there is, as namespace and name.
    pub fn groups(&self) -> Vec<(String, String)> {
        self.state.read().current.members.keys().cloned().collect()
    }

    /// Whether the first list is in, or there is none to come.
    pub fn is_ready(&self) -> bool {
        *self.known.borrow() != Known::Nothing
    }

    /// Waits for the first list.
    pub async fn ready(&self) {
        let mut known = self.known.subscribe();
        // The sender lives as long as `self`, so that this cannot fail.
        let _ = known.wait_for(|known| *known != Known::Nothing).await;
    }
}

impl<T> Index<T> {
    /// The version in which an object is known.
    fn version(&self, key: &Key) -> Option<&str> {
        let place = (key.namespace.clone(), key.group.clone());
        let (version, _) = self.members.get(&place)?.get(&key.name)?;
        Some(version)
    }

    /// Keeps an object; gives the key under which it was, if that was another.
    fn insert(&mut self, key: &Key, version: String, kept: T) -> Option<Key> {
        let moved = self.remove(key);
        self.groups
            .insert((key.namespace.clone(), key.name.clone()), key.group.clone());
        self.members
            .entry((key.namespace.clone(), key.group.clone()))
            .or_default()
            .insert(key.name.clone(), (version, Arc::new(kept)));
        moved
    }

    /// Drops an object, under whatever group it was; gives that key if it was another.
    fn remove(&mut self, key: &Key) -> Option<Key> {
        let name = (key.namespace.clone(), key.name.clone());
        let group = self.groups.remove(&name)?;
        let place = (key.namespace.clone(), group);
        if let Some(members) = self.members.get_mut(&place) {
            members.remove(&key.name);
            if members.is_empty() {
                self.members.remove(&place);
            }
        }
        (place.1 != key.group).then(|| Key {
            group: place.1,
            ..key.clone()
        })
    }
}

/// What one list has that the other has not, or in another version.
fn difference<T>(before: &Index<T>, after: &Index<T>) -> Change {
    let mut changed = Vec::new();
    for (one, other) in [(before, after), (after, before)] {
        for ((namespace, group), members) in &one.members {
            let others = other.members.get(&(namespace.clone(), group.clone()));
            for (name, (version, _)) in members {
                let same = others
                    .and_then(|others| others.get(name))
                    .is_some_and(|(other, _)| other == version);
                if !same {
                    changed.push(Key {
                        namespace: namespace.clone(),
                        group: group.clone(),
                        name: name.clone(),
                    });
                }
            }
        }
    }
    changed.sort();
    changed.dedup();
    changed
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::ObjectMeta;

    use super::*;

    fn map(name: &str, version: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("default".to_owned()),
                resource_version: Some(version.to_owned()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    fn feed(cache: &Cache<()>, event: Event<ConfigMap>) -> Vec<String> {
        let change = cache.apply(event, |object| (Key::of(&object, Some("chat")), ()));
        change.into_iter().map(|key| key.name).collect()
    }

    #[test]
    fn the_first_list_makes_it_ready_and_tells_of_no_change() {
        let cache = Cache::default();
        feed(&cache, Event::Init);
        feed(&cache, Event::InitApply(map("a", "1")));
        assert!(!cache.is_ready());
        assert!(feed(&cache, Event::InitDone).is_empty());
        assert!(cache.is_ready());
        assert!(cache.get("default", "chat", "a").is_some());
    }

    #[test]
    fn a_right_that_is_lost_later_takes_nothing_away_and_one_that_comes_begins_anew() {
        let cache = Cache::default();
        assert!(cache.refused() && cache.is_ready() && cache.sight() == Sight::Blind);
        feed(&cache, Event::Init);
        feed(&cache, Event::InitApply(map("a", "1")));
        feed(&cache, Event::InitDone);
        cache.watched();
        assert_eq!(cache.sight(), Sight::Clear);
        assert!(cache.refused() && !cache.refused());
        assert_eq!(cache.sight(), Sight::Stale);
        // A write of the operator's own.
        feed(&cache, Event::Apply(map("b", "2")));
        assert_eq!(cache.sight(), Sight::Stale);
        assert!(cache.get("default", "chat", "a").is_some());
    }

    #[test]
    fn a_later_list_tells_what_came_changed_and_went_while_nobody_watched() {
        let cache = Cache::default();
        feed(&cache, Event::Init);
        for name in ["same", "changed", "gone"] {
            feed(&cache, Event::InitApply(map(name, "1")));
        }
        feed(&cache, Event::InitDone);
        feed(&cache, Event::Init);
        for (name, version) in [("same", "1"), ("changed", "2"), ("new", "3")] {
            feed(&cache, Event::InitApply(map(name, version)));
        }
        assert_eq!(feed(&cache, Event::InitDone), ["changed", "gone", "new"]);
        assert!(cache.get("default", "chat", "gone").is_none());
    }

    #[test]
    fn an_answer_that_comes_after_the_watch_has_told_more_is_not_kept() {
        let cache = Cache::default();
        let keep = |object: ConfigMap| (Key::of(&object, Some("chat")), ());
        let none = cache.before(None);
        cache.written(&none, map("a", "1"), keep);
        assert!(cache.get("default", "chat", "a").is_some());
        cache.written(&cache.before(Some("1".to_owned())), map("a", "2"), keep);
        let second = cache.before(Some("2".to_owned()));
        // Written, and deleted by somebody before the answer was here.
        feed(&cache, Event::Apply(map("a", "3")));
        feed(&cache, Event::Delete(map("a", "4")));
        cache.written(&second, map("a", "3"), keep);
        assert!(cache.get("default", "chat", "a").is_none());
    }

    #[test]
    fn an_answer_to_a_creation_that_comes_after_its_object_went_is_not_kept() {
        let cache = Cache::default();
        let keep = |object: ConfigMap| (Key::of(&object, Some("chat")), ());
        let before = cache.before(None);
        feed(&cache, Event::Apply(map("a", "1")));
        feed(&cache, Event::Delete(map("a", "2")));
        cache.written(&before, map("a", "1"), keep);
        assert!(cache.get("default", "chat", "a").is_none());
        // The same while the watch was broken: the list that follows has neither.
        let before = cache.before(None);
        feed(&cache, Event::Init);
        feed(&cache, Event::InitDone);
        cache.written(&before, map("a", "3"), keep);
        assert!(cache.get("default", "chat", "a").is_none());
        cache.written(&cache.before(None), map("a", "4"), keep);
        assert!(cache.get("default", "chat", "a").is_some());
    }

    #[test]
    fn what_was_deleted_is_gone_at_once_unless_the_watch_has_told_of_another() {
        let cache: Cache<()> = Cache::default();
        let [gone, other] = ["gone", "other"].map(|name| Key::of(&map(name, ""), Some("chat")));
        feed(&cache, Event::Apply(map("gone", "1")));
        feed(&cache, Event::Apply(map("other", "1")));
        feed(&cache, Event::Apply(map("other", "2")));
        let before = cache.before(None);
        cache.deleted(&gone, Some("1"));
        cache.deleted(&other, Some("1"));
        assert!(cache.get("default", "chat", "gone").is_none());
        assert!(cache.get("default", "chat", "other").is_some());
        // What was asked for before it went.
        cache.written(&before, map("gone", "1"), |object| {
            (Key::of(&object, Some("chat")), ())
        });
        assert!(cache.get("default", "chat", "gone").is_none());
    }

    #[test]
    fn an_object_that_changes_its_group_concerns_both() {
        let cache: Cache<()> = Cache::default();
        feed(&cache, Event::Apply(map("a", "1")));
        let moved = cache.apply(Event::Apply(map("a", "2")), |object| {
            (Key::of(&object, Some("other")), ())
        });
        let groups: Vec<_> = moved.into_iter().map(|key| key.group).collect();
        assert_eq!(groups, ["chat", "other"]);
        assert!(cache.get("default", "chat", "a").is_none());
        assert!(cache.get("default", "other", "a").is_some());
    }

    #[test]
    fn a_group_disappears_with_its_last_member() {
        let cache = Cache::default();
        feed(&cache, Event::Apply(map("a", "1")));
        assert_eq!(cache.groups().len(), 1);
        assert_eq!(feed(&cache, Event::Delete(map("a", "2"))), ["a"]);
        assert!(cache.groups().is_empty());
    }
}
