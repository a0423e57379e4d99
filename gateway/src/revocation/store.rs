//! `Store`: the list of revoked tokens in Redis, read piece by piece: what was added after what is known.

use std::sync::Arc;

use parking_lot::Mutex;

use super::scripts::{ADD, BATCH, NEWS, PAGE};
use crate::cluster::ClusterError;
use crate::cluster::redis::{RedisCalls, RedisLink};
use crate::security::{Revocation, Revocations};
use crate::telemetry::RedisPart;

/// The tag of the list's keys: they lie in one slot.
const TAG: &str = "revoked";

/// See the module.
pub(super) struct Store {
    link: RedisCalls,
    known: Mutex<Place>,
}

/// How far the list has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    /// Which list: another one when Redis has lost it. Empty: there was none.
    epoch: String,
    /// The last line.
    seq: u64,
    /// Redis has lost a list, and has not been given back what this node knew of it.
    owes: bool,
}

impl Place {
    /// Goes by this list, from its beginning if it is another one.
    fn turn_to(&mut self, epoch: String) {
        if self.epoch != epoch {
            (self.epoch, self.seq) = (epoch, 0);
        }
    }
}

impl Store {
    pub(super) fn new(link: &Arc<RedisLink>) -> Self {
        let known = Mutex::default();
        let link = link.calls(RedisPart::Revocations);
        Self { link, known }
    }

    /// Stores a line.
    pub(super) async fn add(&self, line: &Revocation) -> Result<(), ClusterError> {
        let (epoch, full) = self.write(std::slice::from_ref(line)).await?;
        if full > 0 {
            let what = "the list of revoked tokens holds 100000 lines";
            return Err(ClusterError::Refused {
                operation: "revoke",
                source: (::redis::ErrorKind::Extension, what).into(),
            });
        }
        let mut known = self.known.lock();
        // A list that is lost before it was read is one that was lost.
        if known.epoch.is_empty() {
            known.turn_to(epoch);
        }
        Ok(())
    }

    /// The next of the lines that were added since the last call; `None`: these were all. Whoever has them must go by them:
    /// they are not read again.
    pub(super) async fn news(&self) -> Result<Option<Vec<Revocation>>, ClusterError> {
        let place = self.known.lock().clone();
        let (epoch, texts) = self.read(&place).await?;
        if epoch != place.epoch {
            let mut known = self.known.lock();
            known.owes |= !place.epoch.is_empty();
            let is_none = epoch.is_empty();
            known.turn_to(epoch);
            // The other list is read from its beginning, with the next call.
            return Ok((!is_none).then(Vec::new));
        }
        let Some((_, last)) = texts.last() else {
            return Ok(None);
        };
        self.known.lock().seq = *last;
        // What a later release writes and this one cannot read is passed over.
        let texts = texts.iter();
        let lines = texts.filter_map(|(text, _)| serde_json::from_str(text).ok());
        Ok(Some(lines.collect()))
    }

    /// Gives a Redis that has lost the list what this node knows: nodes that start now would not know of it. Where that fails
    /// it is still owed.
    pub(super) async fn give_back(&self, known: &Revocations) -> Result<(), ClusterError> {
        if !self.known.lock().owes {
            return Ok(());
        }
        let (mut first, mut left_out) = (None, 0);
        for lines in known.all().chunks(BATCH) {
            let (epoch, full) = self.write(lines).await?;
            left_out += full;
            first.get_or_insert(epoch);
        }
        if left_out > 0 {
            tracing::warn!(
                left_out,
                "the list of revoked tokens was lost, and is full before all of it is stored again"
            );
        }
        let mut known = self.known.lock();
        known.owes = false;
        // Lost again meanwhile, it is another one than the next look will find.
        if let Some(epoch) = first {
            known.turn_to(epoch);
        }
        Ok(())
    }

    /// Adds lines; the list's epoch, and how many lines found no room.
    async fn write(&self, lines: &[Revocation]) -> Result<(String, u64), ClusterError> {
        let mut call = ADD.prepare_invoke();
        for name in ["lines", "until", "meta"] {
            call.key(self.link.key(TAG, name));
        }
        call.arg(format!("{:016x}", rand::random::<u64>()));
        for line in lines {
            let text = serde_json::to_string(line).map_err(|_| ClusterError::Unreadable {
                operation: "revoke",
            })?;
            call.arg(text).arg(line.until);
        }
        self.link.run("revoke", &call).await
    }

    /// The list's epoch, or nothing when there is none, and lines with their numbers.
    async fn read(&self, place: &Place) -> Result<(String, Vec<(String, u64)>), ClusterError> {
        let mut call = NEWS.prepare_invoke();
        for name in ["lines", "meta"] {
            call.key(self.link.key(TAG, name));
        }
        call.arg(place.seq).arg(PAGE);
        self.link.run("revocations", &call).await
    }
}
