//! `Teller`: a hook's worker for events. It gathers what comes, delivers one batch at a time, in order, and tries again
//! within the configured bounds; then the batch is dropped and counted. What is over is cut off the journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Core;
use super::journal::{Journal, Stream, ends};
use super::scribe::{Waiting, Written};
use super::wire::HookError;
use crate::presence::Feed;
use crate::service::Event;

/// See the module.
#[derive(Clone)]
pub(super) struct Teller {
    pub(super) core: Arc<Core>,
    /// Cancelled, what waits gets one attempt more.
    pub(super) cancel: CancellationToken,
}

/// What became of a batch.
pub(super) enum Delivery {
    Told,
    Dropped,
    /// The process ends.
    Ending,
}

/// The events of one delivery, and where they are written.
#[derive(Default)]
struct Batch {
    events: Vec<Event>,
    written: Vec<Written>,
}

impl Batch {
    fn add(&mut self, waiting: Waiting) {
        let Waiting {
            event,
            place,
            written,
        } = waiting;
        // It does not wait any more.
        drop(place);
        self.events.push(event);
        self.written.extend(written);
    }
}

/// What is written and over, and not cut off yet.
struct Scissors {
    journal: Option<Journal>,
    over: BTreeMap<Arc<Stream>, u64>,
}

impl Scissors {
    /// Cuts off what is over. What fails is done with the next; only a node that takes over meanwhile delivers it again.
    async fn cut(&mut self, written: &[Written]) {
        let Some(journal) = &self.journal else { return };
        self.over.extend(ends(written.iter().map(|one| &one.entry)));
        if self.over.is_empty() {
            return;
        }
        match journal.cut(&self.over).await {
            Ok(()) => self.over.clear(),
            Err(error) => tracing::debug!(%error, "what was told to a hook is not cut off yet"),
        }
    }
}

impl Teller {
    /// Delivers this node's events until the queue ends.
    pub(super) async fn run(self, mut queue: mpsc::Receiver<Waiting>, journal: Option<Journal>) {
        let mut scissors = Scissors {
            journal,
            over: BTreeMap::new(),
        };
        // What is cut off a journal is all up to a place: nothing is, once something before it is left to whoever inherits it.
        let mut is_left = false;
        while let Some(first) = queue.recv().await {
            let batch = self.gather(first, &mut queue).await;
            let count = batch.events.len() as u64;
            if matches!(self.deliver(&batch.events).await, Delivery::Ending) {
                let left = batch.written.len() as u64;
                self.core.stats.left.fetch_add(left, Relaxed);
                let dropped = count.saturating_sub(left);
                self.core.stats.dropped.fetch_add(dropped, Relaxed);
                is_left = true;
            } else if !is_left {
                scissors.cut(&batch.written).await;
            }
            self.core.stats.queued.fetch_sub(count, Relaxed);
        }
    }

    async fn gather(&self, first: Waiting, queue: &mut mpsc::Receiver<Waiting>) -> Batch {
        let config = &self.core.plan.config().batch;
        let most = config.max_events as usize;
        let until = Instant::now() + config.max_age.get();
        let mut batch = Batch::default();
        batch.add(first);
        while batch.events.len() < most {
            // When the process ends, only what is there already is waited for.
            let next = async {
                match self.cancel.run_until_cancelled(queue.recv()).await {
                    Some(next) => next,
                    None => queue.try_recv().ok(),
                }
            };
            match timeout_at(until, next).await {
                Ok(Some(waiting)) => batch.add(waiting),
                Ok(None) | Err(_) => break,
            }
        }
        batch
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

    /// Delivers a batch, or gives it up.
    pub(super) async fn deliver(&self, batch: &[Event]) -> Delivery {
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
