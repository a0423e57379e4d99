//! `Balance`: when a node gives sessions away, and how many. Pure: it is told what the node sees, and the time.
//!
//! What keeps it from swinging: it begins above a bound and ends half-way down to the mean; what it sees must have been so
//! for as long as news take; after a round it waits until the round's outcome shows; while nodes come and go, or say
//! nothing new, it rests; and a node whose sessions come back to it, as sticky load balancers have it, tries ever more
//! rarely.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::NodeInfo;
use crate::protocol::{Epoch, NodeId};

/// Each round without effect doubles the pause, so often at most.
const DOUBLINGS: u32 = 6;

/// A round has had an effect when at least this part of those who were told are gone: of two nodes each is the new one for
/// every second client.
const EFFECT: u64 = 4;

/// What a node may have more than the mean.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections.
    pub absolute: u64,
    /// A part of the mean.
    pub relative: f64,
    /// The most sessions told in one round.
    pub round: u64,
}

/// Whether this node takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Member,
    /// The configuration says no.
    Off,
    /// It is not part of the cluster now.
    Outside,
    /// It sends everyone away.
    Leaving,
}

/// What a node sees.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// Whether it takes part.
    pub standing: Standing,
    /// Its own connections, now.
    pub connections: u64,
    /// The others, as their leases say.
    pub peers: &'a [NodeInfo],
}

/// Why nothing is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// This node takes no part.
    Apart,
    /// There is no other node.
    Alone,
    /// Nodes came or went lately, or one is leaving or just begins.
    Change,
    /// A node has said nothing new for too long.
    Stale,
    /// This node has its share, or less.
    Within,
    /// There is a surplus, but it may be an old number.
    Confirming,
    /// What the last round did shows only later.
    Settling,
}

impl Rest {
    /// The word in the log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Apart => "apart",
            Self::Alone => "alone",
            Self::Change => "change",
            Self::Stale => "stale",
            Self::Within => "within",
            Self::Confirming => "confirming",
            Self::Settling => "settling",
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Rest(Rest),
    /// Tell so many sessions to reconnect, at least one.
    Shed(u64),
}

/// The last that was heard of a node.
#[derive(Clone, Copy, Debug)]
struct Heard {
    epoch: Epoch,
    beat: u64,
    at: Instant,
}

/// See the module.
#[derive(Debug)]
pub struct Balance {
    /// How long news take from one node to another.
    news: Duration,
    heard: HashMap<NodeId, Heard>,
    /// Nothing is moved before.
    not_before: Option<Instant>,
    /// Since when there has been a surplus.
    over_since: Option<Instant>,
    /// Connections before the last round and how many it told, until its effect has been seen.
    last: Option<(u64, u64)>,
    /// Rounds without effect in a row.
    futile: u32,
    surplus: u64,
}

impl Balance {
    /// Nothing is known yet; `news`: how long they take from one node to another.
    pub fn new(news: Duration) -> Self {
        Self {
            news,
            heard: HashMap::new(),
            not_before: None,
            over_since: None,
            last: None,
            futile: 0,
            surplus: 0,
        }
    }

    /// Connections beyond what the bounds allow, at the last look.
    pub const fn surplus(&self) -> u64 {
        self.surplus
    }

    /// Decides. To be called with every look at the leases.
    pub fn look(&mut self, sight: &Sight<'_>, bounds: &Bounds, now: Instant) -> Verdict {
        self.surplus = 0;
        let changed = self.hear(sight.peers, now);
        if let Some(rest) = self.hindrance(sight, changed, now) {
            self.over_since = None;
            return Verdict::Rest(rest);
        }
        let share = Share::of(sight, bounds);
        self.surplus = share.surplus;
        if share.surplus == 0 {
            (self.over_since, self.last, self.futile) = (None, None, 0);
            return Verdict::Rest(Rest::Within);
        }
        if self.not_before.is_some_and(|moment| now < moment) || self.was_futile(sight, now) {
            return Verdict::Rest(Rest::Settling);
        }
        let since = *self.over_since.get_or_insert(now);
        if now.duration_since(since) < self.news {
            return Verdict::Rest(Rest::Confirming);
        }
        Verdict::Shed(share.excess.clamp(1, bounds.round.max(1)))
    }

    /// A round is over: connections before it, and how many sessions it told.
    pub fn moved(&mut self, (before, told): (u64, u64), now: Instant) {
        self.over_since = None;
        self.last = (told > 0).then_some((before, told));
        self.pause(now);
    }

    /// Whether a round that is under way still stands on what it began with.
    pub fn may_go_on(&self, sight: &Sight<'_>) -> bool {
        let is_known = |info: &NodeInfo| {
            let heard = self.heard.get(&info.node);
            heard.is_some_and(|heard| heard.epoch == info.epoch)
        };
        sight.standing == Standing::Member
            && sight.peers.len() == self.heard.len()
            && sight
                .peers
                .iter()
                .all(|info| is_known(info) && is_steady(info))
    }

    fn hindrance(&mut self, sight: &Sight<'_>, changed: bool, now: Instant) -> Option<Rest> {
        match sight.standing {
            Standing::Member => {}
            Standing::Off | Standing::Outside | Standing::Leaving => return Some(Rest::Apart),
        }
        if changed || !sight.peers.iter().all(is_steady) {
            self.pause(now);
            return Some(Rest::Change);
        }
        if self.heard.is_empty() {
            return Some(Rest::Alone);
        }
        // Two renewals may be lost before that says anything.
        let old = self.news * 3;
        let is_old = |heard: &Heard| now.duration_since(heard.at) > old;
        self.heard.values().any(is_old).then_some(Rest::Stale)
    }

    /// Notes what the others say; whether any came or went.
    fn hear(&mut self, peers: &[NodeInfo], now: Instant) -> bool {
        let before = self.heard.len();
        self.heard
            .retain(|node, _| peers.iter().any(|info| info.node == *node));
        let mut changed = self.heard.len() != before;
        for info in peers {
            let fresh = Heard {
                epoch: info.epoch,
                beat: info.beat,
                at: now,
            };
            let known = self.heard.get(&info.node);
            let is_new = known.is_none_or(|known| known.epoch != info.epoch);
            changed |= is_new;
            if is_new || known.is_some_and(|known| known.beat != info.beat) {
                self.heard.insert(info.node.clone(), fresh);
            }
        }
        changed
    }

    /// Whether the last round's sessions came back to this node: then the next waits for longer.
    fn was_futile(&mut self, sight: &Sight<'_>, now: Instant) -> bool {
        let Some((before, told)) = self.last.take() else {
            return false;
        };
        let fell = before.saturating_sub(sight.connections);
        if fell.saturating_mul(EFFECT) >= told {
            self.futile = 0;
            return false;
        }
        self.futile = (self.futile + 1).min(DOUBLINGS);
        self.pause(now);
        true
    }

    /// Long enough for clients to come back, and for everyone to hear of it.
    fn pause(&mut self, now: Instant) {
        self.not_before = Some(now + self.news * 2 * 2_u32.pow(self.futile));
    }
}

/// A node that is neither going nor just beginning, and says how it is.
fn is_steady(info: &NodeInfo) -> bool {
    info.synced && !info.leaving && info.beat > 0
}

/// How a node's connections compare.
struct Share {
    /// Beyond the bound.
    surplus: u64,
    /// Beyond half of the bound: what a round gives away.
    excess: u64,
}

impl Share {
    fn of(sight: &Sight<'_>, bounds: &Bounds) -> Self {
        let peers: u64 = sight.peers.iter().map(|info| info.connections).sum();
        let nodes = sight.peers.len() as u64 + 1;
        let mean = (sight.connections + peers) / nodes;
        let bound = allowed(mean, bounds);
        let above = sight.connections.saturating_sub(mean);
        Self {
            surplus: above.saturating_sub(bound),
            excess: above.saturating_sub(bound / 2),
        }
    }
}

/// What a node may have more than this mean. Clients that come at random differ by the square root of it.
fn allowed(mean: u64, bounds: &Bounds) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "connections are far below 2^52, and a cast of floats stays within its type"
    )]
    let relative = (mean as f64 * bounds.relative) as u64;
    bounds.absolute.max(relative).max(2 * mean.isqrt())
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
