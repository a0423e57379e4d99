//! Up to where users have their inboxes, written behind: a loss of the last moments costs a repetition, never a message.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::log::Log;
use crate::protocol::{Position, UserId};

/// Gathers what is noted within it into one round of writes.
const PAUSE: Duration = Duration::from_millis(250);
/// Writes under way at once.
const ROUND: usize = 256;

#[derive(Debug, Default)]
struct Shared {
    /// At most one place a user of this node.
    noted: Mutex<HashMap<UserId, Position>>,
    wake: Notify,
}

/// Where places are noted.
#[derive(Clone, Debug)]
pub(super) struct Seen(Arc<Shared>);

/// The task that writes them.
pub(super) struct Flusher {
    shared: Arc<Shared>,
    log: Arc<dyn Log>,
}

pub(super) fn seen(log: Arc<dyn Log>) -> (Seen, Flusher) {
    let shared = Arc::<Shared>::default();
    (Seen(shared.clone()), Flusher { shared, log })
}

impl Seen {
    pub(super) fn note(&self, user: &UserId, position: Position) {
        let mut noted = self.0.noted.lock();
        let place = noted.entry(user.clone()).or_default();
        *place = position.max(*place);
        drop(noted);
        self.0.wake.notify_one();
    }
}

impl Flusher {
    pub(super) async fn run(self, cancel: CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.shared.wake.notified() => {}
            }
            self.flush().await;
            tokio::select! {
                () = cancel.cancelled() => return self.flush().await,
                () = sleep(PAUSE) => {}
            }
        }
    }

    async fn flush(&self) {
        let noted: Vec<_> = self.shared.noted.lock().drain().collect();
        for round in noted.chunks(ROUND) {
            let writes = round.iter().map(|(user, at)| self.log.saw(user, *at));
            for ((user, position), written) in round.iter().zip(join_all(writes).await) {
                if let Err(error) = written {
                    // The user will get again what is already there, and knows it by its ids.
                    tracing::debug!(%user, %position, %error, "a place in an inbox was not noted");
                }
            }
        }
    }
}
