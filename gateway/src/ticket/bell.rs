//! `Bell`: the desk as the rest of its node sees it. It rings for the [`Clerk`](super::Clerk), the one task that works on the
//! desk, and waits for its answer, or does not.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use super::store::DeskStore;
use super::{ClerkStats, Command, Desk, DeskError, Manual, Millis, Reply};

/// Orders that wait for the clerk. Whoever asks waits for room; what comes from sessions coming and going does not, and
/// is made up for by the next look at who is there.
const ORDERS: usize = 1024;

/// A look at the desk and its time.
pub(super) type Look = Box<dyn FnOnce(&Desk, Millis) + Send>;

/// Something that the clerk is asked for.
pub(super) enum Order {
    /// A command.
    Do(Command, oneshot::Sender<Result<Reply, DeskError>>),
    /// A look at the desk; an error tells that there was none.
    Look(Look, oneshot::Sender<DeskError>),
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Bell {
    orders: mpsc::Sender<Order>,
    store: Arc<dyn DeskStore>,
    manual: Arc<ArcSwap<Manual>>,
    stats: Arc<ClerkStats>,
}

impl Bell {
    /// A bell, and where it rings.
    pub(super) fn new(
        store: Arc<dyn DeskStore>,
        manual: Arc<ArcSwap<Manual>>,
        stats: Arc<ClerkStats>,
    ) -> (Self, mpsc::Receiver<Order>) {
        let (sender, orders) = mpsc::channel(ORDERS);
        let bell = Self {
            orders: sender,
            store,
            manual,
            stats,
        };
        (bell, orders)
    }

    /// Has a command done.
    pub async fn ask(&self, command: Command) -> Result<Reply, DeskError> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Do(command, answer);
        self.orders
            .send(order)
            .await
            .map_err(|_| DeskError::Ended)?;
        answered.await.map_err(|_| DeskError::Ended)?
    }

    /// Has a command done without waiting for it, or for room.
    pub fn note(&self, command: Command) {
        let order = Order::Do(command, oneshot::channel().0);
        if self.orders.try_send(order).is_err() {
            self.stats.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Looks at the desk as it is now.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Desk, Millis) -> T + Send + 'static,
    ) -> Result<T, DeskError> {
        let (answer, answered) = oneshot::channel();
        let (fail, failed) = oneshot::channel();
        let look = Box::new(move |desk: &Desk, now| {
            // Whoever asked may have stopped waiting.
            let _gone = answer.send(look(desk, now));
        });
        let order = Order::Look(look, fail);
        self.orders
            .send(order)
            .await
            .map_err(|_| DeskError::Ended)?;
        match answered.await {
            Ok(seen) => Ok(seen),
            Err(_) => Err(failed.await.unwrap_or(DeskError::Ended)),
        }
    }

    /// What else is kept.
    pub fn store(&self) -> &Arc<dyn DeskStore> {
        &self.store
    }

    /// What the clerk goes by.
    pub fn manual(&self) -> Arc<Manual> {
        self.manual.load_full()
    }

    /// Goes by this from now on, for what is open too.
    pub fn go_by(&self, manual: &Manual) {
        let before = self.manual.swap(Arc::new(manual.clone()));
        if before.rules != manual.rules {
            self.note(Command::Settle);
        }
    }

    /// The counters.
    pub fn stats(&self) -> &ClerkStats {
        &self.stats
    }
}
