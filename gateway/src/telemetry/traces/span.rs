//! `Span`: one step of a message, from its beginning until it is dropped. Names and attributes are words of this program,
//! numbers and ids; never what was said, nor who said it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use super::TraceCounts;
use crate::protocol::TraceContext;

/// How a span stands to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Within this process.
    Internal,
    /// It answers a call.
    Server,
    /// It hands something to other nodes.
    Producer,
    /// It takes something that was handed over.
    Consumer,
}

/// A value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A word of this program.
    Word(&'static str),
    /// A count.
    Number(u64),
}

/// A span that is over.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) context: TraceContext,
    pub(super) parent: Option<[u8; 8]>,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
    pub(super) attributes: Vec<(&'static str, Value)>,
    pub(super) failure: Option<&'static str>,
}

/// See the module. Ends when it is dropped.
#[derive(Debug)]
pub struct Span {
    queue: mpsc::Sender<Ended>,
    counts: Arc<TraceCounts>,
    ended: Option<Ended>,
    context: TraceContext,
}

impl Span {
    pub(super) fn begin(
        queue: mpsc::Sender<Ended>,
        counts: Arc<TraceCounts>,
        (name, kind): (&'static str, Kind),
        parent: Option<TraceContext>,
    ) -> Self {
        let context = TraceContext {
            trace: parent.map_or_else(random, |parent| parent.trace),
            span: random(),
        };
        let now = SystemTime::now();
        Self {
            queue,
            counts,
            context,
            ended: Some(Ended {
                context,
                parent: parent.map(|parent| parent.span),
                name,
                kind,
                start: now,
                end: now,
                attributes: Vec::new(),
                failure: None,
            }),
        }
    }

    /// What follows is part of this.
    pub const fn context(&self) -> TraceContext {
        self.context
    }

    /// Says more of it: a word of this program.
    pub fn word(&mut self, name: &'static str, word: &'static str) {
        self.note(name, Value::Word(word));
    }

    /// Says more of it: a number.
    pub fn number(&mut self, name: &'static str, number: u64) {
        self.note(name, Value::Number(number));
    }

    /// It came to nothing, for this cause.
    pub fn failed(&mut self, cause: &'static str) {
        if let Some(ended) = &mut self.ended {
            ended.failure = Some(cause);
        }
    }

    /// It had begun so long before now.
    pub fn began_before(&mut self, ago: Duration) {
        if let Some(ended) = &mut self.ended
            && let Some(start) = ended.start.checked_sub(ago)
        {
            ended.start = start;
        }
    }

    /// It was over so long before now.
    pub fn ended_before(mut self, ago: Duration) {
        let end = SystemTime::now().checked_sub(ago);
        self.finish(end.unwrap_or_else(SystemTime::now));
    }

    fn note(&mut self, name: &'static str, value: Value) {
        if let Some(ended) = &mut self.ended {
            ended.attributes.push((name, value));
        }
    }

    fn finish(&mut self, end: SystemTime) {
        if let Some(ended) = self.ended.take() {
            let end = end.max(ended.start);
            if self.queue.try_send(Ended { end, ..ended }).is_err() {
                self.counts.queue_full.fetch_add(1, Relaxed);
            }
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.finish(SystemTime::now());
    }
}

/// Never zeros, which mean nothing.
fn random<const N: usize>() -> [u8; N] {
    loop {
        let bytes: [u8; N] = std::array::from_fn(|_| rand::random());
        if bytes != [0; N] {
            return bytes;
        }
    }
}
