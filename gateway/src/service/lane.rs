//! `Lane`: a bounded queue with one worker behind it, for whoever only hears of things. Offering never waits; what finds
//! no room is dropped and counted, and so is what takes too long. Order is kept within a lane; lanes do not wait for each
//! other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What is worth waiting for waits so long for room: half of what one item may take.
pub(super) const ROOM: Duration = Duration::from_secs(5);

/// The bounds of a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// What waits for one handler at most: some seconds of a busy node's events, some hundred KiB.
    pub(super) capacity: usize,
    /// What one handler may take for one item before it is given up.
    pub(super) patience: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            capacity: 4096,
            patience: Duration::from_secs(10),
        }
    }
}

/// What became of the items of a lane.
#[derive(Debug, Default)]
pub struct LaneStats {
    /// Handled to the end.
    pub handled: AtomicU64,
    /// Ended with an error.
    pub failed: AtomicU64,
    /// Given up since it took too long.
    pub late: AtomicU64,
    /// Dropped since the queue was full.
    pub dropped: AtomicU64,
    /// Waiting now.
    pub depth: AtomicU64,
}

/// What a lane does with each item.
pub(super) type Handler<T> = Box<dyn Fn(T) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// See the module.
#[derive(Debug)]
pub(super) struct Lane<T> {
    queue: mpsc::Sender<T>,
    stats: Arc<LaneStats>,
}

impl<T: Send + 'static> Lane<T> {
    /// Starts the worker. Cancelled, it still does what waits, under the same patience for each.
    pub(super) fn start(
        name: &str,
        handler: Handler<T>,
        tasks: &TaskTracker,
        cancel: CancellationToken,
    ) -> Self {
        Self::bounded(Bounds::default(), name, handler, tasks, cancel)
    }

    fn bounded(
        bounds: Bounds,
        name: &str,
        handler: Handler<T>,
        tasks: &TaskTracker,
        cancel: CancellationToken,
    ) -> Self {
        let (queue, mut items) = mpsc::channel(bounds.capacity);
        let stats = Arc::<LaneStats>::default();
        let worker = Worker {
            name: name.to_owned(),
            handler,
            stats: stats.clone(),
            patience: bounds.patience,
        };
        tasks.spawn(async move {
            while let Some(Some(item)) = cancel.run_until_cancelled(items.recv()).await {
                worker.handle(item).await;
            }
            items.close();
            while let Ok(item) = items.try_recv() {
                worker.handle(item).await;
            }
        });
        Self { queue, stats }
    }

    /// Hands an item over, if there is room.
    pub(super) fn offer(&self, item: T) {
        // Counted first, so that the worker never takes away what is not there yet.
        self.stats.depth.fetch_add(1, Relaxed);
        if self.queue.try_send(item).is_err() {
            self.stats.depth.fetch_sub(1, Relaxed);
            self.stats.dropped.fetch_add(1, Relaxed);
        }
    }

    /// The same, but waits for room for a while.
    pub(super) async fn offer_patiently(&self, item: T) {
        self.stats.depth.fetch_add(1, Relaxed);
        if self.queue.send_timeout(item, ROOM).await.is_err() {
            self.stats.depth.fetch_sub(1, Relaxed);
            self.stats.dropped.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn stats(&self) -> &LaneStats {
        &self.stats
    }
}

struct Worker<T> {
    name: String,
    handler: Handler<T>,
    stats: Arc<LaneStats>,
    patience: Duration,
}

impl<T> Worker<T> {
    async fn handle(&self, item: T) {
        self.stats.depth.fetch_sub(1, Relaxed);
        // A handler's panic is its own: the next item is handled all the same.
        let handling = std::panic::AssertUnwindSafe(async { (self.handler)(item).await });
        let ended = timeout(self.patience, handling.catch_unwind()).await;
        let counter = match ended {
            Ok(Ok(Ok(()))) => &self.stats.handled,
            Ok(Ok(Err(error))) => {
                tracing::warn!(handler = self.name, error, "a handler failed");
                &self.stats.failed
            }
            Ok(Err(_panic)) => {
                tracing::error!(handler = self.name, "a handler panicked");
                &self.stats.failed
            }
            Err(_) => {
                tracing::warn!(handler = self.name, patience = ?self.patience, "a handler was given up");
                &self.stats.late
            }
        };
        counter.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    fn counts(stats: &LaneStats) -> [u64; 5] {
        [
            &stats.handled,
            &stats.failed,
            &stats.late,
            &stats.dropped,
            &stats.depth,
        ]
        .map(|counter| counter.load(Relaxed))
    }

    async fn ended(tasks: &TaskTracker, cancel: &CancellationToken) {
        cancel.cancel();
        tasks.close();
        timeout(Duration::from_secs(60), tasks.wait())
            .await
            .expect("ends");
    }

    #[tokio::test]
    async fn a_slow_handler_loses_what_finds_no_room_and_holds_up_nobody() {
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let gate = Arc::new(Semaphore::new(0));
        let waits = gate.clone();
        let handler: Handler<u32> = Box::new(move |_| {
            let waits = waits.clone();
            Box::pin(async move {
                waits.acquire().await.map_err(|e| e.to_string())?.forget();
                Ok(())
            })
        });
        let lane = Lane::bounded(
            Bounds {
                capacity: 2,
                ..Bounds::default()
            },
            "slow",
            handler,
            &tasks,
            cancel.clone(),
        );
        // None of these awaits: the worker has had no turn, so two wait and three are dropped.
        (0..5).for_each(|item| lane.offer(item));
        assert_eq!(counts(lane.stats()), [0, 0, 0, 3, 2]);
        gate.add_permits(5);
        ended(&tasks, &cancel).await;
        assert_eq!(
            counts(lane.stats()),
            [2, 0, 0, 3, 0],
            "what waited is done before the end"
        );
    }

    #[tokio::test]
    async fn errors_panics_and_endless_handlers_do_not_end_the_lane() {
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let handler: Handler<u32> = Box::new(|item| {
            Box::pin(async move {
                match item {
                    0 => Err("no".to_owned()),
                    1 => panic!("a handler's own mistake"),
                    2 => std::future::pending().await,
                    _ => Ok(()),
                }
            })
        });
        let hasty = Bounds {
            patience: Duration::from_millis(50),
            ..Bounds::default()
        };
        let lane = Lane::bounded(hasty, "mixed", handler, &tasks, cancel.clone());
        (0..4).for_each(|item| lane.offer(item));
        ended(&tasks, &cancel).await;
        assert_eq!(counts(lane.stats()), [1, 2, 1, 0, 0]);
    }
}
