//! How long messages take through this shard: noted once per message when it is in every outbox, and once per turn when the
//! sockets have been written. Nothing is done per recipient.

use tokio::time::Instant;

use super::Shard;
use crate::hub::Outgoing;
use crate::protocol::TraceContext;
use crate::telemetry::Instruments;
use crate::telemetry::traces::Kind;

/// Messages of one turn that are looked at; of more, these stand for the rest.
pub(super) const NOTED_MAX: usize = 64;

/// A message in its outboxes, waiting for the end of the turn.
#[derive(Debug)]
pub(super) struct HandedOut {
    how: How,
    born: Instant,
    at: Instant,
    sessions: usize,
    trace: Option<TraceContext>,
}

/// How a message got into outboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// As it came.
    Live,
    /// Read from its log, for one session that had missed it.
    Read,
}

impl How {
    /// The name of its span.
    const fn span(self) -> &'static str {
        match self {
            Self::Live => "wsc.deliver",
            Self::Read => "wsc.catch_up",
        }
    }
}

impl Shard {
    /// A message is in the outbox of each of these sessions.
    pub(super) fn handed_out(&self, message: &Outgoing, sessions: usize) {
        let trace = message.parcel().trace;
        let wanted = trace.is_some() || self.context.instruments.collects();
        // Nobody will be written to in this turn: all are slow, or gone.
        if !wanted || sessions == 0 || self.dirty.borrow().is_empty() {
            return;
        }
        self.note(HandedOut {
            how: How::Live,
            born: message.born(),
            at: Instant::now(),
            sessions,
            trace,
        });
    }

    /// A message that was asked of its log then is in the outbox of one session. It is noted only if it is traced: how long
    /// it took is no matter of this node's.
    pub(super) fn caught_up(&self, message: &Outgoing, asked: Instant) {
        let trace = message.parcel().trace;
        if trace.is_some() {
            self.note(HandedOut {
                how: How::Read,
                born: asked,
                at: Instant::now(),
                sessions: 1,
                trace,
            });
        }
    }

    fn note(&self, message: HandedOut) {
        let mut noted = self.handed_out.borrow_mut();
        if noted.len() < NOTED_MAX {
            noted.push(message);
        }
    }

    /// The sockets have been written: what a slow one did not take is not waited for.
    pub(super) fn written_out(&self) {
        let mut noted = self.handed_out.borrow_mut();
        if noted.is_empty() {
            return;
        }
        let now = Instant::now();
        for message in noted.drain(..) {
            let instruments = &self.context.instruments;
            if message.how == How::Live {
                instruments.delivered(now.duration_since(message.born));
            }
            if message.trace.is_some() {
                record(instruments, &message, now);
            }
        }
    }
}

/// Two spans: from when this node had the message until it was in every outbox, and from then until the sockets had it.
fn record(instruments: &Instruments, message: &HandedOut, now: Instant) {
    let tracer = instruments.tracer();
    let Some(mut deliver) = tracer.span(message.how.span(), Kind::Consumer, message.trace) else {
        return;
    };
    deliver.began_before(now.duration_since(message.born));
    deliver.number("wsc.sessions", message.sessions as u64);
    let write = tracer.span("wsc.socket.write", Kind::Internal, Some(deliver.context()));
    let writing = now.duration_since(message.at);
    deliver.ended_before(writing);
    if let Some(mut write) = write {
        write.began_before(writing);
    }
}
