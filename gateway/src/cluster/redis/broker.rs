//! `RedisBroker`: envelopes by Redis pub/sub, a channel per node and one for all. A batch is one pipeline; Redis runs it
//! in order and every subscriber gets it in order.

use std::sync::Arc;

use ::redis::Pipeline;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::RedisLink;
use crate::cluster::{Broker, ClusterError, Destination};

/// See the module.
#[derive(Debug)]
pub struct RedisBroker {
    link: Arc<RedisLink>,
}

impl RedisBroker {
    /// Over this link.
    pub fn new(link: Arc<RedisLink>) -> Self {
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
            let mut pipeline = Pipeline::with_capacity(batch.len());
            for (to, envelope) in &batch {
                let channel = match to {
                    Destination::Node(node) => self.link.keys.channel(node),
                    Destination::All => self.link.keys.channel_of_all(),
                };
                pipeline.cmd("PUBLISH").arg(channel).arg(envelope.as_ref());
            }
            self.link.query("publish", &pipeline).await
        })
    }
}
