//! `Crowd`: how many of something come from each address, so that one address does not take the room of all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::security::counted_as;

/// See the module. Bounded by what it counts.
#[derive(Debug, Default)]
pub(super) struct Crowd(Mutex<HashMap<IpAddr, u32>>);

/// One of a crowd; leaves it when dropped.
#[derive(Debug)]
pub struct Place {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Crowd {
    /// One more from this address, unless there are as many already.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, limit: Option<u32>) -> Option<Place> {
        let address = counted_as(address);
        let mut counts = self.0.lock();
        let count = counts.entry(address).or_default();
        if limit.is_some_and(|limit| *count >= limit) {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Place {
            crowd: Arc::clone(self),
            address,
        })
    }

    /// One more, whatever the limit, which [`Crowd::leave`] ends.
    pub(super) fn join(&self, address: IpAddr) {
        let mut counts = self.0.lock();
        let count = counts.entry(counted_as(address)).or_default();
        *count = count.saturating_add(1);
    }

    /// One less.
    pub(super) fn leave(&self, address: IpAddr) {
        let mut counts = self.0.lock();
        if let Entry::Occupied(mut count) = counts.entry(counted_as(address)) {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.leave(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_full_while_others_have_room_and_who_leaves_makes_room() {
        let crowd = Arc::new(Crowd::default());
        let enter = |address: &str| crowd.enter(address.parse().unwrap(), Some(2));
        let first = enter("192.0.2.1").unwrap();
        let _second = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        let other = enter("192.0.2.2").unwrap();
        drop(first);
        assert!(enter("192.0.2.1").is_some());
        drop(other);
        assert_eq!(crowd.0.lock().len(), 1);
        assert!(crowd.enter("192.0.2.1".parse().unwrap(), None).is_some());
    }
}
