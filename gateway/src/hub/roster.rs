//! `Roster`: which groups the users with sessions here are in, as this node last heard. A copy: the store has the truth.
//!
//! Made of what was read from the store and of changes that nodes tell each other, in whatever order they come: each
//! membership carries its generation, and the newest word counts. Never waits and knows no shard; touched when sessions
//! and memberships begin or end, never per delivery.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use litemap::{Entry, LiteMap};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::unix_millis;
use crate::group::{Change, Generation, What};
use crate::protocol::{GroupId, Position, UserId};

/// Ends of groups that are remembered against joins that come late.
const ENDED: usize = 4_096;

/// See the module.
#[derive(Debug, Default)]
pub struct Roster(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    cards: HashMap<UserId, Card>,
    /// When groups ended of which a join may still be on its way.
    ended: HashMap<GroupId, Generation>,
    /// Counts what was heard, so that a read knows what came after it began.
    clock: u64,
    /// Memberships whose sessions have yet to follow.
    wanted: HashSet<(UserId, GroupId)>,
}

/// What is known of one user.
#[derive(Debug)]
struct Card {
    /// Since when somebody wants to know, Unix milliseconds.
    began: u64,
    /// When the store was last asked; `None`: it has yet to be.
    read: Option<Instant>,
    /// Whether it ever was.
    was_read: bool,
    /// Since when the user has no session here.
    idle: Option<Instant>,
    /// Sorted: most users are in few groups, and there are as many cards as users.
    standings: LiteMap<GroupId, Standing>,
}

/// What was last heard of a user and a group.
#[derive(Clone, Copy, Debug)]
struct Standing {
    generation: Generation,
    is_member: bool,
    from: Option<Position>,
    /// It may be older than the sessions here.
    is_old: bool,
    heard: u64,
}

/// That a user is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// Since when.
    pub generation: Generation,
    /// Where the group's log ended then, if that is known.
    pub from: Option<Position>,
    /// If it may be older than the sessions here: since when somebody here wants to know, Unix milliseconds.
    pub began: Option<u64>,
}

/// When a read of the store began.
#[derive(Clone, Copy, Debug)]
pub struct Asked(u64);

/// What a read has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learnt {
    /// Groups that the user is in, of which nobody had told.
    pub joined: Vec<GroupId>,
    /// Groups that the user is not in any more.
    pub left: Vec<GroupId>,
}

impl Roster {
    /// Whether the user's groups have to be read: nothing is known of them, or nothing that is younger than this. From
    /// here on changes of them are heard.
    pub fn begin_read(&self, user: &UserId, fresh: Duration) -> Option<Asked> {
        let mut state = self.0.lock();
        let clock = state.clock;
        let card = state.cards.entry(user.clone()).or_insert_with(Card::new);
        let is_fresh = card.read.is_some_and(|read| read.elapsed() < fresh);
        (!is_fresh).then_some(Asked(clock))
    }

    /// Takes what a read found. What was heard since it began stays as it is.
    pub fn learn(
        &self,
        user: &UserId,
        found: &[(GroupId, Generation)],
        Asked(asked): Asked,
    ) -> Learnt {
        let mut state = self.0.lock();
        state.clock += 1;
        let heard = state.clock;
        let Some(card) = state.cards.get_mut(user) else {
            return Learnt::default();
        };
        let mut learnt = Learnt::default();
        card.read = Some(Instant::now());
        let is_old = !std::mem::replace(&mut card.was_read, true);
        for (group, generation) in found {
            let standing = Standing {
                generation: *generation,
                is_member: true,
                from: None,
                is_old,
                heard,
            };
            if card.hear(group, standing) {
                learnt.joined.push(group.clone());
            }
        }
        card.standings.retain(|group, standing| {
            let stays = standing.heard > asked || found.iter().any(|(known, _)| known == group);
            if !stays && standing.is_member {
                learnt.left.push(group.clone());
            }
            stays
        });
        learnt
    }

    /// Hears of a change. `false`: it concerns nobody here, or is known.
    pub fn hear(&self, change: &Change) -> bool {
        let mut state = self.0.lock();
        state.clock += 1;
        let heard = state.clock;
        let (group, generation) = (&change.group, change.generation);
        let gone = Standing {
            generation,
            is_member: false,
            from: None,
            is_old: false,
            heard,
        };
        match &change.what {
            What::Joined { user, from } => {
                let is_over = state.ended.get(group).is_some_and(|end| *end > generation);
                let card = state.cards.get_mut(user).filter(|_| !is_over);
                let standing = Standing {
                    is_member: true,
                    from: *from,
                    ..gone
                };
                card.is_some_and(|card| card.hear(group, standing))
            }
            What::Left(user) => {
                let card = state.cards.get_mut(user);
                card.is_some_and(|card| card.hear(group, gone))
            }
            What::Disbanded => {
                if state.ended.len() >= ENDED {
                    state.ended.clear();
                }
                state.ended.insert(group.clone(), generation);
                let mut concerns = false;
                for card in state.cards.values_mut() {
                    if card.standings.contains_key(group) {
                        concerns |= card.hear(group, gone);
                    }
                }
                concerns
            }
        }
    }

    /// Notes where a membership that nobody had told of begins.
    pub fn place(&self, user: &UserId, group: &GroupId, from: Position) {
        let mut state = self.0.lock();
        let card = state.cards.get_mut(user);
        if let Some(standing) = card.and_then(|card| card.standings.get_mut(group)) {
            standing.from.get_or_insert(from);
        }
    }

    /// The user's groups.
    pub fn groups_of(&self, user: &UserId) -> Vec<GroupId> {
        let state = self.0.lock();
        let standings = state.cards.get(user).into_iter();
        let standings = standings.flat_map(|card| card.standings.iter());
        standings
            .filter(|(_, standing)| standing.is_member)
            .map(|(group, _)| group.clone())
            .collect()
    }

    /// The user's stay in a group.
    pub fn stay(&self, user: &UserId, group: &GroupId) -> Option<Stay> {
        let state = self.0.lock();
        let card = state.cards.get(user)?;
        let standing = card.standings.get(group)?;
        standing.is_member.then_some(Stay {
            generation: standing.generation,
            from: standing.from,
            began: standing.is_old.then_some(card.began),
        })
    }

    /// Users of whom it was heard that they are, or were, in a group.
    pub fn concerned(&self, group: &GroupId) -> Vec<UserId> {
        let state = self.0.lock();
        let cards = state.cards.iter();
        cards
            .filter(|(_, card)| card.standings.contains_key(group))
            .map(|(user, _)| user.clone())
            .collect()
    }

    /// The user's sessions could not follow the group yet.
    pub fn want(&self, user: &UserId, group: &GroupId) {
        self.0.lock().wanted.insert((user.clone(), group.clone()));
    }

    /// Whose sessions have yet to follow which group.
    pub fn take_wanted(&self) -> Vec<(UserId, GroupId)> {
        self.0.lock().wanted.drain().collect()
    }

    /// At most so many users whose groups have to be read, those first of whom nothing is known.
    pub fn due(&self, fresh: Duration, most: usize) -> Vec<UserId> {
        let state = self.0.lock();
        let mut due: Vec<(Option<Instant>, &UserId)> = state
            .cards
            .iter()
            .filter(|(_, card)| card.idle.is_none())
            .filter(|(_, card)| card.read.is_none_or(|read| read.elapsed() >= fresh))
            .map(|(user, card)| (card.read, user))
            .collect();
        due.sort_unstable_by_key(|(read, _)| *read);
        let first = due.into_iter().take(most);
        first.map(|(_, user)| user.clone()).collect()
    }

    /// Everything has to be read anew: changes may have been missed.
    pub fn doubt(&self) {
        for card in self.0.lock().cards.values_mut() {
            card.read = None;
        }
    }

    /// Forgets users who have had no session here for so long.
    pub fn sweep(&self, linger: Duration, is_here: impl Fn(&UserId) -> bool) {
        self.0.lock().cards.retain(|user, card| {
            if is_here(user) {
                card.idle = None;
            } else if card.idle.is_none() {
                card.rest();
            }
            card.idle.is_none_or(|since| since.elapsed() < linger)
        });
    }
}

impl Card {
    fn new() -> Self {
        Self {
            began: unix_millis(),
            read: None,
            was_read: false,
            idle: None,
            standings: LiteMap::new(),
        }
    }

    /// The last session has gone: who comes back begins anew.
    fn rest(&mut self) {
        self.idle = Some(Instant::now());
        self.began = unix_millis();
        for (_, standing) in self.standings.iter_mut() {
            standing.from = None;
            standing.is_old = true;
        }
    }

    /// Takes the newer word; whether it makes a difference.
    fn hear(&mut self, group: &GroupId, standing: Standing) -> bool {
        if self.standings.is_empty() {
            // Room for exactly the first: a second doubles it.
            self.standings = LiteMap::with_capacity(1);
        }
        match self.standings.entry(group.clone()) {
            Entry::Occupied(known) if known.get().generation >= standing.generation => false,
            Entry::Occupied(mut known) => known.insert(standing).is_member != standing.is_member,
            Entry::Vacant(unknown) => unknown.insert(standing).is_member,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALWAYS: Duration = Duration::MAX;

    fn group(id: &str) -> GroupId {
        GroupId::new(id).unwrap()
    }

    fn bob() -> UserId {
        UserId::new("bob").unwrap()
    }

    fn change(generation: u64, what: What) -> Change {
        Change {
            group: group("g"),
            generation: Generation(generation),
            what,
        }
    }

    fn joined(generation: u64) -> Change {
        let what = What::Joined {
            user: bob(),
            from: None,
        };
        change(generation, what)
    }

    fn left(generation: u64) -> Change {
        change(generation, What::Left(bob()))
    }

    fn expecting() -> (Roster, Asked) {
        let roster = Roster::default();
        let asked = roster.begin_read(&bob(), ALWAYS).unwrap();
        (roster, asked)
    }

    fn is_in(roster: &Roster) -> bool {
        roster.stay(&bob(), &group("g")).is_some()
    }

    #[test]
    fn a_late_leave_does_not_undo_a_newer_join_nor_a_late_join_a_newer_leave() {
        let (roster, _) = expecting();
        assert!(roster.hear(&joined(3)));
        assert!(!roster.hear(&left(2)));
        assert!(is_in(&roster));
        assert!(roster.hear(&left(5)));
        assert!(!roster.hear(&joined(4)));
        assert!(!is_in(&roster));
    }

    #[test]
    fn a_join_that_comes_after_the_end_of_its_group_is_none() {
        let (roster, _) = expecting();
        roster.hear(&change(5, What::Disbanded));
        assert!(!roster.hear(&joined(4)));
        assert!(roster.hear(&joined(6)), "the group was made anew");
    }

    #[test]
    fn a_disbanded_group_ends_every_stay_in_it() {
        let (roster, _) = expecting();
        roster.hear(&joined(3));
        assert!(roster.hear(&change(5, What::Disbanded)));
        assert!(!is_in(&roster));
        assert_eq!(roster.concerned(&group("g")), [bob()]);
    }

    #[test]
    fn what_was_heard_during_a_read_wins_over_what_it_found() {
        let (roster, asked) = expecting();
        roster.hear(&joined(9));
        assert_eq!(roster.learn(&bob(), &[], asked).left, []);
        assert!(is_in(&roster));
        let (roster, asked) = expecting();
        roster.hear(&left(9));
        let found = [(group("g"), Generation(8))];
        assert_eq!(roster.learn(&bob(), &found, asked).joined, []);
        assert!(!is_in(&roster));
    }

    #[test]
    fn a_read_finds_what_nobody_told_of() {
        let (roster, asked) = expecting();
        let found = [(group("g"), Generation(8))];
        assert_eq!(roster.learn(&bob(), &found, asked).joined, [group("g")]);
        assert!(
            roster.begin_read(&bob(), ALWAYS).is_none(),
            "it is known now"
        );
        roster.doubt();
        let asked = roster.begin_read(&bob(), ALWAYS).unwrap();
        assert_eq!(roster.learn(&bob(), &[], asked).left, [group("g")]);
        assert!(!is_in(&roster));
    }

    #[test]
    fn who_is_nowhere_is_forgotten_after_a_while_and_not_heard_of() {
        let (roster, _) = expecting();
        roster.sweep(ALWAYS, |_| false);
        assert!(roster.hear(&joined(3)), "they may come back at once");
        assert_eq!(roster.due(ALWAYS, 9), [], "and are not read meanwhile");
        roster.sweep(Duration::ZERO, |_| false);
        assert!(!roster.hear(&joined(4)));
    }
}
