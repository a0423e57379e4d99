//! `PeerBroker`: envelopes for one node go over a stream to it, where there is one, and by pub/sub otherwise; envelopes for
//! all go by pub/sub, and over the streams as well.
//!
//! A stream is a gRPC call between two nodes that stays open: it costs a fraction of a message by way of Redis, on both
//! sides and in Redis. It may break at any time; nothing is lost or doubled by that, and the order between two nodes holds
//! across both ways. [`sent`] numbers what goes out, [`heard`] puts in order what comes in, and what was not acknowledged
//! when a stream broke goes again by pub/sub.

mod door;
mod heard;
mod incoming;
mod outgoing;
mod sent;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join, join_all};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use door::{Door, Doorway};
pub use incoming::{Keep, Kept, PeerService};

pub(in crate::cluster) use heard::{Heard, Word};
pub(in crate::cluster) use incoming::Incoming;

use self::outgoing::Dialler;
use self::sent::{Placed, Sent, Streamed};
use super::shared::Shared;
use super::{Broker, ClusterError, Destination};
use crate::security::Sealer;

/// Shows that the caller has read the registry.
const KEY: &str = "wsc-key";
/// Which node calls.
const NODE: &str = "wsc-node";
/// Which process of that name.
const PROCESS: &str = "wsc-process";
/// Which of its streams.
const STREAM: &str = "wsc-stream";

/// See the module.
pub(super) struct PeerBroker {
    shared: Arc<Shared>,
    sent: Arc<Sent>,
    pub_sub: Arc<dyn Broker>,
}

impl PeerBroker {
    /// Over pub/sub alone, until streams are open; keeps opening them until cancelled.
    pub(super) fn start(
        shared: Arc<Shared>,
        (pub_sub, sealer): (Arc<dyn Broker>, Arc<Sealer>),
        heard: Arc<Heard>,
        (tasks, cancel): (&TaskTracker, &CancellationToken),
    ) -> Arc<Self> {
        let sent = Arc::new(Sent::new(shared.identity.node.clone(), sealer));
        let dialler = Dialler {
            shared: Arc::clone(&shared),
            sent: Arc::clone(&sent),
            heard,
            pub_sub: Arc::clone(&pub_sub),
            tasks: tasks.clone(),
        };
        tasks.spawn(dialler.run(cancel.clone()));
        Arc::new(Self {
            shared,
            sent,
            pub_sub,
        })
    }

    /// Waits for the acknowledgement; what does not come is sent again by pub/sub. Places in the batch, with how many nodes
    /// received each.
    async fn over_stream(&self, streamed: Streamed) -> Result<Vec<(usize, u64)>, ClusterError> {
        let stats = &self.shared.stats;
        let count = streamed.envelopes.len() as u64;
        let last = streamed.envelopes.last().map_or(0, |sent| sent.number);
        if streamed.stream.has_taken(last).await {
            stats.streamed_out.fetch_add(count, Relaxed);
            let places = streamed.envelopes.iter().filter_map(|sent| sent.place);
            return Ok(places.map(|place| (place, 1)).collect());
        }
        tracing::debug!(node = %streamed.node, count, "what a stream did not take goes again by pub/sub");
        stats.stream_repeats.fetch_add(count, Relaxed);
        let again = self.sent.again(streamed).into_iter();
        let (places, batch): (Vec<Option<usize>>, Vec<_>) = again
            .map(|(place, to, envelope)| (place, (to, envelope)))
            .unzip();
        let received = self.pub_sub.publish(batch).await?;
        let counts = places.into_iter().zip(received);
        Ok(counts
            .filter_map(|(place, count)| Some((place?, count)))
            .collect())
    }

    async fn by_pub_sub(&self, placed: Vec<Placed>) -> Result<Vec<(usize, u64)>, ClusterError> {
        if placed.is_empty() {
            return Ok(Vec::new());
        }
        let places: Vec<usize> = placed.iter().map(|(place, ..)| *place).collect();
        let batch = placed.into_iter().map(|(_, to, envelope)| (to, envelope));
        let received = self.pub_sub.publish(batch.collect()).await?;
        Ok(places.into_iter().zip(received).collect())
    }
}

impl Broker for PeerBroker {
    fn publish(
        &self,
        batch: Vec<(Destination, Bytes)>,
    ) -> BoxFuture<'_, Result<Vec<u64>, ClusterError>> {
        Box::pin(async move {
            let mut received = vec![0; batch.len()];
            let ways = self.sent.send(batch);
            let streams = ways.streams.into_iter();
            let streams = join_all(streams.map(|streamed| self.over_stream(streamed)));
            let (published, streamed) = join(self.by_pub_sub(ways.pub_sub), streams).await;
            let mut failed = None;
            for counts in std::iter::once(published).chain(streamed) {
                match counts {
                    Ok(counts) => {
                        for (place, count) in counts {
                            if let Some(received) = received.get_mut(place) {
                                *received = count;
                            }
                        }
                    }
                    Err(error) => failed = Some(error),
                }
            }
            // What went another way has arrived: of the rest it is said that nobody took it.
            match failed {
                Some(error) if received.iter().all(|count| *count == 0) => Err(error),
                Some(_) | None => Ok(received),
            }
        })
    }
}
