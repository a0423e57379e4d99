//! `Sent`: which way each envelope goes, and under which number, so that peers can put both ways in order. Nothing here
//! waits: one short lock for each batch, held while what goes over streams is put into their queues.
//!
//! What is for all goes by pub/sub, since nobody knows for sure who all are, and over every open stream as well, so that
//! it does not overtake what was said to one before it; it says to whom it goes so.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use wsc_proto::cluster::Push;

use super::heard::{MANY, Said};
use super::outgoing::OpenStream;
use crate::cluster::Destination;
use crate::cluster::envelope::{self, Turn};
use crate::cluster::redis::ENVELOPES;
use crate::protocol::NodeId;
use crate::security::Sealer;

/// Larger envelopes go by pub/sub: one must not fill what a stream takes at a time.
const LARGE: usize = 1 << 20;
/// Bytes in one push, unless a single envelope is larger.
const PUSH_BYTES: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Sent {
    /// This process among all that have ever borne this node's name.
    pub(super) process: u64,
    own: NodeId,
    /// Seals what goes over streams; what goes by pub/sub is sealed there.
    sealer: Arc<Sealer>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// How much was said to all by pub/sub.
    all: u64,
    peers: HashMap<NodeId, Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    /// How much was said to it alone by pub/sub.
    direct: u64,
    /// The count of the last word to all that did not go over its stream as well.
    missed: u64,
    stream: Option<Arc<OpenStream>>,
}

/// An envelope of a batch: its place there, to whom, and its bytes.
pub(super) type Placed = (usize, Destination, Bytes);

/// What of a batch went over one stream.
#[derive(Debug)]
pub(super) struct Streamed {
    pub(super) node: NodeId,
    pub(super) stream: Arc<OpenStream>,
    pub(super) envelopes: Vec<Numbered>,
}

/// An envelope on a stream.
#[derive(Debug)]
pub(super) struct Numbered {
    /// Its place in the batch; nothing if it goes by pub/sub as well, which says how many receive it.
    pub(super) place: Option<usize>,
    /// Its number on the stream.
    pub(super) number: u64,
    /// Should it have to go again.
    pub(super) envelope: Bytes,
}

/// A batch, by the way that each part of it goes.
#[derive(Debug, Default)]
pub(super) struct Ways {
    pub(super) pub_sub: Vec<Placed>,
    pub(super) streams: Vec<Streamed>,
}

impl Sent {
    pub(super) fn new(own: NodeId, sealer: Arc<Sealer>) -> Self {
        Self {
            process: rand::random_range(1..=u64::MAX),
            own,
            sealer,
            table: Mutex::default(),
        }
    }

    /// Puts a batch on its way as far as it goes over streams; the rest is the caller's to publish, in this order.
    pub(super) fn send(&self, batch: Vec<(Destination, Bytes)>) -> Ways {
        let mut ways = Ways::default();
        let mut table = self.table.lock();
        // One way for each node in a batch, also when a stream breaks meanwhile: nothing must overtake what stands before
        // it. So what is too large for a stream takes the whole batch along.
        table.forget_broken();
        let streams_take_it = batch.iter().all(|(_, envelope)| envelope.len() <= LARGE);
        for (place, (to, envelope)) in batch.into_iter().enumerate() {
            match to {
                Destination::Node(node) => {
                    let stream = table.stream(&node).filter(|_| streams_take_it);
                    self.send_to_one((&mut table, &mut ways), (node, stream), place, envelope);
                }
                Destination::All => {
                    let streams = if streams_take_it {
                        table.streams()
                    } else {
                        Vec::new()
                    };
                    self.send_to_all((&mut table, &mut ways), streams, place, &envelope);
                }
            }
        }
        for streamed in &ways.streams {
            let said = table.said(&streamed.node);
            for push in self.pushes(streamed, said) {
                streamed.stream.push(push);
            }
        }
        ways
    }

    fn send_to_one(
        &self,
        (table, ways): (&mut Table, &mut Ways),
        (node, stream): (NodeId, Option<Arc<OpenStream>>),
        place: usize,
        envelope: Bytes,
    ) {
        if let Some(stream) = stream {
            return ways.over((node, &stream), Some(place), envelope);
        }
        let tagged = match self.to_one(table, &node) {
            Some(turn) => envelope::tagged(&envelope, turn),
            None => envelope,
        };
        let to = Destination::Node(node);
        ways.pub_sub.push((place, to, tagged));
    }

    fn send_to_all(
        &self,
        (table, ways): (&mut Table, &mut Ways),
        streams: Vec<(NodeId, Arc<OpenStream>)>,
        place: usize,
        envelope: &Bytes,
    ) {
        let tagged = envelope::tagged(envelope, self.to_all(table, &streams));
        ways.pub_sub.push((place, Destination::All, tagged));
        for (node, stream) in streams {
            ways.over((node, &stream), None, envelope.clone());
        }
    }

    /// The same envelopes by pub/sub, since their stream broke, each with its place in the batch. Whoever has taken them
    /// already passes them over.
    pub(super) fn again(&self, streamed: Streamed) -> Vec<(Option<usize>, Destination, Bytes)> {
        let mut table = self.table.lock();
        let stream = streamed.stream.id;
        let envelopes = streamed.envelopes.into_iter();
        let tagged = envelopes.filter_map(|numbered| {
            let turn = Turn {
                stream,
                number: numbered.number,
                ..self.to_one(&mut table, &streamed.node)?
            };
            let to = Destination::Node(streamed.node.clone());
            Some((
                numbered.place,
                to,
                envelope::tagged(&numbered.envelope, turn),
            ))
        });
        tagged.collect()
    }

    /// From now on what is for this node goes over the stream. What comes before it is this envelope, to be published.
    pub(super) fn open(&self, node: &NodeId, stream: Arc<OpenStream>, first: &Bytes) -> Bytes {
        let mut table = self.table.lock();
        let turn = self.to_one(&mut table, node).unwrap_or_default();
        let all = table.all;
        let peer = table.peers.entry(node.clone()).or_default();
        (peer.stream, peer.missed) = (Some(stream), all);
        envelope::tagged(first, turn)
    }

    /// From now on it does not, if it is still this stream.
    pub(super) fn close(&self, node: &NodeId, stream: &Arc<OpenStream>) {
        if let Some(peer) = self.table.lock().peers.get_mut(node) {
            peer.stream.take_if(|open| Arc::ptr_eq(open, stream));
        }
    }

    /// Forgets who is no peer any more.
    pub(super) fn keep(&self, is_peer: impl Fn(&NodeId) -> bool) {
        let mut table = self.table.lock();
        // Peers that are away for a while come back, and then go by the counts that they know.
        if table.peers.len() > MANY {
            let peers = &mut table.peers;
            peers.retain(|node, peer| peer.stream.is_some() || is_peer(node));
        }
    }

    /// The envelopes in pushes of a bounded size.
    fn pushes(&self, streamed: &Streamed, said: Said) -> Vec<Push> {
        let mut pushes: Vec<Push> = Vec::new();
        let mut bytes = 0;
        for Numbered {
            number, envelope, ..
        } in &streamed.envelopes
        {
            if pushes.is_empty() || bytes + envelope.len() > PUSH_BYTES {
                pushes.push(Push {
                    after_all: said.all,
                    after_direct: said.direct,
                    ..Push::default()
                });
                bytes = 0;
            }
            bytes += envelope.len();
            if let Some(push) = pushes.last_mut() {
                push.envelopes.push(self.sealer.seal(ENVELOPES, envelope));
                push.last = *number;
            }
        }
        pushes
    }

    /// The turn of a word to one node; nothing for its own, which come back, and are in no order with others'.
    fn to_one(&self, table: &mut Table, node: &NodeId) -> Option<Turn> {
        if *node == self.own {
            return None;
        }
        let peer = table.peers.entry(node.clone()).or_default();
        peer.direct += 1;
        Some(Turn {
            process: self.process,
            all: table.all,
            direct: peer.direct,
            ..Turn::default()
        })
    }

    /// The turn of a word to all that goes over these streams as well.
    fn to_all(&self, table: &mut Table, streams: &[(NodeId, Arc<OpenStream>)]) -> Turn {
        table.all += 1;
        let all = table.all;
        for (node, peer) in &mut table.peers {
            if !streams.iter().any(|(streamed, _)| streamed == node) {
                peer.missed = all;
            }
        }
        Turn {
            process: self.process,
            all,
            streamed: streams.iter().map(|(node, _)| node.to_string()).collect(),
            ..Turn::default()
        }
    }
}

impl Table {
    fn forget_broken(&mut self) {
        for peer in self.peers.values_mut() {
            peer.stream.take_if(|stream| stream.is_broken());
        }
    }

    fn stream(&self, node: &NodeId) -> Option<Arc<OpenStream>> {
        self.peers.get(node)?.stream.clone()
    }

    fn streams(&self) -> Vec<(NodeId, Arc<OpenStream>)> {
        let open = self.peers.iter();
        let open = open.filter_map(|(node, peer)| Some((node.clone(), peer.stream.clone()?)));
        open.collect()
    }

    /// What the node has been told by pub/sub alone.
    fn said(&self, node: &NodeId) -> Said {
        let peer = self.peers.get(node);
        Said {
            all: peer.map_or(0, |peer| peer.missed),
            direct: peer.map_or(0, |peer| peer.direct),
        }
    }
}

impl Ways {
    fn over(
        &mut self,
        (node, stream): (NodeId, &Arc<OpenStream>),
        place: Option<usize>,
        envelope: Bytes,
    ) {
        let numbered = Numbered {
            place,
            number: stream.next_number(),
            envelope,
        };
        let of_node = self.streams.iter_mut().find(|way| way.node == node);
        match of_node {
            Some(way) => way.envelopes.push(numbered),
            None => self.streams.push(Streamed {
                node,
                stream: Arc::clone(stream),
                envelopes: vec![numbered],
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::envelope::open;
    use crate::cluster::shared::Identity;
    use crate::protocol::Epoch;

    fn sent() -> Sent {
        Sent::new(NodeId::new("me"), Sealer::off())
    }

    fn to(node: &str) -> Destination {
        Destination::Node(NodeId::new(node))
    }

    fn canary() -> Bytes {
        let me = Identity::new(NodeId::new("me"), String::new(), Epoch(1));
        envelope::canary(&me, 1)
    }

    fn turns(ways: &Ways) -> Vec<Option<(u64, u64)>> {
        let turn = |(_, _, bytes): &Placed| {
            let turn = open(bytes.clone()).unwrap().turn?;
            Some((turn.all, turn.direct))
        };
        ways.pub_sub.iter().map(turn).collect()
    }

    #[test]
    fn what_goes_by_pub_sub_is_counted_by_whom_it_is_for() {
        let sent = sent();
        let batch = [to("a"), Destination::All, to("b"), to("a"), to("me")];
        let ways = sent.send(batch.map(|to| (to, canary())).into());
        assert_eq!(
            turns(&ways),
            [Some((0, 1)), Some((1, 0)), Some((1, 1)), Some((1, 2)), None]
        );
        assert!(ways.streams.is_empty());
    }

    #[test]
    fn a_stream_takes_what_is_for_its_node_until_it_breaks_and_then_it_goes_again() {
        let sent = sent();
        let node = NodeId::new("a");
        let (stream, mut pushed) = OpenStream::new();
        let first = sent.open(&node, stream.clone(), &canary());
        assert_eq!(open(first).unwrap().turn.unwrap().direct, 1);
        let batch = || [Destination::All, to("a"), to("b"), to("a")].map(|to| (to, canary()));
        let mut ways = sent.send(batch().into());
        assert_eq!(turns(&ways), [Some((1, 0)), Some((1, 1))]);
        let push = pushed.try_recv().unwrap();
        assert_eq!((push.envelopes.len(), push.last), (3, 3));
        assert_eq!((push.after_all, push.after_direct), (0, 1));
        let to_all = open(ways.pub_sub[0].2.clone()).unwrap().turn.unwrap();
        assert_eq!(to_all.streamed, ["a"]);
        stream.break_off();
        let again = sent.again(ways.streams.remove(0));
        let places: Vec<Option<usize>> = again.iter().map(|(place, ..)| *place).collect();
        assert_eq!(places, [None, Some(1), Some(3)]);
        let turn = open(again[1].2.clone()).unwrap().turn.unwrap();
        assert_eq!((turn.stream, turn.number, turn.direct), (stream.id, 2, 3));
        let ways = sent.send(batch().into());
        assert_eq!(ways.pub_sub.len(), 4);
        let (next, mut pushed) = OpenStream::new();
        sent.open(&node, next, &canary());
        sent.send(batch().into());
        assert_eq!(
            pushed.try_recv().unwrap().after_all,
            2,
            "it missed the second"
        );
    }

    #[test]
    fn large_envelopes_go_by_pub_sub_and_pushes_are_bounded() {
        let sent = sent();
        let (stream, mut pushed) = OpenStream::new();
        sent.open(&NodeId::new("a"), stream, &canary());
        let of = |bytes| (to("a"), Bytes::from(vec![0; bytes]));
        let ways = sent.send(vec![of(1), of(LARGE + 1), of(2)]);
        assert_eq!(ways.pub_sub.len(), 3, "or the large one would overtake");
        sent.send(vec![of(LARGE), of(1), of(2)]);
        let lasts = [(1, 1), (2, 3)].map(|_| {
            let push = pushed.try_recv().unwrap();
            (push.envelopes.len(), push.last)
        });
        assert_eq!(lasts, [(1, 1), (2, 3)]);
    }
}
