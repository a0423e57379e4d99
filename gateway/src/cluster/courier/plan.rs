//! `Plan`: what one batch of work becomes on the wire, and what its reports say once the wire has answered. Pure.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::cluster::shared::Identity;
use crate::cluster::{ClusterError, Destination, Forward, Holding, envelope};
use crate::protocol::{GroupId, NodeId, Parcel, UserId};

impl Forward {
    /// Bytes it holds on to.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Users { parcel, users, .. } => {
                parcel.json.len() + users.len() * UserId::MAX_BYTES
            }
            Self::Broadcast { parcel, .. } | Self::Group { parcel, .. } => parcel.json.len(),
            Self::GroupChanged { .. } => 0,
            Self::KickUser { reason, .. } | Self::KickSession { reason, .. } => reason.len(),
        }
    }

    /// Whom the directory must be asked for.
    pub(super) fn users(&self) -> &[UserId] {
        match self {
            Self::Users { users, .. } => users,
            Self::KickUser { user, .. } => std::slice::from_ref(user),
            Self::Broadcast { .. }
            | Self::Group { .. }
            | Self::GroupChanged { .. }
            | Self::KickSession { .. } => &[],
        }
    }

    /// The group whose nodes get it.
    pub(super) fn group(&self) -> Option<&GroupId> {
        match self {
            Self::Group { group, .. } => Some(group),
            Self::Users { .. }
            | Self::Broadcast { .. }
            | Self::GroupChanged { .. }
            | Self::KickUser { .. }
            | Self::KickSession { .. } => None,
        }
    }

    /// Whether the nodes of its group came with it.
    pub(super) fn is_told(&self) -> bool {
        matches!(
            self,
            Self::Group {
                holders: Some(_),
                ..
            }
        )
    }

    /// Tells whoever handed it in.
    pub(in crate::cluster) fn report(self, outcome: Result<Vec<usize>, ClusterError>) {
        match self {
            Self::Users { report, .. }
            | Self::Broadcast { report, .. }
            | Self::Group { report, .. }
            | Self::GroupChanged { report, .. }
            | Self::KickUser { report, .. }
            | Self::KickSession { report, .. } => report(outcome),
        }
    }

    /// The report of work that had nowhere to go.
    pub(in crate::cluster) fn report_nobody(self) {
        let counts = match &self {
            Self::Users { users, .. } => users.len(),
            Self::Broadcast { .. }
            | Self::Group { .. }
            | Self::GroupChanged { .. }
            | Self::KickUser { .. }
            | Self::KickSession { .. } => 1,
        };
        self.report(Ok(vec![0; counts]));
    }
}

/// See the module.
pub(super) struct Plan {
    pub(super) envelopes: Vec<(Destination, Bytes)>,
    pub(super) work: Vec<Forward>,
    /// For each piece of work, what was planned.
    legs: Vec<Leg>,
}

enum Leg {
    /// The envelopes, each with the positions of the users it is for.
    Nodes(Vec<(usize, Vec<usize>)>),
    /// An envelope to each node that gets the group's messages.
    Group(Vec<usize>),
    /// One envelope to everybody; `at`: how many nodes are known to be concerned, if that is known.
    All { envelope: usize, at: Option<usize> },
}

/// What a batch came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Envelopes times nodes that took them.
    pub(super) handed_over: u64,
    /// Users for whom a node was told of that does not listen.
    pub(super) nobody_there: Vec<UserId>,
    /// Groups whose messages a node was to get that does not listen, with the number of its interest.
    pub(super) deaf: Vec<(GroupId, NodeId, u64)>,
}

/// Where a batch goes: this node is not among the nodes.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The nodes of each user.
    pub(super) users: HashMap<UserId, Vec<NodeId>>,
    /// The nodes that get each group's messages.
    pub(super) groups: HashMap<GroupId, Vec<Holding>>,
}

impl Plan {
    /// `known` has every user of `work` that could be looked up, and every group.
    pub(super) fn make(from: &Identity, mut work: Vec<Forward>, known: &Known) -> Self {
        let mut envelopes = Vec::with_capacity(work.len());
        let legs = work
            .iter_mut()
            .map(|work| leg(from, work, known, &mut envelopes))
            .collect();
        Self {
            envelopes,
            work,
            legs,
        }
    }

    /// Reports every piece of work; `received` has one count per envelope.
    pub(super) fn report(self, received: &[u64], known: &Known) -> Outcome {
        let mut outcome = Outcome::default();
        let count = |envelope: usize| received.get(envelope).copied().unwrap_or(0);
        for (work, leg) in self.work.into_iter().zip(self.legs) {
            let counts = match leg {
                Leg::Group(envelopes) => {
                    let nodes = work.group().and_then(|group| known.groups.get(group));
                    let nodes = nodes.map(Vec::as_slice).unwrap_or_default();
                    vec![per_group(&work, (&envelopes, nodes), &count, &mut outcome)]
                }
                Leg::Nodes(nodes) => per_user(work.users(), &nodes, &count, &mut outcome),
                Leg::All { envelope, at } => {
                    // The sender listens to the channel of all and is counted there.
                    let others = count(envelope).saturating_sub(1);
                    outcome.handed_over += others;
                    let others = usize::try_from(others).unwrap_or(usize::MAX);
                    vec![at.map_or(others, |at| at.min(others))]
                }
            };
            work.report(Ok(counts));
        }
        outcome
    }
}

fn leg(
    from: &Identity,
    work: &mut Forward,
    known: &Known,
    envelopes: &mut Vec<(Destination, Bytes)>,
) -> Leg {
    let nodes = &known.users;
    let (envelope, at) = match work {
        Forward::Users { users, parcel, .. } => {
            return deliver(from, users, parcel, (nodes, envelopes));
        }
        Forward::Group { group, parcel, .. } => {
            let envelope = envelope::deliver_group(from, group, parcel);
            let nodes = known.groups.get(group).into_iter().flatten();
            let legs = nodes.map(|(node, _)| {
                envelopes.push((Destination::Node(node.clone()), envelope.clone()));
                envelopes.len() - 1
            });
            return Leg::Group(legs.collect());
        }
        // To all: who joined must be heard of wherever they have a session, in the directory or not.
        Forward::GroupChanged { change, .. } => (envelope::group_change(from, change), None),
        Forward::Broadcast { parcel, .. } => (envelope::deliver(from, [], parcel), None),
        // To all, although the directory says where the user is: a session that began a moment ago must not survive.
        Forward::KickUser { user, reason, .. } => {
            let at = nodes.get(user).map(Vec::len);
            (envelope::kick_user(from, user, std::mem::take(reason)), at)
        }
        Forward::KickSession {
            session, reason, ..
        } => (
            envelope::kick_session(from, *session, std::mem::take(reason)),
            None,
        ),
    };
    envelopes.push((Destination::All, envelope));
    Leg::All {
        envelope: envelopes.len() - 1,
        at,
    }
}

type Route<'a> = (
    &'a HashMap<UserId, Vec<NodeId>>,
    &'a mut Vec<(Destination, Bytes)>,
);

fn deliver(
    from: &Identity,
    users: &[UserId],
    parcel: &Parcel,
    (nodes, envelopes): Route<'_>,
) -> Leg {
    let mut by_node: BTreeMap<&NodeId, Vec<usize>> = BTreeMap::new();
    for (position, user) in users.iter().enumerate() {
        for node in nodes.get(user).into_iter().flatten() {
            by_node.entry(node).or_default().push(position);
        }
    }
    let mut legs = Vec::with_capacity(by_node.len());
    for (node, positions) in by_node {
        let for_users = positions.iter().filter_map(|position| users.get(*position));
        legs.push((envelopes.len(), positions.clone()));
        // What comes back is sent again to wherever its user is by then, so nobody else may have got it.
        let is_only = |user: &UserId| nodes.get(user).is_some_and(|nodes| nodes.len() == 1);
        let envelope = if for_users.clone().all(is_only) {
            envelope::deliver(from, for_users, parcel)
        } else {
            envelope::deliver_once(from, for_users, parcel)
        };
        envelopes.push((Destination::Node(node.clone()), envelope));
    }
    Leg::Nodes(legs)
}

/// How many nodes took a message to a group.
fn per_group(
    work: &Forward,
    (envelopes, nodes): (&[usize], &[Holding]),
    count: &impl Fn(usize) -> u64,
    outcome: &mut Outcome,
) -> usize {
    let mut took = 0;
    for (envelope, (node, number)) in envelopes.iter().zip(nodes) {
        if count(*envelope) > 0 {
            took += 1;
        } else if let Some(group) = work.group() {
            let deaf = (group.clone(), node.clone(), *number);
            outcome.deaf.push(deaf);
        }
    }
    outcome.handed_over += took as u64;
    took
}

fn per_user(
    users: &[UserId],
    nodes: &[(usize, Vec<usize>)],
    count: &impl Fn(usize) -> u64,
    outcome: &mut Outcome,
) -> Vec<usize> {
    let mut counts = vec![0; users.len()];
    for (envelope, positions) in nodes {
        if count(*envelope) == 0 {
            let gone = positions
                .iter()
                .filter_map(|position| users.get(*position).cloned());
            outcome.nobody_there.extend(gone);
            continue;
        }
        outcome.handed_over += 1;
        for position in positions {
            if let Some(count) = counts.get_mut(*position) {
                *count += 1;
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::protocol::Epoch;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn me() -> Identity {
        Identity::new(NodeId::new("me"), String::new(), Epoch(1))
    }

    type Told = Arc<Mutex<Vec<Vec<usize>>>>;

    fn message(users: &[&str], told: &Told) -> Forward {
        let told = told.clone();
        Forward::Users {
            users: users.iter().map(|id| user(id)).collect(),
            parcel: Bytes::from_static(b"{}").into(),
            report: Box::new(move |outcome| told.lock().push(outcome.unwrap())),
        }
    }

    #[test]
    fn a_message_to_many_users_crosses_once_per_node() {
        let nodes = HashMap::from([
            (user("u1"), vec![NodeId::new("a")]),
            (user("u2"), vec![NodeId::new("a"), NodeId::new("b")]),
            (user("u3"), vec![]),
        ]);
        let told = Told::default();
        let nodes = Known {
            users: nodes,
            ..Known::default()
        };
        let plan = Plan::make(&me(), vec![message(&["u1", "u2", "u3"], &told)], &nodes);
        let to: Vec<_> = plan.envelopes.iter().map(|(to, _)| to.clone()).collect();
        assert_eq!(
            to,
            [
                Destination::Node(NodeId::new("a")),
                Destination::Node(NodeId::new("b"))
            ]
        );
        let outcome = plan.report(&[1, 0], &nodes);
        assert_eq!(told.lock()[0], [1, 1, 0]);
        assert_eq!(
            (outcome.handed_over, outcome.nobody_there),
            (1, vec![user("u2")])
        );
    }

    #[test]
    fn what_goes_to_all_does_not_count_the_sender() {
        let told = Told::default();
        let report = {
            let told = told.clone();
            Box::new(move |outcome: Result<Vec<usize>, ClusterError>| {
                told.lock().push(outcome.unwrap());
            })
        };
        let work = Forward::Broadcast {
            parcel: Bytes::from_static(b"{}").into(),
            report,
        };
        let known = Known::default();
        let plan = Plan::make(&me(), vec![work], &known);
        assert_eq!(plan.report(&[3], &known).handed_over, 2);
        assert_eq!(told.lock()[0], [2]);
    }

    #[test]
    fn a_message_to_a_group_crosses_once_per_node_and_a_node_that_does_not_listen_is_told_of() {
        let group = GroupId::new("g").unwrap();
        let nodes = vec![(NodeId::new("a"), 1), (NodeId::new("b"), 2)];
        let known = Known {
            groups: HashMap::from([(group.clone(), nodes)]),
            ..Known::default()
        };
        let told = Told::default();
        let report = {
            let told = told.clone();
            Box::new(move |outcome: Result<Vec<usize>, ClusterError>| {
                told.lock().push(outcome.unwrap());
            })
        };
        let work = Forward::Group {
            group: group.clone(),
            parcel: Bytes::from_static(b"{}").into(),
            holders: None,
            report,
        };
        let plan = Plan::make(&me(), vec![work], &known);
        assert_eq!(plan.envelopes.len(), 2);
        let outcome = plan.report(&[1, 0], &known);
        assert_eq!(told.lock()[0], [1]);
        assert_eq!(outcome.deaf, [(group, NodeId::new("b"), 2)]);
    }
}
