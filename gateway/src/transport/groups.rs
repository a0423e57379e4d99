//! What clients say about groups: the commands `group.*`, each answered by a `result` or an `error`, and messages to a group,
//! which the store lets through or not. Who may do what is in `group::rules`.

mod denied;

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::extended;
use crate::cluster::Holding;
use crate::group::rules::{self, Asker, Forbidden, Verdict};
use crate::group::{Entry, Generation, GroupPatterns, Groups, Membership, Way};
use crate::hub::{Later, Passed, Shard};
use crate::protocol::json::Call;
use crate::protocol::{Control, GroupId, MessageBody, Position, Target, UserId};
use crate::security::Identity;
use crate::transport::Connection;

use denied::{Denied, deny, tell};

/// What the types of these commands begin with.
pub(super) const PREFIX: &str = "group.";
/// Members on a page, if the client does not say.
const PAGE: usize = 100;
/// The most.
const PAGE_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    group: GroupId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Paged {
    group: GroupId,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct Entered {
    group: GroupId,
    generation: Generation,
    /// Whether it was so before.
    already: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pos: Option<Position>,
}

#[derive(Serialize)]
struct MembersAnswer {
    group: GroupId,
    members: Vec<MemberAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct MemberAnswer {
    user: UserId,
    since: u64,
}

#[derive(Serialize)]
struct ListAnswer {
    groups: Vec<GroupAnswer>,
}

#[derive(Serialize)]
struct GroupAnswer {
    group: GroupId,
    since: u64,
}

#[derive(Serialize)]
struct Done {
    group: GroupId,
}

/// Carries out a command and answers it.
pub(super) async fn call(shard: &Rc<Shard>, connection: &Rc<Connection>, call: Call<'_>) {
    let Some(session) = connection.session() else {
        return;
    };
    let identity = session.identity();
    let asking = Asking::of(shard, connection, &identity);
    let outcome = asking.run(call.kind, call.data.map(RawValue::get)).await;
    if connection.is_closing() {
        return;
    }
    match outcome {
        Ok(data) => {
            connection.good_frame();
            let result = Control::Result {
                ref_id: call.id,
                data: &data,
            };
            shard.say(connection, &result);
        }
        Err(denied) => deny(shard, connection, &denied, call.id),
    }
}

/// Puts a session that has just begun into groups that the application gave it, each as if the client had asked and were
/// let in. One that it cannot be in is told to the client; the session goes on.
pub(super) async fn enter_given(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    groups: &[GroupId],
) {
    let Some(session) = connection.session() else {
        return;
    };
    let identity = session.identity();
    let asking = Asking::of(shard, connection, &identity);
    for group in groups {
        let entered = asking.enter_given(group).await;
        if connection.is_closing() {
            return;
        }
        if let Err(denied) = entered {
            tell(shard, connection, &denied, None);
        }
    }
}

/// Sends a message to a group, if its sender may.
pub(super) async fn publish(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    (group, body): (GroupId, MessageBody<'_>),
    size: usize,
    later: &mut Later,
) {
    let Some(session) = connection.session() else {
        return;
    };
    let identity = session.identity();
    let asking = Asking::of(shard, connection, &identity);
    let target = Target::Group(group.clone());
    let way = if shard.settings().keeps(&target, body.kind, body.durable) {
        Way::Stored
    } else {
        Way::Live
    };
    let admitted = asking.admit(&group, way).await;
    if connection.is_closing() {
        return;
    }
    match admitted {
        Ok(holders) => {
            connection.good_frame();
            let passed = Passed {
                target: &target,
                body,
                size,
                holders,
            };
            shard.publish(connection, passed, later);
        }
        Err(denied) => deny(shard, connection, &denied, body.id),
    }
}

/// Who asks for something.
struct Asking<'a> {
    groups: &'a Groups,
    identity: &'a Identity,
    shard: &'a Rc<Shard>,
    connection: &'a Rc<Connection>,
}

impl<'a> Asking<'a> {
    fn of(shard: &'a Rc<Shard>, connection: &'a Rc<Connection>, identity: &'a Identity) -> Self {
        Self {
            groups: &shard.context().groups,
            identity,
            shard,
            connection,
        }
    }

    async fn run(&self, kind: &str, data: Option<&str>) -> Result<Box<RawValue>, Denied> {
        self.on()?;
        match kind.strip_prefix(PREFIX).unwrap_or_default() {
            "create" => answer(&self.create(named(data)?).await?),
            "join" => answer(&self.join(named(data)?).await?),
            "leave" => answer(&self.leave(named(data)?).await?),
            "disband" => answer(&self.disband(named(data)?).await?),
            "members" => answer(&self.members(read(data)?).await?),
            "list" => answer(&self.list().await?),
            _ => Err(Denied::Off(format!(
                "{kind}: no such command; there are group.create, .disband, .join, .leave, .members, .list"
            ))),
        }
    }

    fn on(&self) -> Result<(), Denied> {
        if self.groups.settings().rules.enabled {
            return Ok(());
        }
        let off = "group: groups are off (wsc.group.enabled)".to_owned();
        Err(Denied::Off(off))
    }

    async fn create(&self, group: GroupId) -> Result<Entered, Denied> {
        let rules = self.groups.settings().rules;
        let silent = rules.auto_create && !self.token_admits(&group);
        let verdict = if silent {
            self.verdict(&group).await?
        } else {
            Verdict::Unasked
        };
        self.asked(|asker| rules::may_create(asker, &group, (&rules, verdict)))?;
        self.enter(group, Entry::Found).await
    }

    async fn join(&self, group: GroupId) -> Result<Entered, Denied> {
        let verdict = if self.token_admits(&group) {
            Verdict::Unasked
        } else {
            self.verdict(&group).await?
        };
        self.asked(|asker| rules::may_join(asker, &group, verdict))?;
        let entry = rules::entry(&self.groups.settings().rules);
        self.enter(group, entry).await
    }

    async fn enter_given(&self, group: &GroupId) -> Result<Entered, Denied> {
        self.on()?;
        let entry = rules::entry(&self.groups.settings().rules);
        self.enter(group.clone(), entry).await
    }

    async fn enter(&self, group: GroupId, entry: Entry) -> Result<Entered, Denied> {
        let user = &self.identity.user;
        // All members share its name.
        let group = self.shard.known_group(&group);
        let Membership { joined, from } = self.groups.join(&group, user, entry).await?;
        // The command to this shard waits in its queue; what is answered now must be true now.
        self.shard.regroup(user, &group);
        Ok(Entered {
            group,
            generation: joined.generation,
            already: !joined.is_new,
            pos: from,
        })
    }

    async fn leave(&self, group: GroupId) -> Result<Done, Denied> {
        let user = &self.identity.user;
        self.groups.leave(&group, user).await?;
        self.shard.regroup(user, &group);
        Ok(Done { group })
    }

    async fn disband(&self, group: GroupId) -> Result<Done, Denied> {
        let known = self.groups.get(&group).await?;
        self.asked(|asker| rules::may_disband(asker, &known))?;
        self.groups.disband(&group).await?;
        Ok(Done { group })
    }

    async fn members(&self, asked: Paged) -> Result<MembersAnswer, Denied> {
        let Paged {
            group,
            limit,
            cursor,
        } = asked;
        let limit = limit.unwrap_or(PAGE);
        if !(1..=PAGE_MAX).contains(&limit) {
            let problem = format!("data.limit: is {limit}, allowed are 1 to {PAGE_MAX}");
            return Err(Denied::Bad(problem));
        }
        let after = cursor.map_or(Ok(0), |cursor| cursor.parse());
        let after = after.map_err(|_| Denied::Bad("data.cursor: is not one of these".into()))?;
        let user = &self.identity.user;
        let is_member = self.groups.membership(&group, user).await?.is_some();
        self.asked(|asker| rules::may_see(asker, &group, is_member))?;
        let page = self.groups.members(&group, Generation(after), limit).await;
        let page = page?;
        let last = page.members.last().filter(|_| page.more);
        let next_cursor = last.map(|member| member.generation.to_string());
        let members = page.members.into_iter().map(|member| MemberAnswer {
            since: member.generation.millis(),
            user: member.user,
        });
        Ok(MembersAnswer {
            group,
            members: members.collect(),
            next_cursor,
        })
    }

    async fn list(&self) -> Result<ListAnswer, Denied> {
        let groups = self.groups.groups_of(&self.identity.user).await?;
        let groups = groups.into_iter().map(|(group, generation)| GroupAnswer {
            group,
            since: generation.millis(),
        });
        Ok(ListAnswer {
            groups: groups.collect(),
        })
    }

    async fn admit(&self, group: &GroupId, way: Way) -> Result<Option<Vec<Holding>>, Denied> {
        self.on()?;
        let rules = self.groups.settings().rules;
        self.asked(|asker| rules::may_send(asker, group, &rules))?;
        let user = &self.identity.user;
        Ok(self.groups.admit(group, user, way).await?)
    }

    fn token_admits(&self, group: &GroupId) -> bool {
        self.with_asker(|asker| rules::token_admits(asker, group))
    }

    /// Asks the application, where the token is silent.
    async fn verdict(&self, group: &GroupId) -> Result<Verdict, Denied> {
        let service = &self.shard.context().service;
        match extended::client_of(self.shard, self.connection) {
            Some(client) if service.decides_joins() => Ok(service.join(client, group).await?),
            Some(_) | None => Ok(Verdict::Unasked),
        }
    }

    /// What the rules say, counted when it is no.
    fn asked(&self, judge: impl FnOnce(&Asker<'_>) -> Result<(), Forbidden>) -> Result<(), Denied> {
        self.with_asker(judge)
            .inspect_err(|_| self.groups.stats().forbidden())?;
        Ok(())
    }

    fn with_asker<R>(&self, ask: impl FnOnce(&Asker<'_>) -> R) -> R {
        let none = GroupPatterns::default();
        ask(&Asker {
            user: &self.identity.user,
            scopes: self.identity.scopes,
            patterns: self.identity.groups.as_deref().unwrap_or(&none),
        })
    }
}

fn named(data: Option<&str>) -> Result<GroupId, Denied> {
    read::<Named>(data).map(|named| named.group)
}

fn read<'a, T: Deserialize<'a>>(data: Option<&'a str>) -> Result<T, Denied> {
    let object = data.filter(|data| data.starts_with('{'));
    let object = object.ok_or_else(|| Denied::Bad("expected data.group, a group's id".into()))?;
    serde_json::from_str(object).map_err(|error| Denied::Bad(format!("data: {error}")))
}

fn answer<T: Serialize>(data: &T) -> Result<Box<RawValue>, Denied> {
    to_raw_value(data).map_err(|error| Denied::Bad(error.to_string()))
}
