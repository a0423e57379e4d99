//! `Groups`: what sessions and the API call. Each change goes to the store, which decides; then sessions here follow it, other
//! nodes hear of it, and members and the application are told. What arrives from other nodes is the steward's to carry out.
//!
//! A session gets a group's messages once this node has asked for them ([`Groups::attach`]) and the roster says that its user
//! is in the group. From there on it has a place in the group's log: what is lost on the way is read from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use serde_json::value::to_raw_value;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::steward::Steward;
use super::{
    Change, Entry, Generation, Group, GroupError, GroupSettings, GroupStats, GroupStore, Joined,
    Left, MembersPage, MemoryGroups, RedisGroups, Way, What,
};
use crate::cluster::{Cluster, ClusterError, Forward, Holding};
use crate::delivery::Delivery;
use crate::hub::{Hub, Learnt, Outgoing, unix_millis};
use crate::protocol::{Control, GroupId, LogId, Parcel, Position, UserId, json};
use crate::service::{Event, Service};
use crate::settings::Settings;

/// How long a client that connects waits for its groups; what is not known by then follows later.
const PREPARING: Duration = Duration::from_secs(2);
/// Groups of one user that are asked for at once.
const AT_ONCE: usize = 32;

/// That a user is in a group, as the user is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// How the join went.
    pub joined: Joined,
    /// Where the group's log ended then, if messages are kept and that is known.
    pub from: Option<Position>,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Groups(Arc<Inner>);

struct Inner {
    store: Arc<dyn GroupStore>,
    hub: Arc<Hub>,
    cluster: Cluster,
    delivery: Delivery,
    service: Arc<Service>,
    settings: Arc<ArcSwap<Settings>>,
    stats: GroupStats,
    /// The last number under which a group's messages were asked for.
    interest: AtomicU64,
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").finish_non_exhaustive()
    }
}

impl Groups {
    /// Starts the steward on the current runtime, where there are groups. They are in Redis where the cluster has one, else
    /// in this process.
    pub fn start(
        (hub, cluster, delivery): (Arc<Hub>, Cluster, Delivery),
        service: Arc<Service>,
        settings: Arc<ArcSwap<Settings>>,
        (tasks, cancel): (&TaskTracker, &CancellationToken),
    ) -> Self {
        let store: Arc<dyn GroupStore> = match cluster.redis() {
            Some(link) => Arc::new(RedisGroups::new(&link)),
            None => MemoryGroups::new(),
        };
        let groups = Self(Arc::new(Inner {
            store,
            hub,
            cluster,
            delivery,
            service,
            settings,
            stats: GroupStats::default(),
            // Larger than those of an earlier process of this name.
            interest: AtomicU64::new(unix_millis().saturating_mul(1000)),
        }));
        if groups.settings().rules.enabled {
            tasks.spawn(Steward::new(groups.clone()).run(cancel.clone()));
        }
        groups
    }

    /// What the configuration says now.
    pub fn settings(&self) -> GroupSettings {
        self.0.settings.load().groups
    }

    /// The counters.
    pub fn stats(&self) -> &GroupStats {
        &self.0.stats
    }

    /// This node's sessions.
    pub(super) fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// The way to other nodes.
    pub(super) fn cluster(&self) -> &Cluster {
        &self.0.cluster
    }

    /// Makes a lasting group without members.
    pub async fn create(&self, group: &GroupId, owner: Option<&UserId>) -> Result<(), GroupError> {
        self.count(self.0.store.create(group, owner).await)?;
        self.created(group, owner);
        Ok(())
    }

    /// Makes the user a member. What the caller may ask for has been judged.
    pub async fn join(
        &self,
        group: &GroupId,
        user: &UserId,
        entry: Entry,
    ) -> Result<Membership, GroupError> {
        let bounds = self.settings().bounds;
        let joined = self.0.store.join(group, user, entry, bounds).await;
        let joined = self.count(joined)?;
        if joined.founded {
            self.created(group, Some(user));
        }
        if self.is_here(user) {
            // What fails now is tried again by whoever settles the change.
            let _later = self.attach(group).await;
        }
        let from = self.head(group).await.ok().flatten();
        let what = What::Joined {
            user: user.clone(),
            from,
        };
        let change = Change {
            group: group.clone(),
            generation: joined.generation,
            what,
        };
        if joined.is_new {
            GroupStats::count(&self.0.stats.joined);
            self.spread(change).await;
        } else {
            // A repetition mends what an earlier one left undone here.
            self.0.hub.groups().roster().hear(&change);
            if self.is_here(user) {
                self.follow(user, group).await;
            }
        }
        Ok(Membership { joined, from })
    }

    /// Ends a membership.
    pub async fn leave(&self, group: &GroupId, user: &UserId) -> Result<Left, GroupError> {
        let left = self.count(self.0.store.leave(group, user).await)?;
        GroupStats::count(&self.0.stats.left);
        let change = Change {
            group: group.clone(),
            generation: left.generation,
            what: What::Left(user.clone()),
        };
        self.spread(change).await;
        if left.ended {
            GroupStats::count(&self.0.stats.disbanded);
            let data = json!({"group": group, "generation": left.generation});
            self.emit(Event::GROUP_DISBANDED, group, data);
        }
        Ok(left)
    }

    /// Ends a group and all memberships in it.
    pub async fn disband(&self, group: &GroupId) -> Result<(), GroupError> {
        let generation = self.count(self.0.store.disband(group).await)?;
        GroupStats::count(&self.0.stats.disbanded);
        self.spread(Change {
            group: group.clone(),
            generation,
            what: What::Disbanded,
        })
        .await;
        Ok(())
    }

    /// What is known of a group.
    pub async fn get(&self, group: &GroupId) -> Result<Group, GroupError> {
        self.count(self.0.store.get(group).await)
    }

    /// A page of the members after this generation.
    pub async fn members(
        &self,
        group: &GroupId,
        after: Generation,
        limit: usize,
    ) -> Result<MembersPage, GroupError> {
        self.count(self.0.store.members(group, after, limit).await)
    }

    /// Since when the user is a member; nothing: the user is none.
    pub async fn membership(
        &self,
        group: &GroupId,
        user: &UserId,
    ) -> Result<Option<Generation>, GroupError> {
        match self.0.store.membership(group, user).await {
            Ok(generation) => Ok(Some(generation)),
            Err(GroupError::NotMember { .. }) => Ok(None),
            Err(error) => self.count(Err(error)),
        }
    }

    /// The groups that the user is in.
    pub async fn groups_of(&self, user: &UserId) -> Result<Vec<(GroupId, Generation)>, GroupError> {
        self.count(self.0.store.groups_of(user).await)
    }

    /// Lets a member send one message to the group, or says why not. The nodes that get it, if they were asked for on the
    /// way. Whoever asks for a group's messages before its members hear that they joined is among them: what is sent after
    /// that is let through after that.
    pub async fn admit(
        &self,
        group: &GroupId,
        user: &UserId,
        way: Way,
    ) -> Result<Option<Vec<Holding>>, GroupError> {
        let per_minute = self.settings().per_minute;
        self.count(self.0.store.admit(group, user, per_minute, way).await)
    }

    /// Has everything ready for a session of this user that is about to begin: the user's groups are known here, and their
    /// messages come here.
    pub async fn prepare(&self, user: &UserId) {
        if !self.settings().rules.enabled {
            return;
        }
        let preparing = async {
            self.read(user).await;
            let groups = self.0.hub.groups().roster().groups_of(user);
            stream::iter(groups)
                .for_each_concurrent(AT_ONCE, async |group| {
                    let _later = self.attach(&group).await;
                })
                .await;
        };
        if timeout(PREPARING, preparing).await.is_err() {
            tracing::debug!(%user, "the groups of a user who connects follow later");
        }
    }

    /// Reads the user's groups if what is known of them is too old, and has sessions here follow.
    pub(super) async fn read(&self, user: &UserId) {
        let roster = self.0.hub.groups().roster();
        let Some(asked) = roster.begin_read(user, self.settings().cache) else {
            return;
        };
        match self.0.store.groups_of(user).await {
            Ok(found) => {
                self.0.stats.read(Ok(()));
                let learnt = roster.learn(user, &found, asked);
                if self.is_here(user) {
                    self.apply(user, learnt).await;
                }
            }
            Err(error) => {
                self.0.stats.read(Err(()));
                tracing::debug!(%user, %error, "the groups of a user cannot be read now");
            }
        }
    }

    async fn apply(&self, user: &UserId, Learnt { joined, left }: Learnt) {
        for group in joined {
            self.follow(user, &group).await;
        }
        for group in left {
            self.0.hub.regroup(user, &group).await;
        }
    }

    /// Has the user's sessions here follow the group, from where the user joined it.
    pub(super) async fn follow(&self, user: &UserId, group: &GroupId) {
        let roster = self.0.hub.groups().roster();
        let placed = async {
            self.attach(group).await?;
            let keeps = self.0.settings.load().keeps_groups();
            let stay = roster.stay(user, group);
            if let Some(stay) = stay.filter(|stay| keeps && stay.from.is_none()) {
                let log = LogId::Group(group.clone());
                let read = self.0.delivery.log();
                let from = match stay.began {
                    None => read.joined(&log, stay.generation).await?,
                    Some(began) => {
                        let since = stay.generation.millis().max(began);
                        read.since(&log, since).await?
                    }
                };
                roster.place(user, group, from.unwrap_or_default());
            }
            Ok::<_, ClusterError>(())
        };
        match placed.await {
            Ok(()) => self.0.hub.regroup(user, group).await,
            Err(error) => {
                tracing::debug!(%user, %group, %error, "a group is followed later");
                roster.want(user, group);
            }
        }
    }

    /// Has the messages of a group come to this node.
    pub(super) async fn attach(&self, group: &GroupId) -> Result<(), ClusterError> {
        let index = self.0.hub.groups().index();
        if index.tail(group).is_some() {
            return Ok(());
        }
        self.hold(group).await
    }

    /// Asks for the messages of a group, whether or not they come.
    pub(super) async fn hold(&self, group: &GroupId) -> Result<(), ClusterError> {
        let number = self.0.interest.fetch_add(1, Relaxed) + 1;
        self.0.cluster.hold_group(group, number).await?;
        // After that: what is written from here on comes by itself.
        let tail = self.head(group).await?.unwrap_or_default();
        self.0.hub.groups().index().attach(group, number, tail);
        Ok(())
    }

    /// Where the group's log ends; nothing: messages are not kept.
    async fn head(&self, group: &GroupId) -> Result<Option<Position>, ClusterError> {
        if !self.0.settings.load().keeps_groups() {
            return Ok(None);
        }
        let log = [LogId::Group(group.clone())];
        let heads = self.0.delivery.log().heads(&log).await?;
        Ok(heads.first().copied())
    }

    /// Everyone who is to know of a change that was made here does.
    async fn spread(&self, change: Change) {
        self.0.hub.groups().roster().hear(&change);
        self.settle(&change).await;
        self.emit(change.name(), &change.group, change.data());
        let report = Box::new(drop);
        let work = Forward::GroupChanged { change, report };
        self.0.cluster.forward(work).await;
    }

    /// Sessions here follow a change that the roster has heard of, and members here are told.
    pub(super) async fn settle(&self, change: &Change) {
        let hub = &self.0.hub;
        let group = &change.group;
        match &change.what {
            What::Joined { user, .. } => {
                if self.is_here(user) {
                    self.follow(user, group).await;
                }
                self.tell(change, user).await;
            }
            What::Left(user) => {
                hub.regroup(user, group).await;
                self.tell(change, user).await;
            }
            What::Disbanded => {
                hub.deliver_group(group, &frame(change)).await;
                for user in hub.groups().roster().concerned(group) {
                    hub.regroup(&user, group).await;
                }
            }
        }
    }

    /// Members hear who came or went, as long as there are not too many; the user concerned hears in any case.
    async fn tell(&self, change: &Change, user: &UserId) {
        let hub = &self.0.hub;
        let (group, frame) = (&change.group, frame(change));
        let may_tell = hub.groups().index().may_tell(group);
        if !may_tell {
            GroupStats::count(&self.0.stats.untold);
        }
        match &change.what {
            What::Joined { .. } if may_tell => hub.deliver_group_and(user, group, &frame).await,
            What::Joined { .. } | What::Left(_) | What::Disbanded => {
                if may_tell {
                    hub.deliver_group(group, &frame).await;
                }
                hub.deliver(std::slice::from_ref(user), &frame).await;
            }
        }
    }

    fn created(&self, group: &GroupId, owner: Option<&UserId>) {
        GroupStats::count(&self.0.stats.created);
        let data = json!({"group": group, "owner": owner});
        self.emit(Event::GROUP_CREATED, group, data);
    }

    fn emit(&self, name: &str, group: &GroupId, data: serde_json::Value) {
        if self.0.service.wants(name) {
            let event = Event::now(name, Some(group.as_str()), data);
            self.0.service.emit(&event);
        }
    }

    fn is_here(&self, user: &UserId) -> bool {
        self.0.hub.users().find(user).1 > 0
    }

    fn count<T>(&self, outcome: Result<T, GroupError>) -> Result<T, GroupError> {
        outcome.inspect_err(|error| self.0.stats.failed(error))
    }
}

/// What members are told of a change.
fn frame(change: &Change) -> Outgoing {
    // Strings and numbers always serialise.
    let data = to_raw_value(&change.data()).unwrap_or_default();
    let event = Control::Event {
        kind: change.name(),
        data: &data,
    };
    Outgoing::new(Parcel::from(bytes::Bytes::from(json::control(&event))))
}
