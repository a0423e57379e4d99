//! What the courier does with what it cannot find out, or has no room for.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::*;
use crate::cluster::Cluster;
use crate::cluster::memory::{MemoryDirectory, MemoryInterest, MemoryStore};
use crate::cluster::shared::{Identity, Reach};
use crate::cluster::wire::Wire;
use crate::cluster::{Destination, ForwardReport, Left, OnlinePage, SessionChange, SessionRecord};
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
    let (report, told) = reporting();
    (
        Forward::Broadcast {
            parcel: Bytes::from(vec![b' '; bytes]).into(),
            report,
        },
        told,
    )
}

fn reporting() -> (ForwardReport, Told) {
    let (tell, told) = oneshot::channel();
    (Box::new(move |outcome| drop(tell.send(outcome))), told)
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
    let (report, kicked) = reporting();
    let kick = Forward::KickUser {
        user: bob.clone(),
        reason: "enough".to_owned(),
        report,
    };
    let (report, sent) = reporting();
    let message = Forward::Users {
        users: vec![bob],
        parcel: Bytes::from_static(b"{}").into(),
        report,
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
    let work: Vec<Forward> = told.into_iter().map(message).collect();
    let known = courier.holders(work).await.1;
    assert_eq!(known[&group], [(one.clone(), 8), (two.clone(), 3)]);
    let work = vec![message(Some(vec![(one.clone(), 8)])), message(None)];
    let known = courier.holders(work).await.1;
    assert_eq!(known[&group], [(one, 8), (three, 5)]);
}

/// Cannot say who holds the group `lost`; others are held by node 1.
struct HalfBlind;

impl Interest for HalfBlind {
    fn hold<'a>(
        &'a self,
        _: &'a NodeId,
        _: &'a GroupId,
        _: u64,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Blind::refuse()
    }
    fn release<'a>(
        &'a self,
        _: &'a NodeId,
        _: &'a GroupId,
        _: u64,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Blind::refuse()
    }
    fn holders<'a>(
        &'a self,
        groups: &'a [GroupId],
    ) -> BoxFuture<'a, Vec<Result<Vec<Holding>, ClusterError>>> {
        let told = groups.iter().map(|group| match group.as_str() {
            "lost" => Err(ClusterError::Busy),
            _ => Ok(vec![(NodeId::new("1"), 1)]),
        });
        let told = told.collect();
        Box::pin(async move { told })
    }
}

#[tokio::test]
async fn a_group_that_cannot_be_asked_for_costs_no_other_and_no_message_that_brought_its_nodes() {
    let (counter, mut courier) = stuck();
    (courier.interest, courier.broker) = (Arc::new(HalfBlind), Arc::new(Three));
    let cases = [
        ("lost", None),
        ("found", None),
        ("lost", Some(vec![(NodeId::new("2"), 1)])),
    ];
    let mut told = Vec::new();
    for (group, holders) in cases {
        let (report, outcome) = reporting();
        told.push(outcome);
        let message = Forward::Group {
            group: GroupId::new(group).unwrap(),
            parcel: Bytes::from_static(b"{}").into(),
            holders,
            report,
        };
        counter.hand_in(message, soon()).await;
    }
    let first = courier.queue.recv().await.unwrap();
    let batch = courier.gather(first);
    courier.carry(batch).await;
    let mut went = Vec::new();
    for outcome in told {
        went.push(outcome.await.unwrap().is_ok());
    }
    assert_eq!(went, [false, true, true]);
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
