//! `RedisGroups`: groups in Redis. A group and a user's list lie in different slots, so a join is three steps, each atomic:
//!
//! 1. the user's list gets a mark for the group, if there is room (`maxGroupsPerUser`);
//! 2. the group gets the member, if there is room (`maxGroupSize`): this is the join;
//! 3. the mark becomes the generation, or is taken back if the group refused.
//!
//! A leave takes the member from the group and then from the list. So the list always holds at least the truth. After a
//! crash between two steps it holds too much or a mark; whoever reads it next, or finds it full, compares it with the groups and
//! puts it right. A mark is left alone while its join may still be under way.

mod scripts;

use std::collections::HashMap;
use std::sync::Arc;

use ::redis::Pipeline;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use self::scripts::{ADMIT, CLAIM, CONFIRM, CREATE, DISBAND, JOIN, LEAVE, RELEASE, SETTLE, UNLIST};
use super::{
    Bounds, Entry, Generation, Group, GroupError, GroupStore, Joined, Left, Life, Member,
    MembersPage, Way,
};
use crate::cluster::redis::{NODES, RedisCalls, RedisLink};
use crate::cluster::{ClusterError, Holding};
use crate::protocol::{GroupId, NodeId, UserId};
use crate::telemetry::RedisPart;

/// Requests for one user's groups that may be under way at once; the link sends them together.
const AT_ONCE: usize = 128;

/// Members read at once while a group is disbanded.
const PAGE: usize = 1_000;

/// A join has given up long before its mark is this old: three steps, each with a deadline of two seconds.
const MARK_MILLIS: u64 = 30_000;

/// See the module.
#[derive(Debug)]
pub struct RedisGroups {
    link: RedisCalls,
}

/// Owner, creation and life of a group, and how many are in it.
type Read = ((Option<String>, Option<u64>, Option<String>), u64);

/// The user's list as it stands in Redis.
type Listed = Vec<(GroupId, String)>;

impl RedisGroups {
    /// Over this link.
    pub fn new(link: &Arc<RedisLink>) -> Self {
        let link = link.calls(RedisPart::Groups);
        Self { link }
    }

    fn of_group(&self, group: &GroupId, name: &str) -> String {
        self.link.key(&format!("g:{group}"), name)
    }

    fn list(&self, user: &UserId) -> String {
        self.link.key(&format!("u:{user}"), "groups")
    }

    async fn create(&self, group: &GroupId, owner: Option<&UserId>) -> Result<(), GroupError> {
        let mut call = CREATE.key(self.of_group(group, "group"));
        call.arg(owner.map_or("", UserId::as_str));
        let is_made: bool = self.link.run("group creation", &call).await?;
        if is_made {
            Ok(())
        } else {
            Err(GroupError::Exists(group.clone()))
        }
    }

    async fn get(&self, group: &GroupId) -> Result<Group, GroupError> {
        let mut pipeline = Pipeline::new();
        pipeline
            .cmd("HMGET")
            .arg(self.of_group(group, "group"))
            .arg(&["owner", "created", "life"])
            .cmd("ZCARD")
            .arg(self.of_group(group, "members"));
        let ((owner, created, life), members): Read = self.link.query("group", &pipeline).await?;
        let created_at = created.ok_or_else(|| GroupError::Missing(group.clone()))?;
        Ok(Group {
            id: group.clone(),
            owner: owner.and_then(|owner| UserId::new(&owner).ok()),
            created_at,
            members,
            life: match life.as_deref() {
                Some("empty") => Life::UntilEmpty,
                Some(_) | None => Life::Lasting,
            },
        })
    }

    async fn disband(&self, group: &GroupId) -> Result<Generation, GroupError> {
        // Read before, for the lists: whoever joins meanwhile is put right when their list is next read.
        let mut members = Vec::new();
        loop {
            let after = members.last().map(|member: &Member| member.generation);
            let page = self.page(group, after.unwrap_or_default(), PAGE).await?;
            members.extend(page.members);
            if !page.more {
                break;
            }
        }
        let mut call = DISBAND.key(self.of_group(group, "group"));
        call.key(self.of_group(group, "members"))
            .key(self.of_group(group, "generation"));
        let ended: Option<u64> = self.link.run("group end", &call).await?;
        let ended = Generation(ended.ok_or_else(|| GroupError::Missing(group.clone()))?);
        stream::iter(members)
            .for_each_concurrent(AT_ONCE, async |member| {
                self.unlist(group, &member.user, ended).await;
            })
            .await;
        Ok(ended)
    }

    async fn join(
        &self,
        (group, user): (&GroupId, &UserId),
        entry: Entry,
        bounds: Bounds,
    ) -> Result<Joined, GroupError> {
        let mut mark = self.claim(group, user, bounds.groups_per_user).await?;
        if mark.is_none() {
            // What a crash left behind takes up room as well.
            self.groups_of(user).await?;
            mark = self.claim(group, user, bounds.groups_per_user).await?;
        }
        let mark = mark.ok_or_else(|| GroupError::TooMany {
            user: user.clone(),
            limit: bounds.groups_per_user,
        })?;
        let entered = self.enter((group, user), entry, bounds.group_size).await;
        match &entered {
            Ok(joined) => self.confirm((group, user), &mark, joined.generation).await,
            // Perhaps it was done: the mark stays until somebody looks.
            Err(GroupError::Store(_)) => {}
            Err(_) => self.give_back((group, user), &mark).await,
        }
        entered
    }

    async fn claim(
        &self,
        group: &GroupId,
        user: &UserId,
        limit: u32,
    ) -> Result<Option<String>, ClusterError> {
        let mut call = CLAIM.key(self.list(user));
        call.arg(group.as_str())
            .arg(rand::random::<u64>())
            .arg(limit);
        self.link.run("group claim", &call).await
    }

    async fn enter(
        &self,
        (group, user): (&GroupId, &UserId),
        entry: Entry,
        limit: u32,
    ) -> Result<Joined, GroupError> {
        let entry = match entry {
            Entry::Existing => "existing",
            Entry::MakeIfMissing => "missing",
            Entry::Found => "found",
        };
        let mut call = JOIN.key(self.of_group(group, "group"));
        call.key(self.of_group(group, "members"))
            .key(self.of_group(group, "generation"))
            .arg(user.as_str())
            .arg(entry)
            .arg(limit);
        let (what, generation): (String, String) = self.link.run("group join", &call).await?;
        let joined = Joined {
            generation: Generation(generation.parse().unwrap_or_default()),
            is_new: what != "member",
            founded: what == "founded",
        };
        match what.as_str() {
            "joined" | "founded" | "member" => Ok(joined),
            "exists" => Err(GroupError::Exists(group.clone())),
            "full" => Err(GroupError::Full {
                group: group.clone(),
                limit,
            }),
            _ => Err(GroupError::Missing(group.clone())),
        }
    }

    /// Lost, it leaves a mark that is put right when it is next read.
    async fn confirm(
        &self,
        (group, user): (&GroupId, &UserId),
        mark: &str,
        generation: Generation,
    ) {
        let mut call = CONFIRM.key(self.list(user));
        call.arg(group.as_str()).arg(mark).arg(generation.0);
        let lost: Result<u8, _> = self.link.run("group confirmation", &call).await;
        note(lost.err());
    }

    /// The group refused. Whoever was a member all the same (a group that exists is not founded again) stays on the list.
    async fn give_back(&self, (group, user): (&GroupId, &UserId), mark: &str) {
        match self.membership(group, user).await {
            Ok(Some(generation)) => self.confirm((group, user), mark, generation).await,
            Ok(None) => self.release((group, user), mark).await,
            Err(error) => note(Some(error)),
        }
    }

    async fn release(&self, (group, user): (&GroupId, &UserId), mark: &str) {
        let mut call = RELEASE.key(self.list(user));
        call.arg(group.as_str()).arg(mark);
        let lost: Result<u8, _> = self.link.run("group release", &call).await;
        note(lost.err());
    }

    async fn unlist(&self, group: &GroupId, user: &UserId, generation: Generation) {
        let mut call = UNLIST.key(self.list(user));
        call.arg(group.as_str()).arg(generation.0);
        let lost: Result<u8, _> = self.link.run("group release", &call).await;
        note(lost.err());
    }

    async fn leave(&self, group: &GroupId, user: &UserId) -> Result<Left, GroupError> {
        let mut call = LEAVE.key(self.of_group(group, "group"));
        call.key(self.of_group(group, "members"))
            .key(self.of_group(group, "generation"))
            .arg(user.as_str());
        let (what, generation): (String, String) = self.link.run("group leave", &call).await?;
        let ended = match what.as_str() {
            "left" => false,
            "ended" => true,
            "stranger" => return Err(not_member(group, user)),
            _ => return Err(GroupError::Missing(group.clone())),
        };
        let generation = Generation(generation.parse().unwrap_or_default());
        self.unlist(group, user, generation).await;
        Ok(Left { generation, ended })
    }

    async fn membership(
        &self,
        group: &GroupId,
        user: &UserId,
    ) -> Result<Option<Generation>, ClusterError> {
        let mut pipeline = Pipeline::new();
        pipeline
            .cmd("ZSCORE")
            .arg(self.of_group(group, "members"))
            .arg(user.as_str());
        let (score,): (Option<f64>,) = self.link.query("group membership", &pipeline).await?;
        Ok(score.map(generation))
    }

    async fn page(
        &self,
        group: &GroupId,
        after: Generation,
        limit: usize,
    ) -> Result<MembersPage, GroupError> {
        let mut pipeline = Pipeline::new();
        pipeline
            .cmd("EXISTS")
            .arg(self.of_group(group, "group"))
            .cmd("ZRANGEBYSCORE")
            .arg(self.of_group(group, "members"))
            .arg(format!("({after}"))
            .arg("+inf")
            .arg(&["WITHSCORES", "LIMIT", "0"])
            .arg(limit.saturating_add(1));
        let (exists, found): (bool, Vec<(String, f64)>) =
            self.link.query("group members", &pipeline).await?;
        if !exists {
            return Err(GroupError::Missing(group.clone()));
        }
        let more = found.len() > limit;
        let members = found.into_iter().take(limit).filter_map(|(user, score)| {
            let user = UserId::new(&user).ok()?;
            Some(Member {
                user,
                generation: generation(score),
            })
        });
        Ok(MembersPage {
            members: members.collect(),
            more,
        })
    }

    async fn groups_of(&self, user: &UserId) -> Result<Vec<(GroupId, Generation)>, GroupError> {
        let listed = self.listed(user).await?;
        let truth: Vec<(GroupId, String, Option<Generation>)> = stream::iter(listed)
            .map(async |(group, entry)| {
                let generation = self.membership(&group, user).await?;
                Ok::<_, ClusterError>((group, entry, generation))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        self.settle(user, &truth).await;
        let mut groups: Vec<(GroupId, Generation)> = truth
            .into_iter()
            .filter_map(|(group, _, generation)| Some((group, generation?)))
            .collect();
        groups.sort_unstable();
        Ok(groups)
    }

    async fn listed(&self, user: &UserId) -> Result<Listed, ClusterError> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HGETALL").arg(self.list(user));
        let (listed,): (HashMap<String, String>,) =
            self.link.query("groups of a user", &pipeline).await?;
        let read = |(group, entry): (String, String)| Some((GroupId::new(&group).ok()?, entry));
        Ok(listed.into_iter().filter_map(read).collect())
    }

    /// Puts the list right where the groups say otherwise.
    async fn settle(&self, user: &UserId, truth: &[(GroupId, String, Option<Generation>)]) {
        let mut call = SETTLE.key(self.list(user));
        call.arg(MARK_MILLIS);
        let mut wrong = 0;
        for (group, entry, generation) in truth {
            let generation = generation.map(|generation| generation.to_string());
            if generation.as_ref() != Some(entry) {
                wrong += 1;
                call.arg(group.as_str())
                    .arg(entry)
                    .arg(generation.unwrap_or_default());
            }
        }
        if wrong > 0 {
            let lost: Result<u8, _> = self.link.run("group repair", &call).await;
            note(lost.err());
        }
    }

    async fn admit(
        &self,
        group: &GroupId,
        user: &UserId,
        limit: u32,
        way: Way,
    ) -> Result<Option<Vec<Holding>>, GroupError> {
        let mut call = ADMIT.key(self.of_group(group, "group"));
        call.key(self.of_group(group, "members"))
            .key(self.of_group(group, &format!("sent:{user}")))
            .arg(user.as_str())
            .arg(limit);
        if way == Way::Live {
            call.key(self.of_group(group, NODES));
        }
        let (what, retry_after_ms, holders): (String, u64, Vec<(String, u64)>) =
            self.link.run_with_others("group admission", &call).await?;
        let holders = holders.into_iter();
        let holders = holders.map(|(node, number)| (NodeId::new(&node), number));
        match what.as_str() {
            "admitted" => Ok((way == Way::Live).then(|| holders.collect())),
            "stranger" => Err(not_member(group, user)),
            "limited" => Err(GroupError::Limited {
                group: group.clone(),
                limit,
                retry_after_ms,
            }),
            _ => Err(GroupError::Missing(group.clone())),
        }
    }
}

fn not_member(group: &GroupId, user: &UserId) -> GroupError {
    GroupError::NotMember {
        group: group.clone(),
        user: user.clone(),
    }
}

/// Scores hold generations exactly: they are whole and below 2^53.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn generation(score: f64) -> Generation {
    Generation(score as u64)
}

fn note(lost: Option<ClusterError>) {
    if let Some(error) = lost {
        tracing::debug!(%error, "a user's list of groups was not put right now, it will be when it is next read");
    }
}

impl GroupStore for RedisGroups {
    fn create<'a>(
        &'a self,
        group: &'a GroupId,
        owner: Option<&'a UserId>,
    ) -> BoxFuture<'a, Result<(), GroupError>> {
        Box::pin(self.create(group, owner))
    }

    fn get<'a>(&'a self, group: &'a GroupId) -> BoxFuture<'a, Result<Group, GroupError>> {
        Box::pin(self.get(group))
    }

    fn disband<'a>(&'a self, group: &'a GroupId) -> BoxFuture<'a, Result<Generation, GroupError>> {
        Box::pin(self.disband(group))
    }

    fn join<'a>(
        &'a self,
        group: &'a GroupId,
        user: &'a UserId,
        entry: Entry,
        bounds: Bounds,
    ) -> BoxFuture<'a, Result<Joined, GroupError>> {
        Box::pin(self.join((group, user), entry, bounds))
    }

    fn leave<'a>(
        &'a self,
        group: &'a GroupId,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Left, GroupError>> {
        Box::pin(self.leave(group, user))
    }

    fn membership<'a>(
        &'a self,
        group: &'a GroupId,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Generation, GroupError>> {
        Box::pin(async move {
            match self.membership(group, user).await? {
                Some(generation) => Ok(generation),
                // Which of the two it is.
                None => Err(match self.get(group).await {
                    Ok(_) => not_member(group, user),
                    Err(error) => error,
                }),
            }
        })
    }

    fn members<'a>(
        &'a self,
        group: &'a GroupId,
        after: Generation,
        limit: usize,
    ) -> BoxFuture<'a, Result<MembersPage, GroupError>> {
        Box::pin(self.page(group, after, limit))
    }

    fn groups_of<'a>(
        &'a self,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Vec<(GroupId, Generation)>, GroupError>> {
        Box::pin(self.groups_of(user))
    }

    fn admit<'a>(
        &'a self,
        group: &'a GroupId,
        user: &'a UserId,
        per_minute: u32,
        way: Way,
    ) -> BoxFuture<'a, Result<Option<Vec<Holding>>, GroupError>> {
        Box::pin(self.admit(group, user, per_minute, way))
    }
}
