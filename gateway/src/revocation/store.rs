//! `Store`: the list of revoked tokens in Redis, read piece by piece: what was added after what is known.

use std::sync::Arc;

use parking_lot::Mutex;

use super::scripts::{ADD, NEWS, PAGE};
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
    /// Which list: another one when Redis has lost it.
    epoch: String,
    /// The last line.
    seq: u64,
}

impl Store {
    pub(super) fn new(link: &Arc<RedisLink>) -> Self {
        let known = Mutex::default();
        let link = link.calls(RedisPart::Revocations);
        Self { link, known }
    }

    /// Stores a line.
    pub(super) async fn add(&self, line: &Revocation) -> Result<(), ClusterError> {
        let text = serde_json::to_string(line).map_err(|_| ClusterError::Unreadable {
            operation: "revoke",
        })?;
        let epoch = format!("{:016x}", rand::random::<u64>());
        let mut call = ADD.prepare_invoke();
        for name in ["lines", "until", "meta"] {
            call.key(self.link.key(TAG, name));
        }
        call.arg(text).arg(line.until).arg(epoch);
        let (): () = self.link.run("revoke", &call).await?;
        Ok(())
    }

    /// What was added since the last call. A list that begins anew is given back what `known` holds.
    pub(super) async fn news(&self, known: &Revocations) -> Result<Vec<Revocation>, ClusterError> {
        let mut lines = Vec::new();
        loop {
            let place = self.known.lock().clone();
            let (epoch, texts): (String, Vec<(String, u64)>) = self.read(&place).await?;
            if epoch != place.epoch {
                let seq = 0;
                *self.known.lock() = Place {
                    epoch: epoch.clone(),
                    seq,
                };
                if !place.epoch.is_empty() {
                    self.restore(known).await?;
                }
                if epoch.is_empty() {
                    return Ok(lines);
                }
                continue;
            }
            let read = texts.len();
            if let Some((_, last)) = texts.last() {
                self.known.lock().seq = *last;
            }
            // What a later release writes and this one cannot read is passed over.
            let texts = texts.iter();
            lines.extend(
                texts.filter_map(|(text, _)| serde_json::from_str::<Revocation>(text).ok()),
            );
            if read < PAGE {
                return Ok(lines);
            }
        }
    }

    async fn read(&self, place: &Place) -> Result<(String, Vec<(String, u64)>), ClusterError> {
        let mut call = NEWS.prepare_invoke();
        for name in ["lines", "meta"] {
            call.key(self.link.key(TAG, name));
        }
        call.arg(place.seq).arg(PAGE);
        self.link.run("revocations", &call).await
    }

    /// Redis has lost the list: nodes that start now would not know of it.
    async fn restore(&self, known: &Revocations) -> Result<(), ClusterError> {
        for line in known.all() {
            self.add(&line).await?;
        }
        Ok(())
    }
}
