//! `Courier`: carries work for other nodes, in order, in batches: one lookup for the users not cached, one publish.
//!
//! A message crosses once per node that holds a recipient, never once per user. One task drains one queue, so the order
//! between any sender and any recipient is the order in which work was handed in. While the link is down everything
//! fails at once; nothing piles up. The plan of a batch is pure and lives in `plan`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use self::plan::{Known, Plan};
use super::shared::Shared;
use super::{Broker, ClusterError, Directory, Forward, Holding, Interest};
use crate::protocol::{GroupId, NodeId, UserId};

mod plan;

/// Work that may wait: four batches, a few tens of milliseconds.
const QUEUE: usize = 2_048;

/// Its bytes, in KiB; beside it since a message may have a mebibyte.
const QUEUE_KIB: u32 = 64 << 10;

/// Work per batch, and its bytes: what one pipeline carries without holding Redis for long.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 4 << 20;

/// Where senders hand in work.
pub(super) struct Counter {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
}

struct Job {
    work: Forward,
    room: OwnedSemaphorePermit,
}

/// See the module.
pub(super) struct Courier {
    shared: Arc<Shared>,
    directory: Arc<dyn Directory>,
    interest: Arc<dyn Interest>,
    broker: Arc<dyn Broker>,
    queue: mpsc::Receiver<Job>,
}

pub(super) fn courier(
    shared: Arc<Shared>,
    (directory, interest): (Arc<dyn Directory>, Arc<dyn Interest>),
    broker: Arc<dyn Broker>,
) -> (Counter, Courier) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let room = Arc::new(Semaphore::new(QUEUE_KIB as usize));
    let counter = Counter {
        shared: shared.clone(),
        queue: sender,
        room,
    };
    (
        counter,
        Courier {
            shared,
            directory,
            interest,
            broker,
            queue,
        },
    )
}

impl Counter {
    /// How much work waits.
    pub(super) fn waiting(&self) -> u64 {
        (self.queue.max_capacity() - self.queue.capacity()) as u64
    }

    /// Waits for room until the deadline; the report is called in any case.
    pub(super) async fn hand_in(&self, work: Forward, deadline: Instant) {
        if let Err(error) = self.shared.check() {
            return fail(&self.shared, work, error);
        }
        let kib = u32::try_from(work.bytes() / 1024 + 1)
            .unwrap_or(QUEUE_KIB)
            .min(QUEUE_KIB);
        let room = timeout_at(deadline, async {
            let room = self.room.clone().acquire_many_owned(kib).await.ok()?;
            Some((room, self.queue.reserve().await.ok()?))
        });
        match room.await {
            Ok(Some((room, place))) => place.send(Job { work, room }),
            Ok(None) => fail(&self.shared, work, ClusterError::Disconnected),
            Err(_) => fail(&self.shared, work, ClusterError::Busy),
        }
    }
}

/// Each node with the newest number that is known of it.
fn add(known: &mut BTreeMap<NodeId, u64>, holders: Vec<Holding>) {
    for (node, number) in holders {
        let newest = known.entry(node).or_default();
        *newest = number.max(*newest);
    }
}

fn fail(shared: &Shared, work: Forward, error: ClusterError) {
    shared.stats.failed(&error);
    work.report(Err(error));
}

impl Courier {
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                job = self.queue.recv() => job,
            };
            let Some(first) = first else { break };
            let batch = self.gather(first);
            self.carry(batch).await;
        }
        self.queue.close();
        while let Ok(job) = self.queue.try_recv() {
            fail(&self.shared, job.work, ClusterError::Disconnected);
        }
    }

    fn gather(&mut self, first: Job) -> Vec<Job> {
        let mut bytes = first.work.bytes();
        let mut batch = vec![first];
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Ok(job) = self.queue.try_recv() else {
                break;
            };
            bytes += job.work.bytes();
            batch.push(job);
        }
        batch
    }

    async fn carry(&self, batch: Vec<Job>) {
        if let Err(error) = self.shared.check() {
            for job in batch {
                fail(&self.shared, job.work, error.clone());
            }
            return;
        }
        // The room is given back when the work is done.
        let (mut work, _rooms): (Vec<Forward>, Vec<OwnedSemaphorePermit>) =
            batch.into_iter().map(|job| (job.work, job.room)).unzip();
        let users = work.iter().flat_map(Forward::users).cloned().collect();
        let groups = self.holders(&mut work).await;
        match self.look_up(users).await {
            Ok(users) => self.publish(work, Known { users, groups }).await,
            Err(error) => {
                // What goes to all nodes, or to those of a group, does not depend on where anyone is.
                let (lost, others): (Vec<Forward>, Vec<Forward>) = work
                    .into_iter()
                    .partition(|work| matches!(work, Forward::Users { .. }));
                for work in lost {
                    fail(&self.shared, work, error.clone());
                }
                let users = HashMap::new();
                self.publish(others, Known { users, groups }).await;
            }
        }
    }

    /// The nodes that get the messages of the groups in this batch. No event tells of their changes: they came with the
    /// message, or are asked for now. Of several messages to a group each goes wherever any of them is to go, since the one
    /// that was let through last need not stand last.
    async fn holders(&self, work: &mut [Forward]) -> HashMap<GroupId, Vec<Holding>> {
        let mut known: HashMap<GroupId, BTreeMap<NodeId, u64>> = HashMap::new();
        let mut unknown: HashSet<GroupId> = HashSet::new();
        for work in work {
            let Forward::Group { group, holders, .. } = work else {
                continue;
            };
            match holders.take() {
                Some(told) => add(known.entry(group.clone()).or_default(), told),
                None => _ = unknown.insert(group.clone()),
            }
        }
        if !unknown.is_empty() {
            let unknown: Vec<GroupId> = unknown.into_iter().collect();
            match self.interest.holders(&unknown).await {
                Ok(asked) => {
                    for (group, nodes) in unknown.into_iter().zip(asked) {
                        add(known.entry(group).or_default(), nodes);
                    }
                }
                // What was stored must not go by less than is true now.
                Err(_) => known.retain(|group, _| !unknown.contains(group)),
            }
        }
        let own = &self.shared.identity.node;
        let others = |nodes: BTreeMap<NodeId, u64>| {
            let others = nodes.into_iter().filter(|(node, _)| node != own);
            others.collect()
        };
        let known = known.into_iter();
        known.map(|(group, nodes)| (group, others(nodes))).collect()
    }

    /// Where everybody in this batch is, from the cache or in one lookup.
    async fn look_up(
        &self,
        users: Vec<UserId>,
    ) -> Result<HashMap<UserId, Vec<NodeId>>, ClusterError> {
        let mut known: HashMap<UserId, Vec<NodeId>> = HashMap::new();
        let mut missing: Vec<UserId> = Vec::new();
        for user in users {
            if known.contains_key(&user) {
                continue;
            }
            let cached = self.shared.cache.get(&user);
            if cached.is_none() {
                missing.push(user.clone());
            }
            known.insert(user, cached.unwrap_or_default());
        }
        self.shared
            .stats
            .cache_hits
            .fetch_add((known.len() - missing.len()) as u64, Relaxed);
        self.shared
            .stats
            .cache_misses
            .fetch_add(missing.len() as u64, Relaxed);
        if missing.is_empty() {
            return Ok(known);
        }
        self.shared.cache.begin();
        let mut found = self.directory.nodes_of(&missing).await?;
        // That somebody is nowhere is not remembered: they may have been welcomed on a node that has yet to write it. Of
        // some it is known that they have: those are asked.
        let is_somewhere: Vec<bool> = found.iter().map(|nodes| !nodes.is_empty()).collect();
        let view = self.shared.view();
        let unwritten = || view.peers.iter().filter(|peer| !peer.synced);
        for nodes in found.iter_mut().filter(|nodes| nodes.is_empty()) {
            nodes.extend(unwritten().map(|peer| peer.node.clone()));
        }
        for nodes in &mut found {
            nodes.retain(|node| *node != self.shared.identity.node);
        }
        known.extend(missing.iter().cloned().zip(found.iter().cloned()));
        let answers = missing.into_iter().zip(found).zip(is_somewhere);
        let worth_keeping = answers.filter_map(|(answer, somewhere)| somewhere.then_some(answer));
        self.shared.cache.finish(worth_keeping);
        Ok(known)
    }

    async fn publish(&self, work: Vec<Forward>, known: Known) {
        // Whose nodes could not be asked for is in the group's log all the same.
        let (work, lost): (Vec<Forward>, Vec<Forward>) = work.into_iter().partition(|work| {
            let group = work.group();
            group.is_none_or(|group| known.groups.contains_key(group))
        });
        for work in lost {
            fail(&self.shared, work, ClusterError::Disconnected);
        }
        let mut plan = Plan::make(&self.shared.identity, work, &known);
        let envelopes = std::mem::take(&mut plan.envelopes);
        let received = if envelopes.is_empty() {
            Ok(Vec::new())
        } else {
            self.broker.publish(envelopes).await
        };
        match received {
            Ok(received) => {
                let outcome = plan.report(&received, &known);
                self.shared
                    .stats
                    .forwarded
                    .fetch_add(outcome.handed_over, Relaxed);
                if !outcome.nobody_there.is_empty() {
                    // A node that no longer listens is gone or cut off: do not believe what was cached of it.
                    self.shared.cache.moved(outcome.nobody_there);
                    self.shared.suspicion.notify_one();
                }
                for (group, node, number) in outcome.deaf {
                    // It asks anew when it is back.
                    self.shared.suspicion.notify_one();
                    let _later = self.interest.release(&node, &group, number).await;
                }
            }
            Err(error) => {
                for work in plan.work {
                    fail(&self.shared, work, error.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::cluster::Cluster;
    use bytes::Bytes;
    use futures_util::future::BoxFuture;
    use tokio::sync::oneshot;

    use super::*;
    use crate::cluster::memory::{MemoryDirectory, MemoryInterest, MemoryStore};
    use crate::cluster::shared::{Identity, Reach};
    use crate::cluster::wire::Wire;
    use crate::cluster::{
        Destination, ForwardReport, Left, OnlinePage, SessionChange, SessionRecord,
    };
    use crate::protocol::Epoch;

    /// Takes and never answers.
    struct Stuck;

    impl Broker for Stuck {
        fn publish(
            &self,
            _: Vec<(Destination, Bytes)>,
        ) -> BoxFuture<'_, Result<Vec<u64>, ClusterError>> {
            Box::pin(std::future::pending())
        }
    }

    fn stuck() -> (Counter, Courier) {
        let identity = Identity::new(NodeId::new("me"), String::new(), Epoch(1));
        let shared = Shared::new(identity, Arc::new(Wire::always_up()), Reach::Network);
        shared.establish(1);
        let store = MemoryStore::new();
        let directory = Arc::new(MemoryDirectory::new(store.clone()));
        let interest = Arc::new(MemoryInterest::new(store));
        courier(Arc::new(shared), (directory, interest), Arc::new(Stuck))
    }

    type Told = oneshot::Receiver<Result<Vec<usize>, ClusterError>>;

    fn broadcast(bytes: usize) -> (Forward, Told) {
        let (tell, told) = oneshot::channel();
        let report: ForwardReport = Box::new(move |outcome| drop(tell.send(outcome)));
        (
            Forward::Broadcast {
                parcel: Bytes::from(vec![b' '; bytes]).into(),
                report,
            },
            told,
        )
    }

    fn soon() -> Instant {
        Instant::now() + Cluster::PATIENCE
    }

    #[tokio::test]
    async fn a_full_queue_is_busy_after_a_second_by_number_and_by_bytes() {
        for (bytes, fits) in [(1, QUEUE), (1 << 20, 63)] {
            let (counter, _courier) = stuck();
            for _ in 0..fits {
                counter.hand_in(broadcast(bytes).0, soon()).await;
            }
            let (one_more, told) = broadcast(bytes);
            let start = tokio::time::Instant::now();
            counter.hand_in(one_more, soon()).await;
            assert!(matches!(told.await.unwrap(), Err(ClusterError::Busy)));
            assert!(start.elapsed() >= Cluster::PATIENCE);
        }
    }

    /// Cannot say where anyone is.
    struct Blind;

    impl Blind {
        fn refuse<'a, T: 'a>() -> BoxFuture<'a, Result<T, ClusterError>> {
            Box::pin(async { Err(ClusterError::Busy) })
        }
    }

    impl Directory for Blind {
        fn apply<'a>(
            &'a self,
            _: &'a NodeId,
            _: Epoch,
            _: &'a [SessionChange],
        ) -> BoxFuture<'a, Result<Vec<UserId>, ClusterError>> {
            Self::refuse()
        }
        fn replace<'a>(
            &'a self,
            _: &'a NodeId,
            _: Epoch,
            _: Vec<SessionRecord>,
        ) -> BoxFuture<'a, Result<(), ClusterError>> {
            Self::refuse()
        }
        fn nodes_of<'a>(
            &'a self,
            _: &'a [UserId],
        ) -> BoxFuture<'a, Result<Vec<Vec<NodeId>>, ClusterError>> {
            Self::refuse()
        }
        fn sessions_of<'a>(
            &'a self,
            _: &'a UserId,
        ) -> BoxFuture<'a, Result<Vec<SessionRecord>, ClusterError>> {
            Self::refuse()
        }
        fn online<'a>(
            &'a self,
            _: Option<&'a str>,
            _: usize,
        ) -> BoxFuture<'a, Result<OnlinePage, ClusterError>> {
            Self::refuse()
        }
        fn holders(&self) -> BoxFuture<'_, Result<Vec<(NodeId, Epoch)>, ClusterError>> {
            Self::refuse()
        }
        fn left_by<'a>(
            &'a self,
            _: &'a NodeId,
            _: Epoch,
            _: Option<&'a UserId>,
        ) -> BoxFuture<'a, Result<Left, ClusterError>> {
            Self::refuse()
        }
        fn reap<'a>(&'a self, _: &'a NodeId, _: Epoch) -> BoxFuture<'a, Result<(), ClusterError>> {
            Self::refuse()
        }
    }

    /// Three nodes hear everything.
    struct Three;

    impl Broker for Three {
        fn publish(
            &self,
            batch: Vec<(Destination, Bytes)>,
        ) -> BoxFuture<'_, Result<Vec<u64>, ClusterError>> {
            Box::pin(async move { Ok(vec![3; batch.len()]) })
        }
    }

    #[tokio::test]
    async fn a_kick_does_not_depend_on_knowing_where_the_user_is() {
        let (counter, mut courier) = stuck();
        (courier.directory, courier.broker) = (Arc::new(Blind), Arc::new(Three));
        let bob = UserId::new("bob").unwrap();
        let (tell, kicked) = oneshot::channel();
        let kick = Forward::KickUser {
            user: bob.clone(),
            reason: "enough".to_owned(),
            report: Box::new(move |outcome| drop(tell.send(outcome))),
        };
        let (tell, sent) = oneshot::channel();
        let message = Forward::Users {
            users: vec![bob],
            parcel: Bytes::from_static(b"{}").into(),
            report: Box::new(move |outcome| drop(tell.send(outcome))),
        };
        counter.hand_in(message, soon()).await;
        counter.hand_in(kick, soon()).await;
        let first = courier.queue.recv().await.unwrap();
        let batch = courier.gather(first);
        courier.carry(batch).await;
        assert!(matches!(sent.await.unwrap(), Err(ClusterError::Busy)));
        assert_eq!(kicked.await.unwrap().unwrap(), [2], "all other nodes");
    }

    #[tokio::test]
    async fn that_a_user_is_nowhere_is_not_remembered() {
        let (_counter, courier) = stuck();
        let bob = UserId::new("bob").unwrap();
        courier.look_up(vec![bob.clone()]).await.unwrap();
        assert_eq!(courier.shared.cache.get(&bob), None);
    }

    #[tokio::test]
    async fn a_group_s_message_goes_wherever_any_of_its_batch_is_to_go_and_to_who_asked_if_one_does_not_know()
     {
        let (_counter, courier) = stuck();
        let (one, two, three) = (NodeId::new("1"), NodeId::new("2"), NodeId::new("3"));
        let group = GroupId::new("room").unwrap();
        let own = courier.shared.identity.node.clone();
        courier.interest.hold(&three, &group, 5).await.unwrap();
        let message = |holders: Option<Vec<Holding>>| Forward::Group {
            group: group.clone(),
            parcel: Bytes::from_static(b"{}").into(),
            holders,
            report: Box::new(drop),
        };
        let told = [
            Some(vec![(one.clone(), 8), (two.clone(), 3), (own, 1)]),
            Some(vec![(one.clone(), 7)]),
            Some(vec![]),
        ];
        let mut work: Vec<Forward> = told.into_iter().map(message).collect();
        let known = courier.holders(&mut work).await;
        assert_eq!(known[&group], [(one.clone(), 8), (two.clone(), 3)]);
        let mut work = vec![message(Some(vec![(one.clone(), 8)])), message(None)];
        let known = courier.holders(&mut work).await;
        assert_eq!(known[&group], [(one, 8), (three, 5)]);
    }

    #[tokio::test]
    async fn what_still_waits_when_the_node_ends_is_told_so() {
        let (counter, courier) = stuck();
        let (work, told) = broadcast(1);
        counter.hand_in(work, soon()).await;
        let cancel = CancellationToken::new();
        cancel.cancel();
        timeout_at(soon(), courier.run(cancel)).await.unwrap();
        assert!(matches!(
            told.await.unwrap(),
            Err(ClusterError::Disconnected)
        ));
    }
}
