//! `Inbound`: what arrives from other nodes, in order, to this node's hub.
//!
//! Events about the cluster itself (canary, membership, moves) take effect where they arrive, so that a busy hub never
//! delays them and a full queue never loses one. Messages and kicks wait in a queue bounded in number and bytes; past
//! the bound they are dropped and counted: delivery between nodes is at most once, and Redis must not be made to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::LocalNode;
use super::backend::Listener;
use super::envelope::{self, Content, Opened, Task, Trip};
use super::peers::{Heard, Word};
use super::returns::{Return, ReturnDesk};
use super::shared::Shared;
use super::status::bump;
use crate::protocol::{NodeId, UserId};

/// Messages from peers that may wait for the hub; at 100,000 a second it is a sixth of a second.
const QUEUE: usize = 16_384;

/// Places beside these that only kicks may take: whose rights ended must not stay because others talk much.
const KICKS: usize = 1_024;

/// Their bytes.
const QUEUE_BYTES: usize = 64 << 20;

/// See the module.
pub(super) struct Inbound {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Arrived>,
    bytes: Arc<AtomicUsize>,
    desk: ReturnDesk,
    local: Arc<dyn LocalNode>,
    heard: Arc<Heard>,
}

pub(super) struct Arrived {
    from: NodeId,
    task: Task,
    size: usize,
}

/// The other end: the task that hands over to the hub.
pub(super) struct Hand {
    local: Arc<dyn LocalNode>,
    queue: mpsc::Receiver<Arrived>,
    bytes: Arc<AtomicUsize>,
    shared: Arc<Shared>,
    desk: ReturnDesk,
}

pub(super) fn inbound(
    shared: Arc<Shared>,
    local: Arc<dyn LocalNode>,
    (desk, heard): (ReturnDesk, Arc<Heard>),
) -> (Inbound, Hand) {
    let (sender, receiver) = mpsc::channel(QUEUE + KICKS);
    let bytes = Arc::new(AtomicUsize::new(0));
    let hand = Hand {
        local: local.clone(),
        queue: receiver,
        bytes: bytes.clone(),
        shared: shared.clone(),
        desk: desk.clone(),
    };
    (
        Inbound {
            shared,
            queue: sender,
            bytes,
            desk,
            local,
            heard,
        },
        hand,
    )
}

impl Listener for Inbound {
    fn offer(&self, envelope: Bytes) {
        let size = envelope.len();
        match envelope::open(envelope) {
            Some(opened) if opened.node == self.shared.identity.node => self.own(&opened),
            Some(opened) => self.foreign(opened, size),
            None => {
                bump(&self.shared.stats.malformed);
                tracing::debug!(bytes = size, "an envelope that cannot be read");
            }
        }
    }
}

impl Inbound {
    /// This node's own words come back on the channel of all; only the canary means something, and a newer epoch: then
    /// another process speaks under this node's name.
    fn own(&self, opened: &Opened) {
        if let Content::Canary(number) = opened.content {
            if number == self.shared.flying.load(Relaxed) {
                self.shared.canary.send_replace(number);
            }
        } else if opened.epoch > self.shared.identity.epoch() && self.shared.view().fenced.is_none()
        {
            self.shared.doubt.notify_one();
        }
    }

    fn foreign(&self, opened: Opened, size: usize) {
        if let Some(turn) = &opened.turn {
            let nodes = (&self.shared.identity.node, &opened.node);
            match self.heard.by_pub_sub(nodes, turn) {
                Word::New => {}
                Word::Streamed => return,
                Word::Double => return bump(&self.shared.stats.doubles),
            }
        }
        let view = self.shared.view();
        let known = view
            .peers
            .iter()
            .find(|peer| peer.node == opened.node)
            .map(|peer| peer.epoch);
        if known.is_some_and(|known| opened.epoch < known) {
            bump(&self.shared.stats.stale);
            // Either its incarnation is over, or what this node knows is: the registry decides.
            self.shared.suspicion.notify_one();
            return;
        }
        if known != Some(opened.epoch) {
            self.shared.suspicion.notify_one();
        }
        match opened.content {
            Content::Canary(_) => {}
            Content::Membership => {
                self.shared.cache.clear();
                self.shared.look.notify_one();
            }
            Content::Revoked => self.shared.revoked.notify_one(),
            Content::Moved(users) => self.shared.cache.moved(users),
            // A membership must not be lost with what finds no room; it takes effect here.
            Content::GroupChange(change) => self.local.group_changed(change),
            Content::Task(_) | Content::Returned(..) if view.fenced.is_some() => {
                bump(&self.shared.stats.stale);
            }
            Content::Returned(users, parcel) => {
                self.shared.cache.moved(users.iter().cloned());
                self.desk.hand_in(Return::Again(users, parcel));
            }
            Content::Task(task) => self.enqueue(Arrived {
                from: opened.node,
                task,
                size,
            }),
        }
    }

    fn enqueue(&self, arrived: Arrived) {
        let size = arrived.size;
        let is_kick = matches!(arrived.task, Task::KickUser(..) | Task::KickSession(..));
        let bytes = self.bytes.fetch_add(size, Relaxed) + size;
        let is_full = bytes > QUEUE_BYTES || self.queue.capacity() <= KICKS;
        if (is_full && !is_kick) || self.queue.try_send(arrived).is_err() {
            self.bytes.fetch_sub(size, Relaxed);
            bump(&self.shared.stats.inbound_dropped);
        }
    }
}

impl Hand {
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        loop {
            let arrived = tokio::select! {
                () = cancel.cancelled() => return,
                arrived = self.queue.recv() => arrived,
            };
            let Some(arrived) = arrived else { return };
            self.bytes.fetch_sub(arrived.size, Relaxed);
            bump(&self.shared.stats.received);
            self.hand_over(arrived.from, arrived.task).await;
        }
    }

    async fn hand_over(&self, from: NodeId, task: Task) {
        match task {
            Task::Deliver(users, parcel, trip) => {
                let counts = self.local.deliver(&users, parcel.clone()).await;
                let not_here = users.into_iter().zip(counts);
                let not_here = not_here.filter(|(_, count)| *count == 0);
                let not_here: Vec<UserId> = not_here.map(|(user, _)| user).collect();
                if not_here.is_empty() {
                    return;
                }
                bump(&self.shared.stats.nobody_here);
                if trip == Trip::First {
                    self.desk.hand_in(Return::Back(from, not_here, parcel));
                }
            }
            Task::Group(group, parcel) => {
                // Nobody here: they left a moment ago, or have yet to be known.
                let _sessions = self.local.deliver_group(&group, parcel).await;
            }
            Task::Broadcast(parcel) => drop(self.local.broadcast(parcel).await),
            Task::KickUser(user, reason) => self.local.kick_user(&user, &reason).await,
            Task::KickSession(session, reason) => self.local.kick_session(session, &reason).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::cluster::returns::returns;
    use crate::cluster::shared::{Identity, Reach};
    use crate::cluster::wire::Wire;
    use crate::cluster::{NodeInfo, SessionRecord};
    use crate::group::Change;
    use crate::protocol::{Epoch, GroupId, Parcel, SessionId};

    struct Deaf;

    impl LocalNode for Deaf {
        fn deliver<'a>(&'a self, users: &'a [UserId], _: Parcel) -> BoxFuture<'a, Vec<usize>> {
            Box::pin(async { vec![0; users.len()] })
        }
        fn broadcast(&self, _: Parcel) -> BoxFuture<'_, usize> {
            Box::pin(async { 0 })
        }
        fn deliver_group<'a>(&'a self, _: &'a GroupId, _: Parcel) -> BoxFuture<'a, usize> {
            Box::pin(async { 0 })
        }
        fn group_changed(&self, _: Change) {}
        fn kick_user<'a>(&'a self, _: &'a UserId, _: &'a str) -> BoxFuture<'a, ()> {
            Box::pin(async {})
        }
        fn kick_session<'a>(&'a self, _: SessionId, _: &'a str) -> BoxFuture<'a, ()> {
            Box::pin(async {})
        }
        fn sessions(&self) -> BoxFuture<'_, Option<Vec<SessionRecord>>> {
            Box::pin(async { Some(Vec::new()) })
        }
        fn connections(&self) -> u64 {
            0
        }
    }

    fn who(node: &str, epoch: u64) -> Identity {
        Identity::new(NodeId::new(node), String::new(), Epoch(epoch))
    }

    fn knowing(peer: &str, epoch: u64) -> (Inbound, Hand) {
        let shared = Shared::new(who("me", 5), Arc::new(Wire::always_up()), Reach::Network);
        let (node, address) = (NodeId::new(peer), String::new());
        shared.see(vec![NodeInfo {
            node,
            epoch: Epoch(epoch),
            address,
            connections: 0,
            synced: true,
            beat: 1,
            leaving: false,
            door: None,
        }]);
        let shared = Arc::new(shared);
        // Its queue is closed, so whatever goes back is dropped and counted.
        let (desk, _) = returns(shared.clone());
        inbound(shared, Arc::new(Deaf), (desk, Arc::default()))
    }

    fn hello(from: &Identity) -> Bytes {
        envelope::deliver(from, [], &Bytes::from_static(b"{}").into())
    }

    #[test]
    fn an_incarnation_that_is_over_is_not_heard() {
        let (inbound, mut hand) = knowing("a", 7);
        inbound.offer(hello(&who("a", 6)));
        assert!(hand.queue.try_recv().is_err());
        assert_eq!(inbound.shared.stats.stale.load(Relaxed), 1);
        for heard in [who("a", 7), who("a", 8), who("new", 1)] {
            inbound.offer(hello(&heard));
            assert!(hand.queue.try_recv().is_ok());
        }
    }

    #[test]
    fn its_own_words_and_whatever_comes_while_fenced_are_not_heard() {
        let (inbound, mut hand) = knowing("a", 7);
        inbound.offer(hello(&who("me", 5)));
        inbound.shared.fence(Some(Epoch(6)));
        inbound.offer(hello(&who("a", 7)));
        assert!(hand.queue.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_message_for_whom_nobody_is_here_is_counted_and_goes_back_once() {
        for (trip, back) in [(Trip::First, 1), (Trip::Again, 0)] {
            let (_inbound, hand) = knowing("a", 7);
            let bob = UserId::new("bob").unwrap();
            let task = Task::Deliver(vec![bob], Bytes::from_static(b"{}").into(), trip);
            hand.hand_over(NodeId::new("a"), task).await;
            let stats = &hand.shared.stats;
            assert_eq!(stats.nobody_here.load(Relaxed), 1);
            assert_eq!(stats.returns_dropped.load(Relaxed), back, "{trip:?}");
        }
    }

    #[test]
    fn a_canary_of_another_process_of_this_name_does_not_hide_its_own() {
        let (inbound, _hand) = knowing("a", 7);
        inbound.shared.flying.store(5, Relaxed);
        for number in [5, 9] {
            inbound.offer(envelope::canary(&who("me", 5), number));
        }
        assert_eq!(*inbound.shared.canary.borrow(), 5);
    }

    #[test]
    fn past_its_bounds_it_drops_and_counts() {
        let (inbound, hand) = knowing("a", 7);
        for _ in 0..QUEUE + 3 {
            inbound.offer(hello(&who("a", 7)));
        }
        assert_eq!(
            (
                hand.queue.len(),
                inbound.shared.stats.inbound_dropped.load(Relaxed)
            ),
            (QUEUE, 3)
        );
        let who = who("a", 7);
        for _ in 0..=KICKS {
            let bob = UserId::new("bob").unwrap();
            inbound.offer(envelope::kick_user(&who, &bob, "enough".to_owned()));
        }
        assert_eq!(
            hand.queue.len(),
            QUEUE + KICKS,
            "kicks have places of their own"
        );
        let (inbound, hand) = knowing("a", 7);
        let big = envelope::deliver(&who, [], &Bytes::from(vec![b' '; QUEUE_BYTES / 4]).into());
        for _ in 0..5 {
            inbound.offer(big.clone());
        }
        assert_eq!(
            (
                hand.queue.len(),
                inbound.shared.stats.inbound_dropped.load(Relaxed)
            ),
            (3, 2)
        );
    }
}
