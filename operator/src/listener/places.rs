//! `Places`: how many of something there may be at a time, in all and of one address.
//!
//! The API server cannot be told from others before it has asked, and where it is asked for no certificate not even then.
//! That nobody gets all places from one address leaves some for it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

/// A bounded number of places.
#[derive(Debug)]
pub(crate) struct Places {
    all: usize,
    of_one_address: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by: HashMap<IpAddr, usize>,
}

/// A place; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    /// All of them are free.
    pub(crate) fn new(all: usize, of_one_address: usize) -> Self {
        Self {
            all,
            of_one_address,
            taken: Mutex::default(),
            freed: Notify::new(),
        }
    }

    /// Takes a place for somebody at this address, if there is one for it.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        // The same machine, whichever way it came.
        let address = address.to_canonical();
        let mut taken = self.taken.lock();
        let by = taken.by.get(&address).copied().unwrap_or_default();
        if taken.all >= self.all || by >= self.of_one_address {
            return None;
        }
        taken.all += 1;
        taken.by.insert(address, by + 1);
        Some(Place {
            places: Arc::clone(self),
            address,
        })
    }

    /// The same, and waits for one for a while.
    pub(crate) async fn take_within(
        self: &Arc<Self>,
        address: IpAddr,
        patience: Duration,
    ) -> Option<Place> {
        let taking = async {
            loop {
                let mut freed = std::pin::pin!(self.freed.notified());
                // From now on, so that none is missed between the look and the wait.
                freed.as_mut().enable();
                if let Some(place) = self.take(address) {
                    return place;
                }
                freed.await;
            }
        };
        timeout(patience, taking).await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all = taken.all.saturating_sub(1);
        match taken.by.get_mut(&self.address) {
            Some(by) if *by > 1 => *by -= 1,
            _ => {
                taken.by.remove(&self.address);
            }
        }
        drop(taken);
        self.places.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_gets_its_part_and_all_together_get_no_more_than_there_is() {
        let places = Arc::new(Places::new(3, 2));
        let (one, other) = (address("10.0.0.1"), address("10.0.0.2"));
        let first = places.take(one).unwrap();
        let _second = places.take(address("::ffff:10.0.0.1")).unwrap();
        assert!(places.take(one).is_none(), "a third of one address");
        let _third = places.take(other).unwrap();
        assert!(places.take(other).is_none(), "a fourth in all");
        drop(first);
        assert!(places.take(other).is_some());
        assert_eq!(places.taken.lock().by.len(), 2, "addresses are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_the_place_that_becomes_free_or_gives_up() {
        let places = Arc::new(Places::new(1, 1));
        let who = address("10.0.0.1");
        let place = places.take(who).unwrap();
        let patience = Duration::from_secs(2);
        assert!(places.take_within(who, patience).await.is_none());
        let leaving = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(place);
        };
        let (got, ()) = tokio::join!(places.take_within(who, patience), leaving);
        assert!(got.is_some());
    }
}
