//! `Heard`: what has come from each peer, so that what comes by pub/sub and by a stream is taken in the order it was said,
//! and once. Pure but for waking who waits; nothing here waits.
//!
//! A sender counts what it says by pub/sub ([`Turn`]). What it says by a stream names those counts, and waits here until
//! they have come. When a stream breaks, what was not acknowledged comes again by pub/sub with its number on the stream:
//! what has been taken from the stream already is passed over, and from then on the stream is not listened to.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::cluster::envelope::Turn;
use crate::protocol::NodeId;

/// Peers that are remembered, whether or not they are there.
pub(super) const MANY: usize = 1024;

/// Streams of a sender before its last one that are remembered. One is repeated from within a few seconds or never.
const REMEMBERED: usize = 16;

/// A stream from a peer: the sending process, and which of its streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamId {
    pub(super) process: u64,
    pub(super) stream: u64,
}

/// How much a sender has said by pub/sub: to all nodes, and to this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) all: u64,
    pub(super) direct: u64,
}

/// What one sender has said, as far as it came.
#[derive(Debug, Default)]
struct Sender {
    process: u64,
    said: Said,
    /// Its streams, the last one first: what was on one may come by pub/sub when the next has begun.
    streams: VecDeque<Stream>,
}

#[derive(Debug)]
struct Stream {
    id: u64,
    /// The last number taken from it.
    taken: u64,
    /// It is not listened to any more: what it still holds comes by pub/sub.
    is_cut: bool,
}

/// Whether something that came by pub/sub is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Word {
    /// It is.
    New,
    /// It had come by a stream that broke.
    Double,
    /// It comes by a stream as well, and counts there.
    Streamed,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::cluster) struct Heard {
    senders: Mutex<HashMap<NodeId, Sender>>,
    /// Something came by pub/sub.
    came: Notify,
}

impl Heard {
    /// Notes what came by pub/sub to this node, and says whether it is to be taken.
    pub(in crate::cluster) fn by_pub_sub(
        &self,
        (own, node): (&NodeId, &NodeId),
        turn: &Turn,
    ) -> Word {
        let mut senders = self.senders.lock();
        let sender = sender_of(&mut senders, node, turn.process);
        sender.said.all = sender.said.all.max(turn.all);
        sender.said.direct = sender.said.direct.max(turn.direct);
        let mut streams = sender.streams.iter_mut();
        let stream = streams.find(|stream| stream.id == turn.stream);
        let is_new = stream.is_none_or(|stream| {
            stream.is_cut = true;
            turn.number > stream.taken
        });
        drop(senders);
        self.came.notify_waiters();
        if !is_new {
            Word::Double
        } else if turn.streamed.iter().any(|node| node == own.as_str()) {
            Word::Streamed
        } else {
            Word::New
        }
    }

    /// A stream begins. What an earlier one of this sender still holds is not listened to.
    pub(super) fn begin(&self, node: &NodeId, id: StreamId) {
        let mut senders = self.senders.lock();
        let sender = sender_of(&mut senders, node, id.process);
        sender
            .streams
            .iter_mut()
            .for_each(|stream| stream.is_cut = true);
        sender.streams.truncate(REMEMBERED);
        sender.streams.push_front(Stream {
            id: id.stream,
            taken: 0,
            is_cut: false,
        });
    }

    /// Resolves once the sender's words by pub/sub up to there have come.
    pub(super) async fn caught_up(&self, node: &NodeId, id: StreamId, said: Said) {
        loop {
            let came = self.came.notified();
            tokio::pin!(came);
            came.as_mut().enable();
            if self.has_come(node, id, said) {
                return;
            }
            came.await;
        }
    }

    fn has_come(&self, node: &NodeId, id: StreamId, said: Said) -> bool {
        let mut senders = self.senders.lock();
        let sender = sender_of(&mut senders, node, id.process);
        sender.said.all >= said.all && sender.said.direct >= said.direct
    }

    /// They were waited for long enough: from now on they count as come.
    pub(super) fn give_up(&self, node: &NodeId, id: StreamId, said: Said) {
        let mut senders = self.senders.lock();
        let sender = sender_of(&mut senders, node, id.process);
        sender.said.all = sender.said.all.max(said.all);
        sender.said.direct = sender.said.direct.max(said.direct);
    }

    /// Takes everything on a stream up to this number; false: the stream is not listened to any more.
    pub(super) fn take(&self, node: &NodeId, id: StreamId, last: u64) -> bool {
        let mut senders = self.senders.lock();
        let sender = sender_of(&mut senders, node, id.process);
        let mut streams = sender.streams.iter_mut();
        let stream = streams.find(|stream| stream.id == id.stream && !stream.is_cut);
        stream.is_some_and(|stream| {
            stream.taken = stream.taken.max(last);
            true
        })
    }

    /// Forgets who is no peer any more, where there are many: one that was away may come back and repeat something.
    pub(super) fn keep(&self, is_peer: impl Fn(&NodeId) -> bool) {
        let mut senders = self.senders.lock();
        if senders.len() > MANY {
            senders.retain(|node, _| is_peer(node));
        }
    }
}

/// What is known of a sender; nothing, if it is another process than before.
fn sender_of<'a>(
    senders: &'a mut HashMap<NodeId, Sender>,
    node: &NodeId,
    process: u64,
) -> &'a mut Sender {
    let sender = senders.entry(node.clone()).or_default();
    if sender.process != process {
        *sender = Sender {
            process,
            ..Sender::default()
        };
    }
    sender
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const STREAM: StreamId = StreamId {
        process: 7,
        stream: 70,
    };

    fn turn(all: u64, direct: u64) -> Turn {
        Turn {
            process: 7,
            all,
            direct,
            ..Turn::default()
        }
    }

    fn again(number: u64) -> Turn {
        Turn {
            stream: 70,
            number,
            ..turn(0, 9)
        }
    }

    fn came(heard: &Heard, turn: &Turn) -> Word {
        heard.by_pub_sub((&NodeId::new("me"), &a()), turn)
    }

    fn a() -> NodeId {
        NodeId::new("a")
    }

    #[test]
    fn a_stream_waits_for_what_was_said_before_by_pub_sub() {
        let heard = Heard::default();
        heard.begin(&a(), STREAM);
        let said = |all, direct| Said { all, direct };
        let is_ready = |all, direct| {
            let node = a();
            let ready = heard.caught_up(&node, STREAM, said(all, direct));
            ready.now_or_never().is_some()
        };
        assert!(!is_ready(1, 0));
        assert_eq!(came(&heard, &turn(1, 0)), Word::New);
        assert!(is_ready(1, 0));
        assert!(!is_ready(1, 1));
        assert_eq!(came(&heard, &turn(1, 1)), Word::New);
        assert!(is_ready(1, 1));
        heard.give_up(&a(), STREAM, said(5, 5));
        assert!(is_ready(5, 5));
    }

    #[test]
    fn what_comes_again_by_pub_sub_is_taken_once_and_the_stream_is_over() {
        let heard = Heard::default();
        heard.begin(&a(), STREAM);
        assert!(heard.take(&a(), STREAM, 2));
        assert_eq!(
            came(&heard, &again(2)),
            Word::Double,
            "taken from the stream"
        );
        assert_eq!(came(&heard, &again(4)), Word::New, "of another caller");
        assert_eq!(came(&heard, &again(3)), Word::New);
        assert!(!heard.take(&a(), STREAM, 5), "comes again as well");
        let next = StreamId {
            stream: 71,
            ..STREAM
        };
        heard.begin(&a(), next);
        assert_eq!(came(&heard, &again(1)), Word::Double, "late, but taken");
        assert_eq!(came(&heard, &again(5)), Word::New);
        assert!(heard.take(&a(), next, 1), "the later one is not concerned");
    }

    #[test]
    fn what_comes_by_a_stream_as_well_counts_there_but_is_noted() {
        let heard = Heard::default();
        heard.begin(&a(), STREAM);
        let to = |nodes: &[&str]| Turn {
            streamed: nodes.iter().map(ToString::to_string).collect(),
            ..turn(1, 0)
        };
        assert_eq!(came(&heard, &to(&["b", "me"])), Word::Streamed);
        assert_eq!(came(&heard, &to(&["b"])), Word::New);
        assert!(heard.has_come(&a(), STREAM, Said { all: 1, direct: 0 }));
    }

    #[test]
    fn a_later_stream_and_a_later_process_begin_anew() {
        let heard = Heard::default();
        heard.begin(&a(), STREAM);
        assert!(heard.take(&a(), STREAM, 9));
        let next = StreamId {
            stream: 71,
            ..STREAM
        };
        heard.begin(&a(), next);
        assert!(!heard.take(&a(), STREAM, 10), "of the stream before");
        assert!(heard.take(&a(), next, 1));
        let process = StreamId {
            process: 8,
            stream: 1,
        };
        heard.begin(&a(), process);
        assert!(!heard.has_come(&a(), process, Said { all: 1, direct: 0 }));
        heard.keep(|node| *node != a());
        assert_eq!(heard.senders.lock().len(), 1, "it may come back");
        for n in 0..MANY {
            heard.begin(&NodeId::new(&n.to_string()), process);
        }
        heard.keep(|node| *node != a());
        assert_eq!(heard.senders.lock().len(), MANY);
    }
}
