//! `RedisDesk`: the desk in Redis, everything under the tag `t` and so in one slot.
//!
//! | name | type | holds |
//! |---|---|---|
//! | `version` | string | the version |
//! | `desk` | hash | field → its text |
//! | `changed` | sorted set | field → the version that changed it last, gone ones too |
//! | `history` | sorted set | the last versions; whoever stands on an older one loads everything |
//! | `due` | sorted set | field → when its time comes |
//! | `heard` | sorted set | ticket → when something was said last |
//! | `done` | sorted set | the tokens of the last commits → the version each made |
//! | `untold` | sorted set | version, token and events of a commit that nobody has told of yet → its version |
//! | `closed` | sorted set | tickets that are over → when |
//! | `closed:<ticket>` | string, expires | a ticket that is over |
//! | `records:<ticket>` | stream, expires after the end | what happened |
//!
//! What a ticket says in words (its subject) is its customer's: the texts of fields, events, records and closed tickets are
//! sealed where contents are.
//!
//! Times are Redis' own. A version is Redis' clock in microseconds, or one more than the last: it never comes twice.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ::redis::{Pipeline, Script};
use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Commit, DeskStore, Due, HISTORY, Loaded, MAX_RECORDS, MAX_UNTOLD, Untold, Version};
use crate::cluster::ClusterError;
use crate::cluster::redis::{RedisCalls, RedisLink};
use crate::protocol::TicketId;
use crate::telemetry::RedisPart;
use crate::ticket::{Field, Millis, Record, Ticket};

/// The tag of all keys.
const TAG: &str = "t";
/// What a sealed text is: of one kind and name it cannot become one of another.
const FIELD: &[u8] = b"desk";
const RECORD: &[u8] = b"ticket record";
const CLOSED: &[u8] = b"closed ticket";
const UNTOLD: &[u8] = b"ticket steps";

/// KEYS version, desk, changed, history · ARGV since. Returns {version, ms, whole, {field, text or '', …}}.
static LOAD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local version = redis.call('GET', KEYS[1]) or '0'
if version == ARGV[1] then return {version, now, 0, {}} end
if ARGV[1] == '0' or not redis.call('ZSCORE', KEYS[4], ARGV[1]) then
  return {version, now, 1, redis.call('HGETALL', KEYS[2])}
end
local told = {}
for _, field in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[1], '+inf')) do
  told[#told + 1] = field
  told[#told + 1] = redis.call('HGET', KEYS[2], field) or ''
end
return {version, now, 0, told}
",
    )
});

/// KEYS version, desk, changed, history, due, heard, closed, done, untold, then one for each record and each closed ticket two (the
/// ticket, its records) · ARGV based on, keep ms, most records, history, numbers of fields, records and closed tickets,
/// token, most untold, events or '', then field, text or '', due or '' for each field; json for each record; id, json for each
/// closed ticket.
/// Returns the new version, or '0' if the store has moved on: then nothing was touched. A token that is known is answered
/// with what it made.
static COMMIT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local made = redis.call('ZSCORE', KEYS[8], ARGV[8])
if made then return string.format('%.0f', tonumber(made)) end
local version = redis.call('GET', KEYS[1]) or '0'
if version ~= ARGV[1] then return '0' end
if ARGV[10] ~= '' and redis.call('ZCARD', KEYS[9]) >= tonumber(ARGV[9]) then
  return redis.error_reply('FULL ' .. ARGV[9] .. ' commits of the ticket desk wait to be told of')
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local next = time[1] * 1000000 + time[2]
if next <= tonumber(version) then next = tonumber(version) + 1 end
next = string.format('%.0f', next)
local keep = tonumber(ARGV[2])
local key, at = 10, 11
for _ = 1, tonumber(ARGV[5]) do
  local field, text, due = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if text == '' then
    redis.call('HDEL', KEYS[2], field)
    if string.sub(field, 1, 2) == 't:' then redis.call('ZREM', KEYS[6], string.sub(field, 3)) end
  else
    redis.call('HSET', KEYS[2], field, text)
  end
  if due == '' then redis.call('ZREM', KEYS[5], field) else redis.call('ZADD', KEYS[5], due, field) end
  redis.call('ZADD', KEYS[3], next, field)
  at = at + 3
end
for _ = 1, tonumber(ARGV[6]) do
  redis.call('XADD', KEYS[key], 'MAXLEN', '~', ARGV[3], '*', 'r', ARGV[at])
  key, at = key + 1, at + 1
end
for _ = 1, tonumber(ARGV[7]) do
  redis.call('SET', KEYS[key], ARGV[at + 1], 'PX', keep)
  redis.call('PEXPIRE', KEYS[key + 1], keep)
  redis.call('ZADD', KEYS[7], now, ARGV[at])
  key, at = key + 2, at + 2
end
redis.call('ZREMRANGEBYSCORE', KEYS[7], '-inf', '(' .. string.format('%.0f', now - keep))
redis.call('ZADD', KEYS[4], next, next)
redis.call('ZADD', KEYS[8], next, ARGV[8])
redis.call('ZREMRANGEBYRANK', KEYS[8], 0, -tonumber(ARGV[4]) - 1)
local over = redis.call('ZCARD', KEYS[4]) - tonumber(ARGV[4])
if over > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, over - 1)
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', redis.call('ZRANGE', KEYS[4], 0, 0)[1])
end
if ARGV[10] ~= '' then redis.call('ZADD', KEYS[9], next, next .. ' ' .. ARGV[8] .. ' ' .. ARGV[10]) end
redis.call('SET', KEYS[1], next)
return next
",
    )
});

/// KEYS untold · ARGV age in microseconds, after which version, most. Those that seem to come from the future were made before
/// the clock went back: they are looked at when there is nothing else.
static UNTOLD_SINCE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local after, latest = '(' .. ARGV[2], string.format('%.0f', now - ARGV[1])
local old = redis.call('ZRANGEBYSCORE', KEYS[1], after, latest, 'LIMIT', 0, ARGV[3])
if #old > 0 then return old end
if now > tonumber(ARGV[2]) then after = '(' .. string.format('%.0f', now) end
return redis.call('ZRANGEBYSCORE', KEYS[1], after, '+inf', 'LIMIT', 0, ARGV[3])
",
    )
});

/// KEYS due, heard · ARGV most. Returns {field, the last message's time or '', …}.
static DUE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local told = {}
for _, field in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])) do
  told[#told + 1] = field
  told[#told + 1] = redis.call('ZSCORE', KEYS[2], string.sub(field, 3)) or ''
end
return told
",
    )
});

/// KEYS desk, heard · ARGV field, ticket.
static HEARD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[2], string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), ARGV[2])
return 1
",
    )
});

/// See the module.
#[derive(Debug)]
pub struct RedisDesk {
    link: RedisCalls,
}

impl RedisDesk {
    /// Over this link.
    pub fn new(link: &Arc<RedisLink>) -> Self {
        let link = link.calls(RedisPart::Tickets);
        Self { link }
    }

    fn key(&self, name: &str) -> String {
        self.link.key(TAG, name)
    }

    async fn load(&self, since: Version) -> Result<Loaded, ClusterError> {
        let script = &LOAD;
        let mut call = script.key(self.key("version"));
        call.key(self.key("desk"))
            .key(self.key("changed"))
            .key(self.key("history"))
            .arg(since.0);
        let (version, now, whole, told): (u64, Millis, u8, Vec<Vec<u8>>) =
            self.link.run("ticket load", &call).await?;
        let read = |(field, text): (Vec<u8>, Vec<u8>)| {
            let field = Field::parse(std::str::from_utf8(&field).ok()?)?;
            let text = (!text.is_empty()).then(|| self.open(FIELD, &field.to_string(), text));
            Some((field, text.flatten()))
        };
        Ok(Loaded {
            version: Version(version),
            now,
            whole: whole == 1,
            fields: pairs(told).filter_map(read).collect(),
        })
    }

    async fn commit(&self, commit: &Commit) -> Result<Option<Version>, ClusterError> {
        let script = &COMMIT;
        let mut call = script.key(self.key("version"));
        for name in [
            "desk", "changed", "history", "due", "heard", "closed", "done", "untold",
        ] {
            call.key(self.key(name));
        }
        call.arg(commit.based_on.0)
            .arg(commit.keep.max(1))
            .arg(MAX_RECORDS)
            .arg(HISTORY)
            .arg(commit.writes.len())
            .arg(commit.records.len())
            .arg(commit.closed.len())
            .arg(commit.token)
            .arg(MAX_UNTOLD)
            .arg(&*self.seal_events(commit));
        for write in &commit.writes {
            let due = write.due.map(|due| due.to_string());
            let field = write.field.to_string();
            let text = write.text.as_deref();
            let text = text.map(|text| self.seal(FIELD, &field, text));
            call.arg(field)
                .arg(&*text.unwrap_or_default())
                .arg(due.unwrap_or_default());
        }
        for record in &commit.records {
            let sealed = self.seal(RECORD, record.ticket.as_str(), &json(record));
            call.key(self.key(&format!("records:{}", record.ticket)))
                .arg(&*sealed);
        }
        for ticket in &commit.closed {
            call.key(self.key(&format!("closed:{}", ticket.id)))
                .key(self.key(&format!("records:{}", ticket.id)))
                .arg(ticket.id.as_str())
                .arg(&*self.seal(CLOSED, ticket.id.as_str(), &json(ticket)));
        }
        let version: u64 = self.link.run("ticket commit", &call).await?;
        Ok((version > 0).then_some(Version(version)))
    }

    fn seal_events(&self, commit: &Commit) -> Bytes {
        if commit.events.is_empty() {
            return Bytes::new();
        }
        // Which version it makes is not known yet.
        self.seal(UNTOLD, &commit.token.to_string(), &json(&commit.events))
    }

    async fn untold(
        &self,
        age: Duration,
        (after, most): (Version, usize),
    ) -> Result<Vec<Untold>, ClusterError> {
        let script = &UNTOLD_SINCE;
        let mut call = script.key(self.key("untold"));
        let micros = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        call.arg(micros).arg(after.0).arg(most);
        let texts: Vec<Vec<u8>> = self.link.run("ticket untold", &call).await?;
        let mut untold = Vec::with_capacity(texts.len());
        for text in texts {
            let Some((version, token, sealed)) = parts(&text) else {
                continue;
            };
            let events = self.open(UNTOLD, token, sealed.to_vec());
            match events.and_then(|events| serde_json::from_str(&events).ok()) {
                Some(events) => untold.push(Untold { version, events }),
                // What nobody can read nobody can tell: it would only fill the room for others.
                None => self.told(version).await?,
            }
        }
        Ok(untold)
    }

    async fn told(&self, version: Version) -> Result<(), ClusterError> {
        let mut pipeline = Pipeline::new();
        let key = self.key("untold");
        let remove = pipeline.cmd("ZREMRANGEBYSCORE").arg(key);
        remove.arg(version.0).arg(version.0).ignore();
        self.link.query("ticket told", &pipeline).await
    }

    async fn due(&self, most: usize) -> Result<Vec<Due>, ClusterError> {
        let script = &DUE;
        let mut call = script.key(self.key("due"));
        call.key(self.key("heard")).arg(most);
        let told: Vec<String> = self.link.run("ticket due", &call).await?;
        let due = pairs(told).filter_map(|(field, heard)| {
            Some(Due {
                field: Field::parse(&field)?,
                heard: heard.parse().ok(),
            })
        });
        Ok(due.collect())
    }

    async fn heard(&self, ticket: &TicketId) -> Result<(), ClusterError> {
        let script = &HEARD;
        let mut call = script.key(self.key("desk"));
        call.key(self.key("heard"))
            .arg(Field::Ticket(ticket.clone()).to_string())
            .arg(ticket.as_str());
        self.link.run("ticket heard", &call).await
    }

    async fn closed(&self, ids: &[TicketId]) -> Result<Vec<Ticket>, ClusterError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::new();
        let get = pipeline.cmd("MGET");
        for id in ids {
            get.arg(self.key(&format!("closed:{id}")));
        }
        let (texts,): (Vec<Option<Vec<u8>>>,) = self.link.query("ticket closed", &pipeline).await?;
        let read = |(id, text): (&TicketId, Option<Vec<u8>>)| {
            serde_json::from_str(&self.open(CLOSED, id.as_str(), text?)?).ok()
        };
        Ok(ids.iter().zip(texts).filter_map(read).collect())
    }

    async fn closed_page(&self, skip: usize, most: usize) -> Result<Vec<Ticket>, ClusterError> {
        let mut pipeline = Pipeline::new();
        pipeline
            .cmd("ZREVRANGE")
            .arg(self.key("closed"))
            .arg(skip)
            .arg(skip.saturating_add(most).saturating_sub(1));
        let (ids,): (Vec<String>,) = self.link.query("ticket closed", &pipeline).await?;
        let ids = ids.iter().filter_map(|id| TicketId::new(id).ok());
        self.closed(&ids.collect::<Vec<_>>()).await
    }

    async fn records(&self, ticket: &TicketId) -> Result<Vec<Record>, ClusterError> {
        let mut pipeline = Pipeline::new();
        pipeline
            .cmd("XRANGE")
            .arg(self.key(&format!("records:{ticket}")))
            .arg("-")
            .arg("+");
        let (entries,): (Vec<(String, Vec<Vec<u8>>)>,) =
            self.link.query("ticket records", &pipeline).await?;
        let read = |(_, mut entry): (String, Vec<Vec<u8>>)| {
            let text = self.open(RECORD, ticket.as_str(), entry.pop()?)?;
            serde_json::from_str(&text).ok()
        };
        Ok(entries.into_iter().filter_map(read).collect())
    }

    /// A text as it is kept: bound to what it belongs to.
    fn seal(&self, kind: &[u8], id: &str, text: &str) -> Bytes {
        let text = Bytes::copy_from_slice(text.as_bytes());
        self.link.sealer().seal(&[kind, id.as_bytes()], &text)
    }

    /// A text that was kept; nothing when it cannot be read any more, for want of its key.
    fn open(&self, kind: &[u8], id: &str, sealed: Vec<u8>) -> Option<String> {
        let opened = self
            .link
            .sealer()
            .open(&[kind, id.as_bytes()], &sealed.into());
        match opened {
            Ok(text) => String::from_utf8(text.into()).ok(),
            Err(error) => {
                tracing::warn!(id, %error, "what is kept of a ticket cannot be opened");
                None
            }
        }
    }
}

/// Strings, numbers and maps with string keys: nothing that JSON could refuse.
fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The version, the token and the sealed events of a commit.
fn parts(text: &[u8]) -> Option<(Version, &str, &[u8])> {
    let mut parts = text.splitn(3, |byte| *byte == b' ');
    let version = std::str::from_utf8(parts.next()?).ok()?;
    let token = std::str::from_utf8(parts.next()?).ok()?;
    Some((Version(version.parse().ok()?), token, parts.next()?))
}

fn pairs<T>(told: Vec<T>) -> impl Iterator<Item = (T, T)> {
    let mut told = told.into_iter();
    std::iter::from_fn(move || Some((told.next()?, told.next()?)))
}

impl DeskStore for RedisDesk {
    fn load(&self, since: Version) -> BoxFuture<'_, Result<Loaded, ClusterError>> {
        Box::pin(self.load(since))
    }

    fn commit<'a>(
        &'a self,
        commit: &'a Commit,
    ) -> BoxFuture<'a, Result<Option<Version>, ClusterError>> {
        Box::pin(self.commit(commit))
    }

    fn untold(
        &self,
        age: Duration,
        after_most: (Version, usize),
    ) -> BoxFuture<'_, Result<Vec<Untold>, ClusterError>> {
        Box::pin(self.untold(age, after_most))
    }

    fn told(&self, version: Version) -> BoxFuture<'_, Result<(), ClusterError>> {
        Box::pin(self.told(version))
    }

    fn due(&self, most: usize) -> BoxFuture<'_, Result<Vec<Due>, ClusterError>> {
        Box::pin(self.due(most))
    }

    fn heard<'a>(&'a self, ticket: &'a TicketId) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(self.heard(ticket))
    }

    fn closed<'a>(
        &'a self,
        tickets: &'a [TicketId],
    ) -> BoxFuture<'a, Result<Vec<Ticket>, ClusterError>> {
        Box::pin(self.closed(tickets))
    }

    fn closed_page(
        &self,
        skip: usize,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Ticket>, ClusterError>> {
        Box::pin(self.closed_page(skip, most))
    }

    fn records<'a>(
        &'a self,
        ticket: &'a TicketId,
    ) -> BoxFuture<'a, Result<Vec<Record>, ClusterError>> {
        Box::pin(self.records(ticket))
    }
}
