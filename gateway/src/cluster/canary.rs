//! `Canary`: a number sent to oneself around the link, again and again. It proves what a living socket does not: that
//! Redis takes a publish, that the subscription is there, and that its messages come through. A canary that does not
//! return in time costs the link its trust, so that it is made anew. A silent link is noticed within a pause and a
//! deadline, four seconds at most.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::status::bump;
use super::{Broker, ClusterError, Destination, envelope};

/// See the module.
pub(super) struct Canary {
    pub(super) shared: Arc<Shared>,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) pause: Duration,
}

impl Canary {
    const DEADLINE: Duration = Duration::from_secs(2);

    pub(super) async fn run(self, cancel: CancellationToken) {
        // Random, so that another process of the same name cannot answer for this one's link.
        let mut number: u64 = rand::random();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep(self.pause) => {}
            }
            number = number.wrapping_add(1);
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.fly(number) => {}
            }
        }
    }

    async fn fly(&self, number: u64) {
        let Some(generation) = self.shared.wire.generation() else {
            return;
        };
        let start = Instant::now();
        let reason = match timeout(Self::DEADLINE, self.round_trip(number)).await {
            Ok(Ok(())) => {
                let millis = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.shared.stats.canary_came(millis);
                return;
            }
            Ok(Err(error)) => describe(&error),
            Err(_) => format!(
                "a canary did not come around within {} ms",
                Self::DEADLINE.as_millis()
            ),
        };
        bump(&self.shared.stats.canaries_lost);
        self.shared.wire.distrust(generation, reason);
    }

    async fn round_trip(&self, number: u64) -> Result<(), ClusterError> {
        let mut seen = self.shared.canary.subscribe();
        self.shared.flying.store(number, Relaxed);
        let identity = &self.shared.identity;
        let batch = vec![(
            Destination::Node(identity.node.clone()),
            envelope::canary(identity, number),
        )];
        self.broker.publish(batch).await?;
        // The sender lives as long as `shared`, so waiting ends by the number or by the deadline.
        let _ = seen.wait_for(|last| *last == number).await;
        Ok(())
    }
}

/// An error with its cause, for a status line.
pub(super) fn describe(error: &ClusterError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
