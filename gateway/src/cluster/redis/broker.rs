//! `RedisBroker`: envelopes by Redis pub/sub, a channel per node and one for all. A batch is one pipeline; Redis runs it
//! in order and every subscriber gets it in order. Whole envelopes are sealed where contents are to be.

use std::sync::Arc;

use ::redis::Pipeline;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{RedisCalls, RedisLink};
use crate::cluster::{Broker, ClusterError, Destination, Listener};
use crate::security::Sealer;
use crate::telemetry::RedisPart;

/// What sealed envelopes belong to.
pub(in crate::cluster) const ENVELOPES: &[&[u8]] = &[b"envelope"];

/// Opens envelopes for whoever listens. One that cannot be opened goes on as it is and is counted there as malformed.
pub(in crate::cluster) struct Opening {
    pub(in crate::cluster) sealer: Arc<Sealer>,
    pub(in crate::cluster) listener: Arc<dyn Listener>,
}

impl Listener for Opening {
    fn offer(&self, envelope: Bytes) {
        match self.sealer.open(ENVELOPES, &envelope) {
            Ok(opened) => self.listener.offer(opened),
            Err(error) => {
                tracing::debug!(%error, "an envelope from another node");
                self.listener.offer(envelope);
            }
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct RedisBroker {
    link: RedisCalls,
}

impl RedisBroker {
    /// Over this link.
    pub fn new(link: &Arc<RedisLink>) -> Self {
        let link = link.calls(RedisPart::Messages);
        Self { link }
    }
}

impl Broker for RedisBroker {
    fn publish(
        &self,
        batch: Vec<(Destination, Bytes)>,
    ) -> BoxFuture<'_, Result<Vec<u64>, ClusterError>> {
        Box::pin(async move {
            if batch.is_empty() {
                return Ok(Vec::new());
            }
            let sealer = self.link.sealer();
            let mut pipeline = Pipeline::with_capacity(batch.len());
            for (to, envelope) in &batch {
                let channel = match to {
                    Destination::Node(node) => self.link.keys.channel(node),
                    Destination::All => self.link.keys.channel_of_all(),
                };
                pipeline
                    .cmd(self.link.publish())
                    .arg(channel)
                    .arg(sealer.seal(ENVELOPES, envelope).as_ref());
            }
            self.link.query_in_order("publish", &pipeline).await
        })
    }
}
