//! `Routing`: which node does work that any node could do but one must. Pure: whoever sees the same nodes picks alike.
//!
//! By `hash` (rendezvous hashing) every node finds the same owner without talk, and when a node comes or goes only the
//! work that it gains or had moves. By `random` and `round-robin` each pick is the asker's own: it spreads work that is
//! handed over once, and where one owner is needed for longer the pick has to be carried, which is what
//! [`Assignments`](super::Assignments) is for. With balance a node counts by its live load, in five coarse classes, so
//! that work moves only when a load has really changed: from the busy to the idle, never among the others. Nodes that
//! have not yet seen the same load or the same members may differ for the time between two looks at the registry;
//! therefore a pick says who should do the work, and what must never happen twice is claimed where it is kept.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::NodeInfo;

/// How the node is picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// By rendezvous hashing of the work's name.
    #[default]
    Hash,
    /// Any.
    Random,
    /// One after the other, counted by each asker for itself.
    RoundRobin,
}

/// Whether a node's load counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Nodes with fewer connections get more work.
    #[default]
    ByLoad,
    /// All nodes count the same.
    Even,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Routing {
    policy: Policy,
    balance: Balance,
    /// How often it picked by turns.
    turns: AtomicUsize,
}

/// Connections so few that their number says nothing of a node.
const IDLE: u128 = 64;

impl Routing {
    /// By this policy.
    pub const fn new(policy: Policy, balance: Balance) -> Self {
        Self {
            policy,
            balance,
            turns: AtomicUsize::new(0),
        }
    }

    /// How the node is picked.
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// The node for this work, which may be another one at the next call unless the policy is `hash`. `None`: no nodes.
    pub fn pick<'a>(&self, work: &str, nodes: &'a [NodeInfo]) -> Option<&'a NodeInfo> {
        match self.policy {
            Policy::Hash => self.owner(work, nodes),
            Policy::Random => self.nth(rand::random_range(0..self.places(nodes).max(1)), nodes),
            Policy::RoundRobin => self.nth(
                self.turns.fetch_add(1, Relaxed) % self.places(nodes).max(1),
                nodes,
            ),
        }
    }

    /// The node that the hash gives this work, whatever the policy.
    pub fn owner<'a>(&self, work: &str, nodes: &'a [NodeInfo]) -> Option<&'a NodeInfo> {
        let work = hash(work.as_bytes());
        nodes
            .iter()
            .zip(self.weights(nodes))
            .max_by_key(|(node, weight)| {
                let name = hash(node.node.as_str().as_bytes());
                let best = (0..*weight).map(|place| mix(work ^ mix(name.wrapping_add(place))));
                (best.max(), &node.node)
            })
            .map(|(node, _)| node)
    }

    /// Of how many places a node of this load has one each.
    fn weights(&self, nodes: &[NodeInfo]) -> Vec<u64> {
        let total: u128 = nodes.iter().map(|node| u128::from(node.connections)).sum();
        let mean = total / (nodes.len() as u128).max(1) + IDLE;
        let weight = |node: &NodeInfo| match self.balance {
            Balance::Even => 1,
            Balance::ByLoad => class(u128::from(node.connections) + IDLE, mean),
        };
        nodes.iter().map(weight).collect()
    }

    fn places(&self, nodes: &[NodeInfo]) -> usize {
        let places: u64 = self.weights(nodes).into_iter().sum();
        usize::try_from(places).unwrap_or(usize::MAX)
    }

    /// The node of the `place`-th place, where the places of one node do not follow each other.
    fn nth<'a>(&self, place: usize, nodes: &'a [NodeInfo]) -> Option<&'a NodeInfo> {
        let weights = self.weights(nodes);
        let most = weights.iter().copied().max()?;
        let in_round = |round: u64| nodes.iter().zip(&weights).filter(move |(_, w)| **w > round);
        (0..most)
            .flat_map(in_round)
            .nth(place)
            .map(|(node, _)| node)
    }
}

/// Four places at the mean, twice as many or half as many for each halving or doubling of the load; whole numbers, so that
/// no two machines disagree.
const fn class(load: u128, mean: u128) -> u64 {
    let (load, mean) = (load * load, mean * mean);
    if load >= 8 * mean {
        1
    } else if load >= 2 * mean {
        2
    } else if 2 * load > mean {
        4
    } else if 8 * load > mean {
        8
    } else {
        16
    }
}

/// FNV-1a. Written out, since what nodes of different releases agree on must not change with a library.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The finaliser of splitmix64: every bit of the result depends on every bit of the value.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::protocol::{Epoch, NodeId};

    const WORKS: usize = 10_000;

    fn nodes(loads: &[(&str, u64)]) -> Vec<NodeInfo> {
        let info = |(name, connections): &(&str, u64)| NodeInfo {
            node: NodeId::new(name),
            epoch: Epoch(1),
            address: String::new(),
            connections: *connections,
            synced: true,
            beat: 1,
            leaving: false,
            door: None,
        };
        loads.iter().map(info).collect()
    }

    fn owners(routing: &Routing, nodes: &[NodeInfo]) -> Vec<String> {
        let owner = |work| routing.owner(&format!("queue {work}"), nodes).unwrap();
        (0..WORKS)
            .map(|work| owner(work).node.to_string())
            .collect()
    }

    fn shares(picks: impl IntoIterator<Item = String>) -> HashMap<String, usize> {
        let mut shares = HashMap::new();
        for pick in picks {
            *shares.entry(pick).or_default() += 1;
        }
        shares
    }

    static EVEN: Routing = Routing::new(Policy::Hash, Balance::Even);
    static BY_LOAD: Routing = Routing::new(Policy::Hash, Balance::ByLoad);

    #[test]
    fn all_nodes_agree_on_the_owner_in_whatever_order_they_list_each_other() {
        let mut listed = nodes(&[("a", 10), ("b", 5_000), ("c", 700)]);
        let first = owners(&BY_LOAD, &listed);
        listed.rotate_left(1);
        assert_eq!(owners(&BY_LOAD, &listed), first);
        assert!(EVEN.owner("work", &[]).is_none());
    }

    #[test]
    fn a_node_that_comes_takes_its_share_and_moves_nothing_else() {
        let before = owners(&EVEN, &nodes(&[("a", 0), ("b", 0), ("c", 0)]));
        let after = owners(&EVEN, &nodes(&[("a", 0), ("b", 0), ("c", 0), ("d", 0)]));
        let moved: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
        assert!(
            moved.iter().all(|(_, to)| *to == "d"),
            "only to the new one"
        );
        let share = moved.len() * 4;
        assert!(
            (WORKS * 9 / 10..WORKS * 11 / 10).contains(&share),
            "{share}"
        );
    }

    #[test]
    fn a_node_that_goes_gives_up_its_own_work_and_no_other() {
        let before = owners(&EVEN, &nodes(&[("a", 0), ("b", 0), ("c", 0)]));
        let after = owners(&EVEN, &nodes(&[("a", 0), ("c", 0)]));
        for (from, to) in before.iter().zip(&after) {
            assert!(from == to || from == "b", "{from} to {to}");
        }
    }

    #[test]
    fn a_busy_node_gets_a_smaller_share_and_the_work_it_loses_is_all_that_moves() {
        let calm = nodes(&[("a", 1_000), ("b", 1_000), ("c", 1_000)]);
        let busy = nodes(&[("a", 1_000), ("b", 1_000), ("c", 9_000)]);
        let (before, after) = (owners(&BY_LOAD, &calm), owners(&BY_LOAD, &busy));
        let (had, has) = (shares(before), shares(after));
        assert!(has["c"] * 3 < had["c"], "{} of {}", has["c"], had["c"]);
        assert_eq!(
            owners(&EVEN, &calm),
            owners(&EVEN, &busy),
            "unless told not to"
        );
        let a_little = nodes(&[("a", 1_000), ("b", 1_050), ("c", 1_300)]);
        assert_eq!(
            owners(&BY_LOAD, &calm),
            owners(&BY_LOAD, &a_little),
            "a load that hardly changed moves nothing"
        );
    }

    #[test]
    fn taking_turns_gives_each_node_its_places_and_spreads_them() {
        let nodes = nodes(&[("a", 0), ("b", 0), ("c", 0)]);
        let routing = Routing::new(Policy::RoundRobin, Balance::Even);
        let turn = || routing.pick("any", &nodes).unwrap().node.to_string();
        let turns: Vec<String> = (0..6).map(|_| turn()).collect();
        assert_eq!(turns, ["a", "b", "c", "a", "b", "c"]);
    }

    #[test]
    fn picks_by_chance_and_by_turns_shift_with_the_load() {
        let nodes = nodes(&[("a", 0), ("b", 10_000)]);
        for policy in [Policy::Random, Policy::RoundRobin] {
            let share = |balance| {
                let routing = Routing::new(policy, balance);
                let pick = |_| routing.pick("any", &nodes).unwrap().node.to_string();
                shares((0..WORKS).map(pick))["b"]
            };
            let (even, by_load) = (share(Balance::Even), share(Balance::ByLoad));
            assert!((4_500..5_500).contains(&even), "{policy:?}: {even}");
            assert!((1..2_000).contains(&by_load), "{policy:?}: {by_load}");
        }
    }
}
