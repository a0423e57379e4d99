//! What a claim and a renewal come to, from what stands in etcd. Pure; the registry commits it on the very revision that
//! was looked at, so that nobody else can have come between.

use crate::cluster::{Claim, NodeInfo};
use crate::protocol::Epoch;

/// Who holds a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) info: NodeInfo,
    /// The number of the process that was given it.
    pub(super) process: u64,
}

/// What stands under a name, and what the epoch that follows must be larger than.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) held: Option<Held>,
    /// The last epoch given under this name, as far as anyone remembers.
    pub(super) last: Epoch,
    /// etcd's revision at that moment.
    pub(super) revision: u64,
}

/// What a claim comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claimed {
    /// The name is the caller's under this epoch, once it is written.
    Granted(Epoch),
    /// A newer process holds it.
    Held(Epoch),
}

/// What a renewal comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewed {
    /// The lease is the caller's.
    Mine,
    /// There is nothing to renew: claim anew.
    Gone,
    /// A newer process holds the name.
    Fenced(Epoch),
}

/// An epoch is etcd's next revision, or one more than any that is known where that is larger: as it is after etcd has lost
/// its data, and after a cluster that found its nodes by Redis.
pub(super) fn claim(seen: &Seen, own: Epoch, claim: Claim, process: u64) -> Claimed {
    if let (Claim::IfVacant, Some(held)) = (claim, &seen.held)
        && held.info.epoch > own
    {
        if is_unheard(held, process) {
            return Claimed::Granted(held.info.epoch);
        }
        return Claimed::Held(held.info.epoch);
    }
    let held = seen.held.as_ref().map_or(Epoch(0), |held| held.info.epoch);
    let known = held.max(seen.last).max(own);
    Claimed::Granted(Epoch(seen.revision.max(known.0).saturating_add(1)))
}

pub(super) fn renew(held: Option<&Held>, own: Epoch, process: u64) -> Renewed {
    match held {
        Some(held) if held.info.epoch == own => Renewed::Mine,
        Some(held) if held.info.epoch > own && !is_unheard(held, process) => {
            Renewed::Fenced(held.info.epoch)
        }
        Some(_) | None => Renewed::Gone,
    }
}

/// Whether it was given to this very process, which did not hear of it.
fn is_unheard(held: &Held, process: u64) -> bool {
    process != 0 && held.process == process
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::NodeId;

    fn held(epoch: u64, process: u64) -> Held {
        Held {
            info: NodeInfo {
                node: NodeId::new("a"),
                epoch: Epoch(epoch),
                address: String::new(),
                connections: 0,
                synced: true,
                beat: 1,
                leaving: false,
                door: None,
            },
            process,
        }
    }

    fn seen(held: Option<Held>, last: u64, revision: u64) -> Seen {
        Seen {
            held,
            last: Epoch(last),
            revision,
        }
    }

    #[test]
    fn an_epoch_is_the_next_revision_or_one_more_than_any_known() {
        let take = |seen: &Seen, own| claim(seen, Epoch(own), Claim::Take, 1);
        assert_eq!(take(&seen(None, 0, 9), 0), Claimed::Granted(Epoch(10)));
        assert_eq!(take(&seen(None, 50, 9), 0), Claimed::Granted(Epoch(51)));
        assert_eq!(take(&seen(None, 0, 9), 70), Claimed::Granted(Epoch(71)));
        let other = seen(Some(held(90, 2)), 0, 9);
        assert_eq!(take(&other, 0), Claimed::Granted(Epoch(91)));
    }

    #[test]
    fn who_lost_its_lease_does_not_push_out_who_came_after() {
        let other = seen(Some(held(90, 2)), 90, 95);
        let back = |own, process| claim(&other, Epoch(own), Claim::IfVacant, process);
        assert_eq!(back(80, 1), Claimed::Held(Epoch(90)));
        assert_eq!(back(80, 2), Claimed::Granted(Epoch(90)), "its own, unheard");
        assert_eq!(back(90, 1), Claimed::Granted(Epoch(96)));
        let process_unknown = seen(Some(held(90, 0)), 90, 95);
        let back = claim(&process_unknown, Epoch(80), Claim::IfVacant, 0);
        assert_eq!(back, Claimed::Held(Epoch(90)));
    }

    #[test]
    fn only_the_epoch_that_holds_a_name_renews() {
        let other = held(90, 2);
        assert_eq!(renew(Some(&other), Epoch(90), 1), Renewed::Mine);
        assert_eq!(
            renew(Some(&other), Epoch(80), 1),
            Renewed::Fenced(Epoch(90))
        );
        assert_eq!(renew(Some(&other), Epoch(80), 2), Renewed::Gone);
        assert_eq!(renew(Some(&other), Epoch(95), 1), Renewed::Gone);
        assert_eq!(renew(None, Epoch(95), 1), Renewed::Gone);
    }
}
