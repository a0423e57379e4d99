//! `Stopping`: the operator's end in two steps.
//!
//! At the signal work ends and readiness goes. What the API server calls goes on being served until that has spread: the
//! endpoints of a Service and what goes by them are seconds behind, and whoever dials a closed port meanwhile is refused its
//! pod. A second signal ends the wait. Made by `run`; what listens and what it answers from end with `over`, all else with
//! `asked`.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

/// What it takes until nobody is sent here any more; with what is being answered then it has to fit into the grace period of
/// the pod, which the chart sets.
const SPREADS_WITHIN: Duration = Duration::from_secs(10);

/// How far the end has come.
#[derive(Clone, Debug, Default)]
pub struct Stopping {
    /// The end was asked for: nothing new is begun.
    pub asked: CancellationToken,
    /// Nobody is sent here any more: what listens closes.
    pub over: CancellationToken,
}

/// Whether the API server calls here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// By the webhook or the metrics API.
    ByApiServer,
    /// Nobody waits for an answer.
    ByNobody,
}

impl Stopping {
    /// Begins the end at the first SIGTERM or SIGINT.
    pub fn on_signal(&self, called: Called, tracker: &TaskTracker) -> std::io::Result<()> {
        let mut signals = Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        };
        let Self { asked, over } = self.clone();
        tracker.spawn(async move {
            tokio::select! {
                () = signals.next() => {}
                () = asked.cancelled() => {}
            }
            info!("stopping");
            asked.cancel();
            if called == Called::ByApiServer {
                tokio::select! {
                    () = tokio::time::sleep(SPREADS_WITHIN) => {}
                    () = signals.next() => {}
                }
            }
            over.cancel();
        });
        Ok(())
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
