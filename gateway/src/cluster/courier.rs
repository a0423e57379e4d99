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
#[cfg(test)]
mod tests;

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
fn add(known: &mut BTreeMap<NodeId, u64>, holders: &[Holding]) {
    for (node, number) in holders {
        let newest = known.entry(node.clone()).or_default();
        *newest = *number.max(newest);
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
        let (work, _rooms): (Vec<Forward>, Vec<OwnedSemaphorePermit>) =
            batch.into_iter().map(|job| (job.work, job.room)).unzip();
        let users = work.iter().flat_map(Forward::users).cloned().collect();
        let (work, groups) = self.holders(work).await;
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

    /// The nodes that get the messages of the groups in this batch, and the work for which they are known. No event tells of
    /// their changes: they came with the message, or are asked for now. Of several messages to a group each goes wherever any
    /// of them is to go, since the one that was let through last need not stand last.
    async fn holders(&self, work: Vec<Forward>) -> (Vec<Forward>, HashMap<GroupId, Vec<Holding>>) {
        let mut known: HashMap<GroupId, BTreeMap<NodeId, u64>> = HashMap::new();
        let mut unknown: HashSet<GroupId> = HashSet::new();
        for work in &work {
            let Forward::Group { group, holders, .. } = work else {
                continue;
            };
            match holders {
                Some(told) => add(known.entry(group.clone()).or_default(), told),
                None => _ = unknown.insert(group.clone()),
            }
        }
        let mut silent: HashMap<GroupId, ClusterError> = HashMap::new();
        if !unknown.is_empty() {
            let unknown: Vec<GroupId> = unknown.into_iter().collect();
            let asked = self.interest.holders(&unknown).await;
            for (group, asked) in unknown.into_iter().zip(asked) {
                match asked {
                    Ok(nodes) => add(known.entry(group).or_default(), &nodes),
                    Err(error) => _ = silent.insert(group, error),
                }
            }
        }
        let work = self.told_of(work, &silent);
        let own = &self.shared.identity.node;
        let others = |nodes: BTreeMap<NodeId, u64>| {
            let others = nodes.into_iter().filter(|(node, _)| node != own);
            others.collect()
        };
        let known = known.into_iter();
        let known = known.map(|(group, nodes)| (group, others(nodes)));
        (work, known.collect())
    }

    /// The work that can go on though the nodes of these groups could not be asked for. What was stored is in the group's log
    /// all the same, and must not go by what came with another message: that may be less than is true now.
    fn told_of(&self, work: Vec<Forward>, silent: &HashMap<GroupId, ClusterError>) -> Vec<Forward> {
        let mut told = Vec::with_capacity(work.len());
        for work in work {
            let asked = work.group().filter(|_| !work.is_told());
            match asked.and_then(|group| silent.get(group)) {
                Some(error) => fail(&self.shared, work, error.clone()),
                None => told.push(work),
            }
        }
        told
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
