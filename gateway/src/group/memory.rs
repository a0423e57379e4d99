//! `MemoryGroups`: groups in one process's memory, for a gateway without Redis, by the same rules as in Redis.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use litemap::LiteMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Bounds, Entry, Generation, Group, GroupError, GroupStore, Joined, Left, Life, Member,
    MembersPage, Way,
};
use crate::cluster::Holding;
use crate::protocol::{GroupId, UserId};
use crate::time::tick;

/// What a member may send is counted for so long.
const WINDOW: Duration = Duration::from_mins(1);

/// Counts that are kept before those that are over are looked for.
const COUNTS: usize = 4_096;

/// See the module. The lock is never held across an await.
#[derive(Debug, Default)]
pub struct MemoryGroups(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    groups: HashMap<GroupId, Kept>,
    users: HashMap<UserId, LiteMap<GroupId, Generation>>,
    sent: HashMap<(GroupId, UserId), (Instant, u32)>,
    /// At how many counts those that are over are looked for again: by then as many have come as were left.
    sweep_at: usize,
}

#[derive(Debug)]
struct Kept {
    owner: Option<UserId>,
    created_at: u64,
    life: Life,
    members: HashMap<UserId, Generation>,
    in_order: BTreeMap<Generation, UserId>,
}

impl Kept {
    fn new(owner: Option<&UserId>, life: Life) -> Self {
        Self {
            owner: owner.cloned(),
            created_at: u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX),
            life,
            members: HashMap::new(),
            in_order: BTreeMap::new(),
        }
    }
}

impl MemoryGroups {
    /// None yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }
}

impl State {
    /// As in Redis: the clock's microseconds, and always more than the last.
    fn next() -> Generation {
        Generation(tick())
    }

    fn kept(&self, group: &GroupId) -> Result<&Kept, GroupError> {
        let kept = self.groups.get(group);
        kept.ok_or_else(|| GroupError::Missing(group.clone()))
    }

    fn create(&mut self, group: &GroupId, owner: Option<&UserId>) -> Result<(), GroupError> {
        if self.groups.contains_key(group) {
            return Err(GroupError::Exists(group.clone()));
        }
        let kept = Kept::new(owner, Life::Lasting);
        self.groups.insert(group.clone(), kept);
        Ok(())
    }

    fn disband(&mut self, group: &GroupId) -> Result<Generation, GroupError> {
        let kept = self.groups.remove(group);
        let kept = kept.ok_or_else(|| GroupError::Missing(group.clone()))?;
        for user in kept.members.keys() {
            self.unlist(group, user);
        }
        Ok(Self::next())
    }

    fn join(
        &mut self,
        (group, user): (&GroupId, &UserId),
        entry: Entry,
        bounds: Bounds,
    ) -> Result<Joined, GroupError> {
        let list = self.users.get(user);
        if !list.is_some_and(|list| list.contains_key(group))
            && list.map_or(0, LiteMap::len) >= bounds.groups_per_user as usize
        {
            return Err(GroupError::TooMany {
                user: user.clone(),
                limit: bounds.groups_per_user,
            });
        }
        let existing = self.groups.get(group);
        match (entry, existing) {
            (Entry::Existing, None) => return Err(GroupError::Missing(group.clone())),
            (Entry::Found, Some(_)) => return Err(GroupError::Exists(group.clone())),
            (Entry::Existing | Entry::MakeIfMissing, Some(_))
            | (Entry::MakeIfMissing | Entry::Found, None) => {}
        }
        if let Some(generation) = existing.and_then(|kept| kept.members.get(user)) {
            return Ok(Joined {
                generation: *generation,
                is_new: false,
                founded: false,
            });
        }
        if existing.map_or(0, |kept| kept.members.len()) >= bounds.group_size as usize {
            return Err(GroupError::Full {
                group: group.clone(),
                limit: bounds.group_size,
            });
        }
        let founded = existing.is_none();
        let generation = Self::next();
        let life = match entry {
            Entry::Existing | Entry::MakeIfMissing => Life::UntilEmpty,
            Entry::Found => Life::Lasting,
        };
        let kept = self.groups.entry(group.clone());
        let kept = kept.or_insert_with(|| Kept::new(Some(user), life));
        kept.members.insert(user.clone(), generation);
        kept.in_order.insert(generation, user.clone());
        let list = self.users.entry(user.clone());
        let list = list.or_insert_with(|| LiteMap::with_capacity(1));
        list.insert(group.clone(), generation);
        Ok(Joined {
            generation,
            is_new: true,
            founded,
        })
    }

    fn leave(&mut self, group: &GroupId, user: &UserId) -> Result<Left, GroupError> {
        let kept = self.groups.get_mut(group);
        let kept = kept.ok_or_else(|| GroupError::Missing(group.clone()))?;
        let Some(began) = kept.members.remove(user) else {
            return Err(not_member(group, user));
        };
        kept.in_order.remove(&began);
        let ended = kept.members.is_empty() && kept.life == Life::UntilEmpty;
        if ended {
            self.groups.remove(group);
        }
        self.unlist(group, user);
        Ok(Left {
            generation: Self::next(),
            ended,
        })
    }

    fn unlist(&mut self, group: &GroupId, user: &UserId) {
        if let Some(list) = self.users.get_mut(user) {
            list.remove(group);
            if list.is_empty() {
                self.users.remove(user);
            }
        }
    }

    fn admit(&mut self, group: &GroupId, user: &UserId, limit: u32) -> Result<(), GroupError> {
        if !self.kept(group)?.members.contains_key(user) {
            return Err(not_member(group, user));
        }
        if limit == 0 {
            return Ok(());
        }
        let now = Instant::now();
        if self.sent.len() >= self.sweep_at.max(COUNTS) {
            self.sent.retain(|_, (until, _)| *until > now);
            self.sweep_at = self.sent.len().saturating_mul(2);
        }
        let fresh = (now + WINDOW, 0);
        let count = self.sent.entry((group.clone(), user.clone()));
        let count = count.or_insert(fresh);
        if count.0 <= now {
            *count = fresh;
        }
        if count.1 >= limit {
            let left = count.0.saturating_duration_since(now).as_millis();
            return Err(GroupError::Limited {
                group: group.clone(),
                limit,
                retry_after_ms: u64::try_from(left).unwrap_or(u64::MAX),
            });
        }
        count.1 += 1;
        Ok(())
    }
}

fn not_member(group: &GroupId, user: &UserId) -> GroupError {
    GroupError::NotMember {
        group: group.clone(),
        user: user.clone(),
    }
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

impl GroupStore for MemoryGroups {
    fn create<'a>(
        &'a self,
        group: &'a GroupId,
        owner: Option<&'a UserId>,
    ) -> BoxFuture<'a, Result<(), GroupError>> {
        Box::pin(async move { self.0.lock().create(group, owner) })
    }

    fn get<'a>(&'a self, group: &'a GroupId) -> BoxFuture<'a, Result<Group, GroupError>> {
        Box::pin(async move {
            let state = self.0.lock();
            let kept = state.kept(group)?;
            Ok(Group {
                id: group.clone(),
                owner: kept.owner.clone(),
                created_at: kept.created_at,
                members: kept.members.len() as u64,
                life: kept.life,
            })
        })
    }

    fn disband<'a>(&'a self, group: &'a GroupId) -> BoxFuture<'a, Result<Generation, GroupError>> {
        Box::pin(async move { self.0.lock().disband(group) })
    }

    fn join<'a>(
        &'a self,
        group: &'a GroupId,
        user: &'a UserId,
        entry: Entry,
        bounds: Bounds,
    ) -> BoxFuture<'a, Result<Joined, GroupError>> {
        Box::pin(async move { self.0.lock().join((group, user), entry, bounds) })
    }

    fn leave<'a>(
        &'a self,
        group: &'a GroupId,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Left, GroupError>> {
        Box::pin(async move { self.0.lock().leave(group, user) })
    }

    fn membership<'a>(
        &'a self,
        group: &'a GroupId,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Generation, GroupError>> {
        Box::pin(async move {
            let state = self.0.lock();
            let generation = state.kept(group)?.members.get(user).copied();
            generation.ok_or_else(|| not_member(group, user))
        })
    }

    fn members<'a>(
        &'a self,
        group: &'a GroupId,
        after: Generation,
        limit: usize,
    ) -> BoxFuture<'a, Result<MembersPage, GroupError>> {
        Box::pin(async move {
            let state = self.0.lock();
            let in_order = &state.kept(group)?.in_order;
            let mut after = in_order.range((Bound::Excluded(after), Bound::Unbounded));
            let members = after.by_ref().take(limit).map(|(generation, user)| Member {
                user: user.clone(),
                generation: *generation,
            });
            let members = members.collect();
            let more = after.next().is_some();
            Ok(MembersPage { members, more })
        })
    }

    fn groups_of<'a>(
        &'a self,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Vec<(GroupId, Generation)>, GroupError>> {
        Box::pin(async move {
            let state = self.0.lock();
            let list = state.users.get(user).into_iter();
            let list = list.flat_map(LiteMap::iter);
            Ok(list
                .map(|(group, generation)| (group.clone(), *generation))
                .collect())
        })
    }

    fn admit<'a>(
        &'a self,
        group: &'a GroupId,
        user: &'a UserId,
        per_minute: u32,
        _: Way,
    ) -> BoxFuture<'a, Result<Option<Vec<Holding>>, GroupError>> {
        Box::pin(async move {
            self.0.lock().admit(group, user, per_minute)?;
            Ok(None)
        })
    }
}
