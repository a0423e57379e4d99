//! `Due`: what waits for an acknowledgement, by the time when it is given up. What is forgotten is found without a look at all
//! that waits.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::super::Awaited;

/// See the module. Times are in milliseconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Due {
    until: HashMap<Arc<Awaited>, u64>,
    by_time: BTreeSet<(u64, Arc<Awaited>)>,
}

impl Due {
    /// Gives these up at this time. A repetition does not put it off.
    pub(super) fn remember(&mut self, awaited: &[Awaited], until: u64) {
        for one in awaited {
            if self.until.contains_key(one) {
                continue;
            }
            let one = Arc::new(one.clone());
            self.until.insert(Arc::clone(&one), until);
            self.by_time.insert((until, one));
        }
    }

    /// At most so many of a share whose time is over.
    pub(super) fn of_share(&self, share: u8, (now, limit): (u64, usize)) -> Vec<Awaited> {
        let due = self.by_time.iter().take_while(|(until, _)| *until <= now);
        let of_share = due.filter(|(_, awaited)| awaited.share() == share);
        let due = of_share.take(limit);
        due.map(|(_, awaited)| awaited.as_ref().clone()).collect()
    }

    /// These wait no longer.
    pub(super) fn forget(&mut self, awaited: &[Awaited]) {
        for one in awaited {
            if let Some((one, until)) = self.until.remove_entry(one) {
                self.by_time.remove(&(until, one));
            }
        }
    }
}
