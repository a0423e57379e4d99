//! When to look over what may have been missed: regularly, and at once when the link to the other nodes was made anew.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Cluster, Link};

/// How often it is looked whether the link was made anew.
const GLANCE: Duration = Duration::from_millis(500);

/// See the module.
pub struct Rounds {
    cluster: Cluster,
    pause: Duration,
    /// How often the link had been made at the last look.
    links: Option<u64>,
    next: Instant,
}

impl Rounds {
    /// At once where there is a link, and then with this pause.
    pub fn new(cluster: Cluster, pause: Duration) -> Self {
        Self {
            cluster,
            pause,
            links: None,
            next: Instant::now(),
        }
    }

    /// Waits until it is time to look, which is never while there is no link.
    pub async fn due(&mut self) {
        loop {
            sleep(GLANCE).await;
            let status = self.cluster.status();
            let is_new = self.links != Some(status.links);
            if matches!(status.link, Link::Down { .. }) || (!is_new && Instant::now() < self.next) {
                continue;
            }
            self.links = Some(status.links);
            self.next = Instant::now() + self.pause;
            return;
        }
    }

    /// Looks whenever it is time, until cancelled; a look that has begun is finished. What cannot be done now is done later.
    pub async fn run<E: Display>(
        mut self,
        cancel: CancellationToken,
        mut look: impl AsyncFnMut() -> Result<(), E>,
    ) {
        while cancel.run_until_cancelled(self.due()).await.is_some() {
            if let Err(error) = look().await {
                tracing::debug!(%error, "the ends of logs cannot be read now");
            }
        }
    }
}
