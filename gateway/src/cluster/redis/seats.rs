//! `RedisSeats`: how many sessions a user has on all nodes, decided in one place when another one comes.
//!
//! A user's set holds `<session> <holder>` in the order they came by Redis' own clock; it is a set of its own since a session has its seat before
//! the directory hears of it. Sessions of holders without a live lease do not count and are removed by whoever finds them.
//! The set runs out unless the nodes repeat their sessions ([`RedisSeats::repeat`]), which also mends what was lost.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ::redis::{Pipeline, Script};

use super::keys::{field_holder, holder, parse_holder, session_text};
use super::{RedisCalls, RedisLink};
use crate::cluster::{Cluster, ClusterError};
use crate::protocol::{NodeId, SessionId, UserId};
use crate::telemetry::RedisPart;

/// How long a set is kept after it was last repeated.
const KEPT: Duration = Duration::from_mins(10);
/// Sessions in one pipeline.
const BATCH: usize = 512;
/// How often holders that nobody here had heard of are asked for.
const TRIES: usize = 4;
/// The length of a session's id as text.
const SESSION: usize = 36;

/// KEYS the set, then the leases of known holders · ARGV the new entry (empty: only look), the limit, `old` or `new`, how
/// long the set is kept in ms, then the known holders. Returns `in` and whom to kick, `full`, or `ask` and holders that are
/// not known: then nothing was done.
static SEAT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"
local alive = {}
for i = 5, #ARGV do
  local lease = redis.call('GET', KEYS[i - 3])
  alive[ARGV[i]] = lease and string.match(lease, '"epoch":(%d+)') == string.match(ARGV[i], '^(%d+)@') or false
end
local live, unknown = {}, {'ask'}
for _, entry in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local holder = string.sub(entry, 38)
  if entry == ARGV[1] then
  elseif alive[holder] == nil then unknown[#unknown + 1] = holder
  elseif alive[holder] then live[#live + 1] = entry
  else redis.call('ZREM', KEYS[1], entry) end
end
if #unknown > 1 then return unknown end
local limit = tonumber(ARGV[2])
if ARGV[3] == 'new' and #live >= limit then return {'full'} end
local answer = {'in'}
if ARGV[1] == '' then return answer end
for i = 1, #live + 1 - limit do
  redis.call('ZREM', KEYS[1], live[i])
  answer[#answer + 1] = live[i]
end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], string.format('%.0f', time[1] * 1000000 + time[2]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return answer
"#,
    )
});

/// Whether there was room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seating {
    /// There is; these sessions have to go for it.
    In(Vec<(SessionId, NodeId)>),
    /// There is none.
    Full,
}

/// Who has to go when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yields {
    /// The oldest sessions.
    Oldest,
    /// The one that comes.
    Newest,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct RedisSeats {
    link: RedisCalls,
}

impl RedisSeats {
    /// Over this link.
    pub fn new(link: &Arc<RedisLink>) -> Self {
        let link = link.calls(RedisPart::Limits);
        Self { link }
    }

    /// Gives a session of this node a seat, if there is one; `None`: only says whether there is.
    pub async fn take(
        &self,
        cluster: &Cluster,
        (user, session): (&UserId, Option<SessionId>),
        limit: usize,
        yields: Yields,
    ) -> Result<Seating, ClusterError> {
        let (node, epoch) = cluster.identity();
        let new = session.map(|session| entry(session, &holder(node, epoch)));
        let mut holders: BTreeSet<String> = {
            let view = cluster.peers().borrow().clone();
            view.live
                .iter()
                .map(|info| holder(&info.node, info.epoch))
                .collect()
        };
        holders.insert(holder(node, epoch));
        for _ in 0..TRIES {
            let mut call = SEAT.key(self.set(user));
            call.arg(new.as_deref().unwrap_or_default())
                .arg(limit)
                .arg(match yields {
                    Yields::Oldest => "old",
                    Yields::Newest => "new",
                })
                .arg(millis(KEPT));
            for holder in &holders {
                let node = parse_holder(holder).map(|(node, _)| node);
                let node = node.unwrap_or_else(|| NodeId::new(holder));
                call.key(self.link.keys.lease(&node)).arg(holder);
            }
            let answer: Vec<String> = self.link.run("session limit", &call).await?;
            match answer.split_first() {
                Some((word, kicked)) if word == "in" => return Ok(Seating::In(read(kicked))),
                Some((word, _)) if word == "full" => return Ok(Seating::Full),
                Some((word, unknown)) if word == "ask" => holders.extend(unknown.iter().cloned()),
                Some(_) | None => break,
            }
        }
        Err(ClusterError::Unreadable {
            operation: "session limit",
        })
    }

    /// Gives back the seats of sessions that have ended here.
    pub async fn leave(
        &self,
        cluster: &Cluster,
        gone: &[(UserId, SessionId)],
    ) -> Result<(), ClusterError> {
        self.each(cluster, gone, |pipeline, set, (_, entry)| {
            pipeline.cmd("ZREM").arg(set).arg(entry).ignore();
        })
        .await
    }

    /// Says again who is here.
    pub async fn repeat(
        &self,
        cluster: &Cluster,
        here: &[(UserId, SessionId)],
    ) -> Result<(), ClusterError> {
        self.each(cluster, here, |pipeline, set, (session, entry)| {
            let order = session.began_at_micros();
            let add = pipeline.cmd("ZADD").arg(&set).arg("NX");
            add.arg(order).arg(entry).ignore();
            pipeline.cmd("PEXPIRE").arg(set).arg(millis(KEPT)).ignore();
        })
        .await
    }

    async fn each(
        &self,
        cluster: &Cluster,
        sessions: &[(UserId, SessionId)],
        write: impl Fn(&mut Pipeline, String, (SessionId, String)),
    ) -> Result<(), ClusterError> {
        let (node, epoch) = cluster.identity();
        let holder = holder(node, epoch);
        for batch in sessions.chunks(BATCH) {
            let mut pipeline = Pipeline::new();
            for (user, session) in batch {
                let entry = entry(*session, &holder);
                write(&mut pipeline, self.set(user), (*session, entry));
            }
            let () = self.link.query("session limit", &pipeline).await?;
        }
        Ok(())
    }

    fn set(&self, user: &UserId) -> String {
        self.link.keys.seats(user)
    }
}

fn entry(session: SessionId, holder: &str) -> String {
    format!("{} {holder}", session_text(session))
}

fn read(entries: &[String]) -> Vec<(SessionId, NodeId)> {
    let read = |entry: &String| {
        let session = SessionId::parse(entry.get(..SESSION)?)?;
        Some((session, field_holder(entry)?.0))
    };
    entries.iter().filter_map(read).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
