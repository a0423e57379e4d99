//! `Teller`: a hook's worker for events. It gathers what comes, delivers one batch at a time, in order, and tries again
//! within the configured bounds; then the batch is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Core;
use super::wire::HookError;
use crate::presence::Feed;
use crate::service::Event;

/// See the module.
pub(super) struct Teller {
    pub(super) core: Arc<Core>,
    /// Cancelled, what waits gets one attempt more.
    pub(super) cancel: CancellationToken,
}

/// What became of a batch.
enum Delivery {
    Told,
    Dropped,
    /// The process ends.
    Ending,
}

impl Teller {
    /// Delivers this node's events until the queue ends or the process does.
    pub(super) async fn run(self, mut queue: mpsc::Receiver<Event>) {
        loop {
            let first = match self.cancel.run_until_cancelled(queue.recv()).await {
                Some(Some(first)) => first,
                Some(None) => return,
                None => break,
            };
            let batch = self.gather(first, &mut queue).await;
            self.deliver_and_count(&batch).await;
        }
        queue.close();
        let most = self.core.plan.config().batch.max_events as usize;
        let mut rest = Vec::new();
        while queue.recv_many(&mut rest, most).await > 0 {
            self.deliver_and_count(&rest).await;
            rest.clear();
        }
    }

    async fn gather(&self, first: Event, queue: &mut mpsc::Receiver<Event>) -> Vec<Event> {
        let batch = &self.core.plan.config().batch;
        let (most, until) = (
            batch.max_events as usize,
            Instant::now() + batch.max_age.get(),
        );
        let mut events = vec![first];
        while events.len() < most {
            let next = self.cancel.run_until_cancelled(queue.recv());
            match timeout_at(until, next).await {
                Ok(Some(Some(event))) => events.push(event),
                Ok(_) | Err(_) => break,
            }
        }
        events
    }

    async fn deliver_and_count(&self, batch: &[Event]) {
        let count = batch.len() as u64;
        if matches!(self.deliver(batch).await, Delivery::Ending) {
            self.core.stats.dropped.fetch_add(count, Relaxed);
        }
        self.core.stats.queued.fetch_sub(count, Relaxed);
    }

    /// Delivers who comes and goes, for the whole cluster, as long as this node is the one to do it. What is not delivered
    /// when the process ends is another node's.
    pub(super) async fn pass_on(self, mut feed: Feed) {
        let plan = &self.core.plan;
        let most = plan.config().batch.max_events as usize;
        while let Some(events) = self.cancel.run_until_cancelled(feed.next(most)).await {
            let wanted = events.into_iter().filter(|event| plan.wants(&event.name));
            let wanted: Vec<Event> = wanted.collect();
            if !wanted.is_empty() && matches!(self.deliver(&wanted).await, Delivery::Ending) {
                return;
            }
            feed.done().await;
        }
    }

    async fn deliver(&self, batch: &[Event]) -> Delivery {
        let (plan, stats, count) = (&self.core.plan, &self.core.stats, batch.len() as u64);
        let retry = &plan.config().retry;
        let give_up = Instant::now() + retry.give_up_after.get();
        let mut attempt = 0;
        loop {
            let is_ending = self.cancel.is_cancelled();
            let error = match self.core.tell(batch).await {
                Ok(()) => {
                    stats.told.fetch_add(count, Relaxed);
                    return Delivery::Told;
                }
                Err(error) => error,
            };
            if is_ending {
                return Delivery::Ending;
            }
            // An open circuit is waited for; it is no attempt.
            let pause = if matches!(error, HookError::Open) {
                self.core.circuit.left().min(retry.max_delay.get())
            } else {
                attempt += 1;
                plan.pause(attempt)
            };
            let is_over = attempt >= retry.max_attempts || Instant::now() + pause > give_up;
            if !error.is_worth_repeating() || is_over {
                tracing::warn!(hook = plan.name(), events = count, attempt, %error, "events are dropped");
                stats.dropped.fetch_add(count, Relaxed);
                return Delivery::Dropped;
            }
            stats.retried.fetch_add(1, Relaxed);
            // Cut short when the process ends: then comes the last attempt.
            let _ending = self.cancel.run_until_cancelled(sleep(pause)).await;
        }
    }
}
