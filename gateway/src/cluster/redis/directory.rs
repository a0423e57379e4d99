//! `RedisDirectory`: users' sessions in Redis. Writes are scripts over a bounded batch of users; reads are two round trips:
//! the entries, then the leases of whoever holds them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ::redis::Pipeline;
use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::keys::{field_holder, holder, parse_holder, session_text};
use super::scripts::{APPLY, PLACE, REAP};
use super::{RedisCalls, RedisLink};
use crate::cluster::backoff::backoff;
use crate::cluster::canary::describe;
use crate::cluster::presence::OFFLINE_DELAY;
use crate::cluster::{ClusterError, Directory, Left, OnlinePage, SessionChange, SessionRecord};
use crate::protocol::{Epoch, NodeId, SessionId, UserId};
use crate::telemetry::RedisPart;

/// Users per script when much is written: Redis is held for about a millisecond.
const USERS: usize = 256;

/// Users per pipeline when much is read.
const LOOKUP: usize = 1_024;

/// How often the same users are tried again when Redis is late, and the pauses before that.
const LATE: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(2);

type Holder = (NodeId, Epoch);

/// See the module.
#[derive(Debug)]
pub struct RedisDirectory {
    link: RedisCalls,
    /// How long a user may be nowhere before they are offline, in milliseconds.
    delay: u64,
}

impl RedisDirectory {
    /// Over this link.
    pub fn new(link: &Arc<RedisLink>) -> Self {
        Self {
            link: link.calls(RedisPart::Directory),
            delay: millis(OFFLINE_DELAY),
        }
    }

    /// Who is nowhere for so long is offline.
    #[must_use]
    pub fn offline_after(mut self, delay: Duration) -> Self {
        self.delay = millis(delay);
        self
    }

    /// One user whose entry cannot be written, whatever somebody put there, must not keep the others from being found: a
    /// refused batch is halved until those are alone, and they are left out.
    async fn apply(
        &self,
        node: &NodeId,
        epoch: Epoch,
        changes: &[SessionChange],
    ) -> Result<Vec<UserId>, ClusterError> {
        let mut moved = Vec::new();
        let mut parts = vec![changes];
        while let Some(part) = parts.pop() {
            match (self.apply_one(node, epoch, part).await, part) {
                (Ok(users), _) => moved.extend(users),
                (Err(error), [alone]) if is_of_entry(&error) => leave_out(alone.user(), &error),
                (Err(error), _) if is_of_entry(&error) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    // Taken from the end, so the first half is written first.
                    parts.extend([second, first]);
                }
                (Err(error), _) => return Err(error),
            }
        }
        Ok(moved)
    }

    async fn apply_one(
        &self,
        node: &NodeId,
        epoch: Epoch,
        changes: &[SessionChange],
    ) -> Result<Vec<UserId>, ClusterError> {
        let keys = &self.link.keys;
        let holder = holder(node, epoch);
        let script = &APPLY;
        let mut call = script.key(keys.online());
        call.key(keys.holders())
            .key(keys.users(&holder))
            .key(keys.leaving())
            .key(keys.changes())
            .arg(&holder)
            .arg(self.delay);
        let mut numbers: HashMap<&UserId, usize> = HashMap::new();
        for change in changes {
            let (sign, user, session, json) = match change {
                SessionChange::Up(record) => {
                    ("+", &record.user, record.session, json(record, node, epoch))
                }
                SessionChange::Down { session, user } => ("-", user, *session, String::new()),
            };
            let next = numbers.len();
            let number = *numbers.entry(user).or_insert_with(|| {
                call.key(keys.user(user))
                    .key(keys.at(user))
                    .key(keys.presence(user));
                next
            });
            call.arg(sign)
                .arg(number)
                .arg(user.as_str())
                .arg(session_text(session))
                .arg(json);
        }
        let moved: Vec<String> = self.link.run("directory write", &call).await?;
        Ok(user_ids(&moved))
    }

    async fn replace(
        &self,
        node: &NodeId,
        epoch: Epoch,
        sessions: Vec<SessionRecord>,
    ) -> Result<(), ClusterError> {
        let holder = holder(node, epoch);
        let mut wanted: HashMap<UserId, Vec<(SessionId, String)>> = self
            .users_of(&holder)
            .await?
            .into_iter()
            .map(|user| (user, Vec::new()))
            .collect();
        for record in sessions {
            let text = json(&record, node, epoch);
            wanted
                .entry(record.user)
                .or_default()
                .push((record.session, text));
        }
        let wanted: Vec<(UserId, Vec<(SessionId, String)>)> = wanted.into_iter().collect();
        // Once more without users: a holder that has none must go from the set of holders too.
        for chunk in wanted.chunks(USERS).chain([[].as_slice()]) {
            self.place_each(&holder, chunk).await?;
        }
        Ok(())
    }

    /// As in `apply`: who cannot be written is left out.
    async fn place_each(
        &self,
        holder: &str,
        users: &[(UserId, Vec<(SessionId, String)>)],
    ) -> Result<(), ClusterError> {
        let mut parts = vec![users];
        while let Some(part) = parts.pop() {
            match (self.place_patiently(holder, part).await, part) {
                (Ok(()), _) => {}
                (Err(error), [(user, _)]) if is_of_entry(&error) => leave_out(user, &error),
                (Err(error), [_, _, ..]) if is_of_entry(&error) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                (Err(error), _) => return Err(error),
            }
        }
        Ok(())
    }

    /// A late answer is no reason to begin anew with the first users: placing is repeatable.
    async fn place_patiently(
        &self,
        holder: &str,
        users: &[(UserId, Vec<(SessionId, String)>)],
    ) -> Result<(), ClusterError> {
        let mut late = 0;
        loop {
            match self.place(holder, users).await {
                Err(ClusterError::Deadline { .. }) if late < LATE => {
                    late += 1;
                    sleep(backoff(PAUSE, PAUSE_MAX, late)).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn place(
        &self,
        holder: &str,
        users: &[(UserId, Vec<(SessionId, String)>)],
    ) -> Result<(), ClusterError> {
        let keys = &self.link.keys;
        let script = &PLACE;
        let mut call = script.key(keys.online());
        call.key(keys.holders())
            .key(keys.users(holder))
            .key(keys.leaving())
            .key(keys.changes())
            .arg(holder)
            .arg(self.delay);
        for (user, sessions) in users {
            call.key(keys.user(user))
                .key(keys.at(user))
                .key(keys.presence(user));
            call.arg(user.as_str()).arg(sessions.len());
            for (session, json) in sessions {
                call.arg(session_text(*session)).arg(json);
            }
        }
        self.link.run("directory replacement", &call).await
    }

    async fn users_of(&self, holder: &str) -> Result<Vec<UserId>, ClusterError> {
        let mut pipeline = Pipeline::new();
        pipeline
            .cmd("ZRANGE")
            .arg(self.link.keys.users(holder))
            .arg(0)
            .arg(-1);
        let (users,): (Vec<String>,) = self.link.query("directory read", &pipeline).await?;
        Ok(user_ids(&users))
    }

    async fn nodes_of(&self, users: &[UserId]) -> Result<Vec<Vec<NodeId>>, ClusterError> {
        let mut held: Vec<Vec<Holder>> = Vec::with_capacity(users.len());
        for chunk in users.chunks(LOOKUP) {
            let mut pipeline = Pipeline::with_capacity(chunk.len());
            for user in chunk {
                pipeline.cmd("HKEYS").arg(self.link.keys.at(user));
            }
            let found: Vec<Vec<String>> = self.link.query("directory lookup", &pipeline).await?;
            held.extend(found.iter().map(|holders| {
                holders
                    .iter()
                    .filter_map(|text| parse_holder(text))
                    .collect()
            }));
        }
        let live = self.live(held.iter().flatten()).await?;
        let on_live = |holders: Vec<Holder>| {
            holders
                .into_iter()
                .filter(|holder| live.contains(holder))
                .map(|(node, _)| node)
                .collect()
        };
        Ok(held.into_iter().map(on_live).collect())
    }

    /// Which of these holders have a live lease of their epoch.
    async fn live(
        &self,
        holders: impl Iterator<Item = &Holder>,
    ) -> Result<HashSet<Holder>, ClusterError> {
        let nodes: BTreeSet<&NodeId> = holders.map(|(node, _)| node).collect();
        let nodes: Vec<NodeId> = nodes.into_iter().cloned().collect();
        let leases = self.link.leases(&nodes).await?;
        let live = nodes.into_iter().zip(leases);
        Ok(live
            .filter_map(|(node, lease)| Some((node, lease?.epoch)))
            .collect())
    }

    async fn sessions_of(&self, user: &UserId) -> Result<Vec<SessionRecord>, ClusterError> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HGETALL").arg(self.link.keys.user(user));
        let (entries,): (HashMap<String, String>,) = self.link.query("sessions", &pipeline).await?;
        let read = |(field, json): (String, String)| {
            let record: SessionRecord = serde_json::from_str(&json).ok()?;
            Some((field_holder(&field)?, record))
        };
        let entries: Vec<(Holder, SessionRecord)> = entries.into_iter().filter_map(read).collect();
        let live = self.live(entries.iter().map(|(holder, _)| holder)).await?;
        let mut sessions: Vec<SessionRecord> = entries
            .into_iter()
            .filter(|(holder, _)| live.contains(holder))
            .map(|(_, record)| record)
            .collect();
        sessions.sort_by_key(|record| (record.connected_at, record.session));
        Ok(sessions)
    }

    async fn holders(&self) -> Result<Vec<Holder>, ClusterError> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("SMEMBERS").arg(self.link.keys.holders());
        let (holders,): (Vec<String>,) = self.link.query("holders", &pipeline).await?;
        Ok(holders
            .iter()
            .filter_map(|text| parse_holder(text))
            .collect())
    }

    /// With everybody alive, `online` is the answer. While the dead have not been reaped, the page is merged from those of
    /// the living, and the total is counted without a union, which would hold Redis for seconds: it is the smaller of
    /// two bounds, everybody who has entries and the sum over the living.
    async fn online(&self, after: Option<&str>, limit: usize) -> Result<OnlinePage, ClusterError> {
        let keys = &self.link.keys;
        let holders = self.holders().await?;
        let live = self.live(holders.iter()).await?;
        let mut pipeline = Pipeline::new();
        pipeline.cmd("ZCARD").arg(keys.online());
        let sources = if holders.iter().all(|holder| live.contains(holder)) {
            vec![keys.online()]
        } else {
            let living = holders.iter().filter(|holder| live.contains(*holder));
            let sources: Vec<String> = living
                .map(|(node, epoch)| keys.users(&holder(node, *epoch)))
                .collect();
            for source in &sources {
                pipeline.cmd("ZCARD").arg(source);
            }
            sources
        };
        let counts: Vec<u64> = self.link.query("online", &pipeline).await?;
        let all = counts.first().copied().unwrap_or(0);
        let total = if sources.len() + 1 == counts.len() {
            all.min(counts.iter().skip(1).sum())
        } else {
            all
        };
        let mut users = self.page(&sources, after, limit.saturating_add(1)).await?;
        let more = users.len() > limit;
        users.truncate(limit);
        Ok(OnlinePage { users, more, total })
    }

    /// The first `count` users after `after` in any of these sorted sets: each one's first are enough.
    async fn page(
        &self,
        sources: &[String],
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<UserId>, ClusterError> {
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let from = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let mut pipeline = Pipeline::with_capacity(sources.len());
        for source in sources {
            let command = pipeline.cmd("ZRANGEBYLEX").arg(source).arg(&from).arg("+");
            command.arg("LIMIT").arg(0).arg(count);
        }
        let pages: Vec<Vec<String>> = self.link.query("online", &pipeline).await?;
        let merged: BTreeSet<String> = pages.into_iter().flatten().collect();
        let first: Vec<String> = merged.into_iter().take(count).collect();
        Ok(user_ids(&first))
    }

    async fn left_by(
        &self,
        node: &NodeId,
        epoch: Epoch,
        after: Option<&UserId>,
    ) -> Result<Left, ClusterError> {
        let text = holder(node, epoch);
        let source = [self.link.keys.users(&text)];
        let after = after.map(UserId::as_str);
        let users = self.page(&source, after, USERS).await?;
        let next = if users.len() < USERS {
            None
        } else {
            users.last().cloned()
        };
        let mut pipeline = Pipeline::with_capacity(users.len());
        for user in &users {
            pipeline.cmd("HGETALL").arg(self.link.keys.user(user));
        }
        if users.is_empty() {
            return Ok((Vec::new(), None));
        }
        let entries: Vec<HashMap<String, String>> = self.link.query("sessions", &pipeline).await?;
        let is_of =
            |field: &str| field_holder(field).is_some_and(|of| of.0 == *node && of.1 == epoch);
        let sessions = entries.into_iter().flatten();
        let sessions = sessions.filter(|(field, _)| is_of(field));
        let sessions = sessions.filter_map(|(_, json)| serde_json::from_str(&json).ok());
        Ok((sessions.collect(), next))
    }

    async fn reap(&self, node: &NodeId, epoch: Epoch) -> Result<(), ClusterError> {
        let keys = &self.link.keys;
        let holder = holder(node, epoch);
        let users = self.users_of(&holder).await?;
        // Once more without users: a holder that has none must go from the set of holders too.
        for chunk in users.chunks(USERS).chain([[].as_slice()]) {
            let script = &REAP;
            let mut call = script.key(keys.online());
            call.key(keys.holders())
                .key(keys.users(&holder))
                .key(keys.leaving())
                .key(keys.changes())
                .key(keys.lease(node));
            call.arg(&holder).arg(self.delay).arg(epoch.0);
            for user in chunk {
                call.key(keys.user(user))
                    .key(keys.at(user))
                    .key(keys.presence(user))
                    .arg(user.as_str());
            }
            let is_dead: bool = self.link.run("reap", &call).await?;
            if !is_dead {
                return Ok(());
            }
        }
        Ok(())
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether it is what lies under some user's key that was refused, and not the whole write.
fn is_of_entry(error: &ClusterError) -> bool {
    matches!(error, ClusterError::Refused { source, .. } if source.code() == Some("WRONGTYPE"))
}

fn leave_out(user: &UserId, error: &ClusterError) {
    tracing::warn!(
        %user,
        error = describe(error),
        "what lies in redis under this user's key is not the directory's: other nodes do not find their sessions here"
    );
}

/// The record as written: its holder is who writes it.
fn json(record: &SessionRecord, node: &NodeId, epoch: Epoch) -> String {
    let record = SessionRecord {
        node: node.clone(),
        epoch,
        ..record.clone()
    };
    // Serialising strings and numbers into memory cannot fail.
    serde_json::to_string(&record).unwrap_or_default()
}

fn user_ids(ids: &[String]) -> Vec<UserId> {
    ids.iter().filter_map(|id| UserId::new(id).ok()).collect()
}

impl Directory for RedisDirectory {
    fn apply<'a>(
        &'a self,
        node: &'a NodeId,
        epoch: Epoch,
        changes: &'a [SessionChange],
    ) -> BoxFuture<'a, Result<Vec<UserId>, ClusterError>> {
        Box::pin(self.apply(node, epoch, changes))
    }

    fn replace<'a>(
        &'a self,
        node: &'a NodeId,
        epoch: Epoch,
        sessions: Vec<SessionRecord>,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(self.replace(node, epoch, sessions))
    }

    fn nodes_of<'a>(
        &'a self,
        users: &'a [UserId],
    ) -> BoxFuture<'a, Result<Vec<Vec<NodeId>>, ClusterError>> {
        Box::pin(self.nodes_of(users))
    }

    fn sessions_of<'a>(
        &'a self,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Vec<SessionRecord>, ClusterError>> {
        Box::pin(self.sessions_of(user))
    }

    fn online<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<OnlinePage, ClusterError>> {
        Box::pin(self.online(after, limit))
    }

    fn holders(&self) -> BoxFuture<'_, Result<Vec<(NodeId, Epoch)>, ClusterError>> {
        Box::pin(self.holders())
    }

    fn left_by<'a>(
        &'a self,
        node: &'a NodeId,
        epoch: Epoch,
        after: Option<&'a UserId>,
    ) -> BoxFuture<'a, Result<Left, ClusterError>> {
        Box::pin(self.left_by(node, epoch, after))
    }

    fn reap<'a>(
        &'a self,
        node: &'a NodeId,
        epoch: Epoch,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(self.reap(node, epoch))
    }
}
