//! `Journal`: the events that wait for one hook, written down in Redis, so that another node delivers them when theirs dies.
//!
//! The queue in memory is what is delivered from; the journal is only for survivors. Each process writes streams of its own,
//! one for each of its incarnations, and cuts off their fronts what has been delivered or given up. All keys of a hook lie
//! under its tag, and last for a day after the last word:
//!
//! | name | type | holds |
//! |---|---|---|
//! | `journals` | set | `<epoch> <number> <node>` of each stream that may hold something |
//! | `journal:<that>` | stream | `1-<n>` → the event as JSON, sealed |

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ::redis::{Pipeline, Script};
use bytes::Bytes;

use crate::cluster::ClusterError;
use crate::cluster::redis::{RedisCalls, RedisLink};
use crate::protocol::{Epoch, NodeId};
use crate::service::Event;
use crate::telemetry::RedisPart;
use crate::time::millis;

/// How long a journal lasts that nobody writes to: much longer than any event is tried.
const LIFE: Duration = Duration::from_hours(24);

/// KEYS journals, stream · ARGV the stream's name, life ms, then for each event its number and its text.
static WRITE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
for i = 3, #ARGV, 2 do redis.call('XADD', KEYS[2], '1-' .. ARGV[i], 'e', ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
",
    )
});

/// KEYS journals, stream · ARGV the stream's name. Forgets a stream in which nothing is left.
static CLOSE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('XLEN', KEYS[2]) > 0 then return 0 end
redis.call('DEL', KEYS[2])
return redis.call('SREM', KEYS[1], ARGV[1])
",
    )
});

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Journal {
    calls: RedisCalls,
    hook: Arc<str>,
    tag: Arc<str>,
}

/// The name of one stream: whose it is, and which of the streams of that incarnation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Stream {
    pub(super) node: NodeId,
    pub(super) epoch: Epoch,
    pub(super) number: u64,
}

/// Where an event is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) stream: Arc<Stream>,
    pub(super) number: u64,
}

/// The last entry of each stream among these.
pub(super) fn ends<'a>(entries: impl Iterator<Item = &'a Entry>) -> BTreeMap<Arc<Stream>, u64> {
    let mut ends = BTreeMap::new();
    for entry in entries {
        let end: &mut u64 = ends.entry(entry.stream.clone()).or_default();
        *end = (*end).max(entry.number);
    }
    ends
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            node,
            epoch,
            number,
        } = self;
        write!(f, "{epoch} {number} {node}")
    }
}

impl Stream {
    /// Reads what `Display` wrote.
    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.splitn(3, ' ');
        Some(Self {
            epoch: Epoch(parts.next()?.parse().ok()?),
            number: parts.next()?.parse().ok()?,
            node: NodeId::new(parts.next()?),
        })
    }
}

impl Journal {
    /// Of this hook.
    pub(super) fn new(link: &Arc<RedisLink>, hook: &str) -> Self {
        Self {
            calls: link.calls(RedisPart::Hooks),
            hook: hook.into(),
            tag: format!("hook:{hook}").into(),
        }
    }

    fn journals(&self) -> String {
        self.calls.key(&self.tag, "journals")
    }

    fn key(&self, stream: &Stream) -> String {
        self.calls.key(&self.tag, &format!("journal:{stream}"))
    }

    fn owner<'a>(&'a self, name: &'a str) -> [&'a [u8]; 3] {
        [b"hook", self.hook.as_bytes(), name.as_bytes()]
    }

    /// Writes events, numbered from this one on, behind all that are in the stream.
    pub(super) async fn write(
        &self,
        stream: &Stream,
        (first, events): (u64, &[Bytes]),
    ) -> Result<(), ClusterError> {
        let name = stream.to_string();
        let mut call = WRITE.key(self.journals());
        call.key(self.key(stream)).arg(&name).arg(millis(LIFE));
        for (number, event) in (first..).zip(events) {
            let sealed = self.calls.sealer().seal(&self.owner(&name), event);
            call.arg(number).arg(&*sealed);
        }
        self.calls.run("journal of a hook", &call).await
    }

    /// Cuts everything up to here off each of these streams.
    pub(super) async fn cut(&self, ends: &BTreeMap<Arc<Stream>, u64>) -> Result<(), ClusterError> {
        let mut pipeline = Pipeline::new();
        for (stream, end) in ends {
            let from = format!("1-{}", end.saturating_add(1));
            let key = self.key(stream);
            pipeline.cmd("XTRIM").arg(key).arg("MINID").arg(from);
        }
        let _: Vec<u64> = self.calls.query("journal of a hook", &pipeline).await?;
        Ok(())
    }

    /// Forgets a stream in which nothing is left.
    pub(super) async fn close(&self, stream: &Stream) -> Result<(), ClusterError> {
        let mut call = CLOSE.key(self.journals());
        call.key(self.key(stream)).arg(stream.to_string());
        let _: u8 = self.calls.run("journal of a hook", &call).await?;
        Ok(())
    }

    /// Every stream that may hold something.
    pub(super) async fn streams(&self) -> Result<Vec<Stream>, ClusterError> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("SMEMBERS").arg(self.journals());
        let (names,): (Vec<String>,) = self.calls.query("journal of a hook", &pipeline).await?;
        Ok(names
            .iter()
            .filter_map(|name| Stream::parse(name))
            .collect())
    }

    /// The first events in a stream, and the number of the last that was looked at; nothing: it is empty. What cannot be
    /// read any more, for want of its key, is passed over.
    pub(super) async fn read(
        &self,
        stream: &Stream,
        most: usize,
    ) -> Result<Option<(Vec<Event>, u64)>, ClusterError> {
        let mut pipeline = Pipeline::new();
        let read = pipeline.cmd("XRANGE").arg(self.key(stream));
        read.arg("-").arg("+").arg("COUNT").arg(most);
        let (entries,): (Vec<(String, Vec<Vec<u8>>)>,) =
            self.calls.query("journal of a hook", &pipeline).await?;
        let number = |id: &str| id.strip_prefix("1-")?.parse::<u64>().ok();
        let Some(last) = entries.last().and_then(|(id, _)| number(id)) else {
            return Ok(None);
        };
        let name = stream.to_string();
        let mut events = Vec::with_capacity(entries.len());
        for (id, mut fields) in entries {
            let sealed = Bytes::from(fields.pop().unwrap_or_default());
            let opened = self.calls.sealer().open(&self.owner(&name), &sealed).ok();
            let event = opened.and_then(|text| serde_json::from_slice(&text).ok());
            if event.is_none() {
                let hook = &*self.hook;
                tracing::warn!(hook, id, "an event that was left cannot be read");
            }
            events.extend(event);
        }
        Ok(Some((events, last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(node: &str, epoch: u64) -> Arc<Stream> {
        Arc::new(Stream {
            node: NodeId::new(node),
            epoch: Epoch(epoch),
            number: 7,
        })
    }

    #[test]
    fn a_stream_is_named_by_whose_it_is_and_read_back() {
        for node in ["chat-0", "a b c", ""] {
            let one = stream(node, 1_732_368_000_123_456);
            assert_eq!(Stream::parse(&one.to_string()).as_ref(), Some(&*one));
        }
        assert_eq!(Stream::parse("no number"), None);
    }

    #[test]
    fn what_is_over_is_cut_off_each_stream_up_to_its_last() {
        let (old, new) = (stream("a", 1), stream("a", 2));
        let entry = |stream: &Arc<Stream>, number| Entry {
            stream: stream.clone(),
            number,
        };
        let entries = [entry(&old, 8), entry(&old, 9), entry(&new, 1)];
        let wanted = BTreeMap::from([(old, 9), (new, 1)]);
        assert_eq!(ends(entries.iter()), wanted);
    }
}
