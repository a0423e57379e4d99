//! `Plan`: what one batch of work becomes on the wire, and what its reports say once the wire has answered. Pure.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::cluster::shared::Identity;
use crate::cluster::{ClusterError, Destination, Forward, envelope};
use crate::protocol::{NodeId, Parcel, UserId};

impl Forward {
    /// Bytes it holds on to.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Users { parcel, users, .. } => {
                parcel.json.len() + users.len() * UserId::MAX_BYTES
            }
            Self::Broadcast { parcel, .. } => parcel.json.len(),
            Self::KickUser { reason, .. } | Self::KickSession { reason, .. } => reason.len(),
        }
    }

    /// Whom the directory must be asked for.
    pub(super) fn users(&self) -> &[UserId] {
        match self {
            Self::Users { users, .. } => users,
            Self::KickUser { user, .. } => std::slice::from_ref(user),
            Self::Broadcast { .. } | Self::KickSession { .. } => &[],
        }
    }

    /// Tells whoever handed it in.
    pub(in crate::cluster) fn report(self, outcome: Result<Vec<usize>, ClusterError>) {
        match self {
            Self::Users { report, .. }
            | Self::Broadcast { report, .. }
            | Self::KickUser { report, .. }
            | Self::KickSession { report, .. } => report(outcome),
        }
    }

    /// The report of work that had nowhere to go.
    pub(in crate::cluster) fn report_nobody(self) {
        let counts = match &self {
            Self::Users { users, .. } => users.len(),
            Self::Broadcast { .. } | Self::KickUser { .. } | Self::KickSession { .. } => 1,
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
    /// One envelope to everybody; `at`: how many nodes are known to be concerned, if that is known.
    All { envelope: usize, at: Option<usize> },
}

/// What a batch came to.
pub(super) struct Outcome {
    /// Envelopes times nodes that took them.
    pub(super) handed_over: u64,
    /// Users for whom a node was told of that does not listen.
    pub(super) nobody_there: Vec<UserId>,
}

impl Plan {
    /// `nodes` has every user of `work` that could be looked up, this node not among them.
    pub(super) fn make(
        from: &Identity,
        mut work: Vec<Forward>,
        nodes: &HashMap<UserId, Vec<NodeId>>,
    ) -> Self {
        let mut envelopes = Vec::with_capacity(work.len());
        let legs = work
            .iter_mut()
            .map(|work| leg(from, work, nodes, &mut envelopes))
            .collect();
        Self {
            envelopes,
            work,
            legs,
        }
    }

    /// Reports every piece of work; `received` has one count per envelope.
    pub(super) fn report(self, received: &[u64]) -> Outcome {
        let mut outcome = Outcome {
            handed_over: 0,
            nobody_there: Vec::new(),
        };
        let count = |envelope: usize| received.get(envelope).copied().unwrap_or(0);
        for (work, leg) in self.work.into_iter().zip(self.legs) {
            let counts = match leg {
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
    nodes: &HashMap<UserId, Vec<NodeId>>,
    envelopes: &mut Vec<(Destination, Bytes)>,
) -> Leg {
    let (envelope, at) = match work {
        Forward::Users { users, parcel, .. } => {
            return deliver(from, users, parcel, (nodes, envelopes));
        }
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
        let plan = Plan::make(&me(), vec![message(&["u1", "u2", "u3"], &told)], &nodes);
        let to: Vec<_> = plan.envelopes.iter().map(|(to, _)| to.clone()).collect();
        assert_eq!(
            to,
            [
                Destination::Node(NodeId::new("a")),
                Destination::Node(NodeId::new("b"))
            ]
        );
        let outcome = plan.report(&[1, 0]);
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
        let plan = Plan::make(&me(), vec![work], &HashMap::new());
        assert_eq!(plan.report(&[3]).handed_over, 2);
        assert_eq!(told.lock()[0], [2]);
    }
}
