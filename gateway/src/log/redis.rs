//! `RedisLog`: logs as Redis Streams, the offset as the entry's id.
//!
//! Keys of one log share a hash tag of its own, so that logs spread over a Redis Cluster:
//!
//! | name | type | holds |
//! |---|---|---|
//! | `log` | stream | `<offset>-0` → id, time, whether to acknowledge, sender, the span it comes from if it is traced, the newest membership in a group's, JSON |
//! | `meta` | hash | epoch, head, the server's run id, ends of former epochs, offset and time of the oldest entry, until when its own life and that of the records were given, and for which retention |
//! | `acks` | hash | message id → a line for each message of that id that is to be acknowledged, see `scripts` |
//! | `records` | hash | `<name>` → time and place; `d:`, `r:`, `x:` and the name → time of that change |
//! | `seen:<name>` | string, expires | where a message stands that may be repeated |
//! | `positions` | hash | `inbox` → up to where the user has it |
//!
//! `<name>` is that of a message: the length of its sender's id, a colon, its sender, its id.

mod append;
mod due;
mod records;
mod sent;

use std::sync::Arc;

use ::redis::Pipeline;
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::{BoxFuture, try_join_all};

use super::scripts::{READ, SAW};
use super::{
    About, Append, AppendOutcome, Awaited, Batch, Entry, Gap, Log, MessageName, Most, Page, Record,
    Retention, SentPage, SentQuery, Word,
};
use crate::cluster::ClusterError;
use crate::cluster::redis::{RedisCalls, RedisLink};
use crate::group::Generation;
use crate::protocol::{LogId, Position, TraceContext, UserId};
use crate::telemetry::RedisPart;
use crate::time::millis;

/// How much of a log is gone through at once for a place in it.
const STRIDE: Most = Most {
    messages: 500,
    bytes: 4 << 20,
};

/// See the module.
#[derive(Debug)]
pub struct RedisLog {
    link: RedisCalls,
    retention: ArcSwap<Retention>,
    /// Whether a replica must have what is accepted.
    replicated: bool,
}

/// One entry as Redis gives it: the stream's id, then names and values of fields.
type Raw = (String, Vec<Vec<u8>>);

impl RedisLog {
    /// Over this link.
    pub fn new(link: &Arc<RedisLink>, retention: Retention, replicated: bool) -> Self {
        Self {
            link: link.calls(RedisPart::Logs),
            retention: ArcSwap::from_pointee(retention),
            replicated,
        }
    }

    fn retention(&self) -> Retention {
        **self.retention.load()
    }

    fn key(&self, log: &LogId, name: &str) -> String {
        let tag = match log {
            LogId::Inbox(user) => format!("u:{user}"),
            LogId::Group(group) => format!("g:{group}"),
            LogId::Ticket(ticket) => format!("t:{ticket}"),
            LogId::Broadcast => "b".to_owned(),
        };
        self.link.key(&tag, name)
    }

    async fn read(
        &self,
        log: &LogId,
        after: Option<Position>,
        most: Most,
    ) -> Result<Page, ClusterError> {
        let script = &READ;
        let mut call = script.prepare_invoke();
        call.key(self.key(log, "log")).key(self.key(log, "meta"));
        let from = after.unwrap_or_default();
        call.arg(from.epoch).arg(from.offset);
        call.arg(most.messages)
            .arg(millis(self.retention().age))
            .arg(most.bytes);
        let (epoch, head, lost, raw): (String, String, u8, Vec<Raw>) =
            self.link.run("read", &call).await?;
        let number = |text: &str| text.parse().map_err(|_| unreadable("read"));
        let head = Position {
            epoch: number(&epoch)?,
            offset: number(&head)?,
        };
        let name = log.to_string();
        let stored = raw.len();
        let last = raw.last().and_then(|(id, _)| offset(id));
        let end = last.map_or(head, |offset| Position { offset, ..head });
        let entries = raw.into_iter().filter_map(|raw| self.entry(&name, raw));
        let entries: Vec<Entry> = entries.collect();
        // What cannot be read any more, for want of its key, is lost for whoever wants it.
        let lost = lost == 1 || entries.len() < stored;
        Ok(Page {
            end,
            gap: gap(after, lost.then_some(Gap::Lost), head, &entries),
            entries,
            head,
        })
    }

    fn entry(&self, log: &str, (stream_id, mut fields): Raw) -> Option<Entry> {
        let offset = offset(&stream_id)?;
        let sealed = Bytes::from(fields.pop()?);
        let text = |field: usize| std::str::from_utf8(fields.get(field)?).ok();
        // What not every message has stands behind what all have.
        let further = |name: &str| {
            let mut names = (8..fields.len()).step_by(2);
            let place = names.find(|place| text(*place) == Some(name))?;
            text(place + 1)
        };
        let id = text(1)?;
        let json = match self.link.sealer().open(&owner(log, id), &sealed) {
            Ok(json) => json,
            Err(error) => {
                tracing::warn!(log, offset, %error, "a stored message cannot be opened");
                return None;
            }
        };
        Some(Entry {
            offset,
            id: id.to_owned(),
            sender: text(7).unwrap_or_default().to_owned(),
            at: text(3)?.parse().ok()?,
            ack: text(5)? == "1",
            trace: further("c").and_then(TraceContext::parse),
            newest: further("g").and_then(|newest| newest.parse().ok().map(Generation)),
            json,
        })
    }

    async fn head(&self, log: &LogId) -> Result<Position, ClusterError> {
        let mut pipeline = Pipeline::new();
        let meta = self.key(log, "meta");
        pipeline.cmd("HMGET").arg(meta).arg("e").arg("h");
        let ((epoch, offset),): ((Option<u64>, Option<u64>),) =
            self.link.query("head", &pipeline).await?;
        Ok(Position {
            epoch: epoch.unwrap_or_default(),
            offset: offset.unwrap_or_default(),
        })
    }

    /// The place before the first such message. What it goes by only grows along a log, but for steps of a clock; a reader by
    /// time expects no more than that.
    async fn before(
        &self,
        log: &LogId,
        is_wanted: impl Fn(&Entry) -> bool,
    ) -> Result<Option<Position>, ClusterError> {
        let mut after = None;
        loop {
            let page = self.read(log, after, STRIDE).await?;
            if let Some(first) = page.entries.iter().find(|entry| is_wanted(entry)) {
                let offset = first.offset.saturating_sub(1);
                return Ok(Some(Position {
                    offset,
                    ..page.head
                }));
            }
            if page.entries.is_empty() || !page.more() {
                return Ok((page.head.offset > 0).then_some(page.head));
            }
            after = Some(page.end);
        }
    }

    async fn seen(&self, user: &UserId) -> Result<Option<Position>, ClusterError> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HGET").arg(self.positions(user)).arg("inbox");
        let (seen,): (Option<String>,) = self.link.query("seen", &pipeline).await?;
        Ok(seen.and_then(|seen| seen.parse().ok()))
    }

    async fn saw(&self, user: &UserId, position: Position) -> Result<(), ClusterError> {
        let script = &SAW;
        let mut call = script.key(self.positions(user));
        call.arg("inbox")
            .arg(position.epoch)
            .arg(position.offset)
            .arg(millis(self.retention().age).saturating_mul(2));
        self.link.run("saw", &call).await
    }

    fn positions(&self, user: &UserId) -> String {
        self.link.key(&format!("u:{user}"), "positions")
    }
}

/// What a sealed message belongs to: it cannot be moved to another log or take another's name.
fn owner<'a>(log: &'a str, id: &'a str) -> [&'a [u8]; 3] {
    [b"log", log.as_bytes(), id.as_bytes()]
}

fn offset(stream_id: &str) -> Option<u64> {
    stream_id.strip_suffix("-0")?.parse().ok()
}

/// Whether messages are missing between the place named and what was read. Pure.
pub(super) fn gap(
    after: Option<Position>,
    lost: Option<Gap>,
    head: Position,
    entries: &[Entry],
) -> Option<Gap> {
    let next = after?.offset + 1;
    let first = entries
        .first()
        .map_or(head.offset + 1, |entry| entry.offset);
    lost.or_else(|| (first > next).then_some(Gap::Trimmed))
}

fn unreadable(operation: &'static str) -> ClusterError {
    ClusterError::Unreadable { operation }
}

impl Log for RedisLog {
    fn append<'a>(
        &'a self,
        log: &'a LogId,
        messages: &'a [Append],
    ) -> BoxFuture<'a, AppendOutcome> {
        Box::pin(async move {
            let outcomes = self.append_all(&[(log, messages)]).await;
            let outcome = outcomes.into_iter().next();
            outcome.unwrap_or_else(|| Err(unreadable("append")))
        })
    }

    fn append_all<'a>(&'a self, batch: &'a [Batch<'a>]) -> BoxFuture<'a, Vec<AppendOutcome>> {
        Box::pin(self.append_all(batch))
    }

    fn read<'a>(
        &'a self,
        log: &'a LogId,
        after: Option<Position>,
        most: Most,
    ) -> BoxFuture<'a, Result<Page, ClusterError>> {
        Box::pin(self.read(log, after, most))
    }

    fn heads<'a>(
        &'a self,
        logs: &'a [LogId],
    ) -> BoxFuture<'a, Result<Vec<Position>, ClusterError>> {
        Box::pin(try_join_all(logs.iter().map(|log| self.head(log))))
    }

    fn since<'a>(
        &'a self,
        log: &'a LogId,
        millis: u64,
    ) -> BoxFuture<'a, Result<Option<Position>, ClusterError>> {
        Box::pin(self.before(log, move |entry| entry.at >= millis))
    }

    fn joined<'a>(
        &'a self,
        log: &'a LogId,
        joined: Generation,
    ) -> BoxFuture<'a, Result<Option<Position>, ClusterError>> {
        Box::pin(self.before(log, move |entry| entry.is_after(joined)))
    }

    fn seen<'a>(
        &'a self,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<Option<Position>, ClusterError>> {
        Box::pin(self.seen(user))
    }

    fn saw<'a>(
        &'a self,
        user: &'a UserId,
        position: Position,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(self.saw(user, position))
    }

    fn acknowledge<'a>(
        &'a self,
        log: &'a LogId,
        by_about: (&'a UserId, About<'a>),
        word_at: (Word, u64),
    ) -> BoxFuture<'a, Result<Vec<String>, ClusterError>> {
        Box::pin(self.note_word(log, by_about, word_at))
    }

    fn remind<'a>(
        &'a self,
        awaited: &'a [Awaited],
        until: u64,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(self.remember(awaited, until))
    }

    fn due(
        &self,
        share: u8,
        now_limit: (u64, usize),
    ) -> BoxFuture<'_, Result<Vec<Awaited>, ClusterError>> {
        Box::pin(self.read_due(share, now_limit))
    }

    fn forget<'a>(&'a self, awaited: &'a [Awaited]) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(self.forget_due(awaited))
    }

    fn awaits<'a>(
        &'a self,
        log: &'a LogId,
        name: &'a MessageName,
        user: &'a UserId,
    ) -> BoxFuture<'a, Result<bool, ClusterError>> {
        Box::pin(self.read_awaits(log, name, user))
    }

    fn records<'a>(
        &'a self,
        log: &'a LogId,
        names: &'a [MessageName],
        now: u64,
    ) -> BoxFuture<'a, Result<Vec<Option<Record>>, ClusterError>> {
        Box::pin(self.read_records(log, names, now))
    }

    fn sent<'a>(
        &'a self,
        sender: &'a str,
        query: SentQuery,
        now: u64,
    ) -> BoxFuture<'a, Result<SentPage, ClusterError>> {
        Box::pin(async move { self.read_sent(sender, &query, now).await })
    }

    fn outlives_process(&self) -> bool {
        true
    }

    fn keep(&self, retention: Retention) {
        self.retention.store(Arc::new(retention));
    }
}
