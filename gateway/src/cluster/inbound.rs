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
use super::envelope::{self, Content, Opened, Task};
use super::shared::Shared;
use super::status::bump;

/// Messages from peers that may wait for the hub; at 100,000 a second it is a sixth of a second.
const QUEUE: usize = 16_384;

/// Their bytes.
const QUEUE_BYTES: usize = 64 << 20;

/// See the module.
pub(super) struct Inbound {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Arrived>,
    bytes: Arc<AtomicUsize>,
}

pub(super) struct Arrived {
    task: Task,
    size: usize,
}

/// The other end: the task that hands over to the hub.
pub(super) struct Hand {
    local: Arc<dyn LocalNode>,
    queue: mpsc::Receiver<Arrived>,
    bytes: Arc<AtomicUsize>,
    shared: Arc<Shared>,
}

pub(super) fn inbound(shared: Arc<Shared>, local: Arc<dyn LocalNode>) -> (Inbound, Hand) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let bytes = Arc::new(AtomicUsize::new(0));
    let hand = Hand {
        local,
        queue: receiver,
        bytes: bytes.clone(),
        shared: shared.clone(),
    };
    (
        Inbound {
            shared,
            queue: sender,
            bytes,
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
    /// This node's own words come back on the channel of all; only the canary means something.
    fn own(&self, opened: &Opened) {
        if let Content::Canary(number) = opened.content {
            self.shared.canary.send_replace(number);
        } else if opened.epoch > self.shared.identity.epoch() {
            self.shared.look.notify_one();
        }
    }

    fn foreign(&self, opened: Opened, size: usize) {
        let view = self.shared.view();
        let known = view
            .peers
            .iter()
            .find(|peer| peer.node == opened.node)
            .map(|peer| peer.epoch);
        if known.is_some_and(|known| opened.epoch < known) {
            bump(&self.shared.stats.stale);
            return;
        }
        if known != Some(opened.epoch) {
            self.shared.look.notify_one();
        }
        match opened.content {
            Content::Canary(_) => {}
            Content::Membership => {
                self.shared.cache.clear();
                self.shared.look.notify_one();
            }
            Content::Moved(users) => self.shared.cache.moved(users),
            Content::Task(_) if view.fenced.is_some() => bump(&self.shared.stats.stale),
            Content::Task(task) => self.enqueue(Arrived { task, size }),
        }
    }

    fn enqueue(&self, arrived: Arrived) {
        let size = arrived.size;
        if self.bytes.fetch_add(size, Relaxed) + size > QUEUE_BYTES
            || self.queue.try_send(arrived).is_err()
        {
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
            self.hand_over(arrived.task).await;
        }
    }

    async fn hand_over(&self, task: Task) -> usize {
        match task {
            Task::Deliver(users, json) => self.local.deliver(&users, &json).await,
            Task::Broadcast(json) => self.local.broadcast(&json).await,
            Task::KickUser(user, reason) => self.local.kick_user(&user, &reason).await,
            Task::KickSession(session, reason) => self.local.kick_session(session, &reason).await,
        }
    }
}
