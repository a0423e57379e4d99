//! `RedisPresence`: who is online in Redis, and the stream of changes. What makes somebody come or leave happens in the
//! directory's scripts, in one step with its entries.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::Pipeline;
use futures_util::future::BoxFuture;

use super::directory::millis;
use super::scripts::{DEPART, DUE, SETTLE};
use super::{RedisCalls, RedisLink};
use crate::cluster::ClusterError;
use crate::cluster::presence::{OFFLINE_DELAY, Place, Presence, PresenceBook};
use crate::protocol::UserId;
use crate::telemetry::RedisPart;

/// Users per script: Redis is held for about a millisecond.
const USERS: usize = 256;

/// How long a mark outlives its reader's last word.
const MEMORY: Duration = Duration::from_hours(7 * 24);

/// See the module.
#[derive(Debug)]
pub struct RedisPresence {
    link: RedisCalls,
    delay: Duration,
}

/// An entry of the stream.
type Entry = (String, HashMap<String, String>);

impl RedisPresence {
    /// Over this link.
    pub fn new(link: &Arc<RedisLink>) -> Self {
        Self {
            link: link.calls(RedisPart::Presence),
            delay: OFFLINE_DELAY,
        }
    }

    /// Who is nowhere for so long is offline.
    #[must_use]
    pub fn offline_after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    async fn settle(&self) -> Result<Option<Duration>, ClusterError> {
        let keys = &self.link.keys;
        let script = &DUE;
        let mut call = script.key(keys.leaving());
        call.arg(USERS);
        let (pause, due): (i64, Vec<String>) = self.link.run("presence", &call).await?;
        let users: Vec<UserId> = due.iter().filter_map(|id| UserId::new(id).ok()).collect();
        if users.is_empty() {
            return Ok(u64::try_from(pause).ok().map(Duration::from_millis));
        }
        let script = &SETTLE;
        let mut call = script.key(keys.leaving());
        call.key(keys.changes());
        for user in &users {
            call.key(keys.at(user))
                .key(keys.presence(user))
                .arg(user.as_str());
        }
        let _: u8 = self.link.run("presence", &call).await?;
        // Those who were due may not have been all.
        Ok(Some(Duration::ZERO))
    }

    async fn depart(&self, users: &[UserId]) -> Result<(), ClusterError> {
        let keys = &self.link.keys;
        for users in users.chunks(USERS) {
            let script = &DEPART;
            let mut call = script.key(keys.leaving());
            call.key(keys.changes()).arg(millis(self.delay));
            for user in users {
                call.key(keys.at(user)).arg(user.as_str());
            }
            let _: u8 = self.link.run("presence", &call).await?;
        }
        Ok(())
    }

    async fn states(&self, users: &[UserId]) -> Result<Vec<Presence>, ClusterError> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(1);
        let command = pipeline.cmd("MGET");
        for user in users {
            command.arg(self.link.keys.presence(user));
        }
        let (states,): (Vec<Option<String>>,) = self.link.query("presence", &pipeline).await?;
        let read = |(user, state): (&UserId, Option<String>)| {
            let known = state.as_deref().and_then(|state| parse_state(user, state));
            known.unwrap_or_else(|| Presence::unknown(user.clone()))
        };
        Ok(users.iter().zip(states).map(read).collect())
    }

    async fn last(&self) -> Result<Place, ClusterError> {
        let mut pipeline = Pipeline::new();
        let command = pipeline.cmd("XREVRANGE").arg(self.link.keys.changes());
        command.arg("+").arg("-").arg("COUNT").arg(1);
        let (last,): (Vec<Entry>,) = self.link.query("presence", &pipeline).await?;
        let place = last.first().and_then(|(place, _)| place.parse().ok());
        Ok(place.unwrap_or_default())
    }

    async fn changes(
        &self,
        after: Place,
        limit: usize,
    ) -> Result<Vec<(Place, Presence)>, ClusterError> {
        let mut pipeline = Pipeline::new();
        let command = pipeline.cmd("XRANGE").arg(self.link.keys.changes());
        command
            .arg(format!("({after}"))
            .arg("+")
            .arg("COUNT")
            .arg(limit);
        let (entries,): (Vec<Entry>,) = self.link.query("presence", &pipeline).await?;
        Ok(entries.iter().filter_map(parse_change).collect())
    }

    async fn mark(&self, reader: &str) -> Result<Option<Place>, ClusterError> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("GET").arg(self.link.keys.mark(reader));
        let (mark,): (Option<String>,) = self.link.query("presence", &pipeline).await?;
        Ok(mark.and_then(|mark| mark.parse().ok()))
    }

    async fn set_mark(&self, reader: &str, place: Place) -> Result<(), ClusterError> {
        let mut pipeline = Pipeline::new();
        let command = pipeline.cmd("SET").arg(self.link.keys.mark(reader));
        command
            .arg(place.to_string())
            .arg("EX")
            .arg(MEMORY.as_secs());
        let (_,): (String,) = self.link.query("presence", &pipeline).await?;
        Ok(())
    }
}

fn parse_state(user: &UserId, state: &str) -> Option<Presence> {
    let (online, generation) = state.split_once(' ')?;
    Some(Presence {
        user: user.clone(),
        online: online == "1",
        generation: generation.parse().ok()?,
    })
}

fn parse_change((place, fields): &Entry) -> Option<(Place, Presence)> {
    let change = Presence {
        user: UserId::new(fields.get("u")?).ok()?,
        online: fields.get("o")? == "1",
        generation: fields.get("g")?.parse().ok()?,
    };
    Some((place.parse().ok()?, change))
}

impl PresenceBook for RedisPresence {
    fn settle(&self) -> BoxFuture<'_, Result<Option<Duration>, ClusterError>> {
        Box::pin(self.settle())
    }

    fn depart<'a>(&'a self, users: &'a [UserId]) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(self.depart(users))
    }

    fn states<'a>(
        &'a self,
        users: &'a [UserId],
    ) -> BoxFuture<'a, Result<Vec<Presence>, ClusterError>> {
        Box::pin(self.states(users))
    }

    fn last(&self) -> BoxFuture<'_, Result<Place, ClusterError>> {
        Box::pin(self.last())
    }

    fn changes(
        &self,
        after: Place,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Place, Presence)>, ClusterError>> {
        Box::pin(self.changes(after, limit))
    }

    fn mark<'a>(&'a self, reader: &'a str) -> BoxFuture<'a, Result<Option<Place>, ClusterError>> {
        Box::pin(self.mark(reader))
    }

    fn set_mark<'a>(
        &'a self,
        reader: &'a str,
        place: Place,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(self.set_mark(reader, place))
    }
}
