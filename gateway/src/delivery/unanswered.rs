//! Words of readers of which nobody knows whether the log has them: its answer was lost, or there is no connection to it.
//!
//! They are said again with the moment at which they were said first: what the log took at that moment is news once more, and
//! so the sender hears of it. They are this node's: if it ends before the log answers, a receipt may be missing.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Delivery;
use crate::log::AckState;
use crate::protocol::{LogId, UserId};

/// Words that wait to be said again. Those beyond it are not: who said them has heard that they were not taken.
const QUEUE: usize = 1024;
/// The pause before a word is said again.
const PAUSE: Duration = Duration::from_millis(500);
/// For so long one is.
const PATIENCE: Duration = Duration::from_mins(10);

/// A reader's word for messages of one id.
#[derive(Debug)]
pub(super) struct Saying {
    pub(super) log: LogId,
    pub(super) user: UserId,
    pub(super) id: String,
    /// Of whose messages; `None`: of every sender's.
    pub(super) sender: Option<String>,
    pub(super) state: AckState,
    /// When it was said first, Unix time in milliseconds.
    pub(super) at: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Unanswered(mpsc::Sender<(Saying, Instant)>);

/// The task that says them again.
pub(super) struct Sayings(mpsc::Receiver<(Saying, Instant)>);

impl Unanswered {
    pub(super) fn new() -> (Self, Sayings) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), Sayings(receiver))
    }

    /// Has a word said again.
    pub(super) fn keep(&self, saying: Saying) {
        let until = Instant::now() + PATIENCE;
        if let Err(error) = self.0.try_send((saying, until)) {
            tracing::debug!(%error, "an acknowledgement is not tried again");
        }
    }
}

impl Sayings {
    pub(super) async fn run(self, delivery: Delivery, cancel: CancellationToken) {
        cancel.run_until_cancelled(self.say(delivery)).await;
    }

    async fn say(mut self, delivery: Delivery) {
        while let Some((saying, until)) = self.0.recv().await {
            sleep(PAUSE).await;
            while let Err(error) = delivery.pass_on(&saying).await {
                if Instant::now() >= until {
                    let (user, id) = (&saying.user, &saying.id);
                    tracing::debug!(%user, id, %error, "an acknowledgement is not tried any more");
                    break;
                }
                sleep(PAUSE).await;
            }
        }
    }
}
