//! `Scribe`: writes down what is to be told to a hook before it waits to be, where there is somewhere to write it.
//!
//! Between whoever tells and the teller. It never holds an event back for long: what cannot be written, for Redis is away or
//! there is too much, goes on as it is and is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Core;
use super::journal::{Entry, Journal, Stream};
use crate::cluster::Cluster;
use crate::protocol::{Epoch, NodeId};
use crate::service::Event;

/// Events written at once.
const BATCH: usize = 128;

/// What of one hook's events may be written down at a time, in KiB: a node of many hooks must not fill its Redis.
const BUDGET_KIB: usize = 16 * 1024;

/// After a failure nothing is written for so long: each attempt may take as long as Redis' deadline.
const PAUSE: Duration = Duration::from_secs(1);

/// Distinguishes the streams of one process.
static STREAMS: AtomicU64 = AtomicU64::new(0);

/// An event on its way to a hook.
pub(super) struct Waiting {
    pub(super) event: Event,
    /// Its place in the queue.
    pub(super) place: OwnedSemaphorePermit,
    /// Where it is written, if it is.
    pub(super) written: Option<Written>,
}

/// Where an event is written, and the room it takes there.
pub(super) struct Written {
    pub(super) entry: Entry,
    _room: OwnedSemaphorePermit,
}

/// See the module.
pub(super) struct Scribe {
    pub(super) core: Arc<Core>,
    pub(super) pen: Option<Pen>,
    /// Cancelled, what is there goes on and nothing more comes.
    pub(super) cancel: CancellationToken,
}

/// What is written with.
pub(super) struct Pen {
    journal: Journal,
    cluster: Cluster,
    room: Arc<Semaphore>,
    /// The stream of this incarnation, and the number of the next event in it.
    page: Option<(Arc<Stream>, u64)>,
    /// Nothing is written before this.
    rests_until: Option<Instant>,
}

impl Scribe {
    /// Passes on what comes until the hook is gone or the process ends.
    pub(super) async fn run(
        mut self,
        mut told: mpsc::Receiver<Waiting>,
        onward: mpsc::Sender<Waiting>,
    ) {
        let cancel = self.cancel.clone();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let taken = cancel.run_until_cancelled(told.recv_many(&mut batch, BATCH));
            match taken.await {
                Some(0) => return,
                Some(_) => {}
                None => break,
            }
            self.write(&mut batch).await;
            pass_on(&mut batch, &onward).await;
        }
        told.close();
        while told.recv_many(&mut batch, BATCH).await > 0 {
            pass_on(&mut batch, &onward).await;
        }
    }

    async fn write(&mut self, batch: &mut [Waiting]) {
        let Some(pen) = &mut self.pen else { return };
        let written = pen.write(batch).await;
        let unwritten = batch.len().saturating_sub(written) as u64;
        self.core.stats.unsaved.fetch_add(unwritten, Relaxed);
    }
}

async fn pass_on(batch: &mut Vec<Waiting>, onward: &mpsc::Sender<Waiting>) {
    for waiting in batch.drain(..) {
        // There is room for whatever has a place; nobody is there only when the process ends.
        let _ended = onward.send(waiting).await;
    }
}

impl Pen {
    pub(super) fn new(journal: Journal, cluster: Cluster) -> Self {
        Self {
            journal,
            cluster,
            room: Arc::new(Semaphore::new(BUDGET_KIB)),
            page: None,
            rests_until: None,
        }
    }

    /// Writes what there is room for; how many.
    async fn write(&mut self, batch: &mut [Waiting]) -> usize {
        let rests = self.rests_until.is_some_and(|until| Instant::now() < until);
        if rests || !self.cluster.is_part() {
            return 0;
        }
        let (stream, first) = self.page();
        let mut texts = Vec::with_capacity(batch.len());
        let mut fitting = Vec::with_capacity(batch.len());
        for waiting in batch.iter_mut() {
            // Strings and JSON: nothing that JSON could refuse.
            let text = serde_json::to_vec(&waiting.event).unwrap_or_default();
            let kib = u32::try_from(text.len() / 1024 + 1).unwrap_or(u32::MAX);
            if let Ok(room) = self.room.clone().try_acquire_many_owned(kib) {
                fitting.push((waiting, room));
                texts.push(Bytes::from(text));
            }
        }
        if texts.is_empty() {
            return 0;
        }
        // Numbers are not used again, whether or not they were written.
        let count = texts.len();
        self.page = Some((stream.clone(), first + count as u64));
        if let Err(error) = self.journal.write(&stream, (first, &texts)).await {
            tracing::debug!(%stream, %error, "events for a hook wait in memory alone");
            self.rests_until = Some(Instant::now() + PAUSE);
            return 0;
        }
        for (number, (waiting, room)) in (first..).zip(fitting) {
            let entry = Entry {
                stream: stream.clone(),
                number,
            };
            waiting.written = Some(Written { entry, _room: room });
        }
        count
    }

    /// Where to write: a node that had to register anew begins a new stream, since the old one is a dead node's.
    fn page(&mut self) -> (Arc<Stream>, u64) {
        let (node, epoch) = self.cluster.identity();
        match &self.page {
            Some((stream, next)) if stream.epoch == epoch => (stream.clone(), *next),
            Some(_) | None => (begin(node.clone(), epoch), 1),
        }
    }
}

fn begin(node: NodeId, epoch: Epoch) -> Arc<Stream> {
    Arc::new(Stream {
        node,
        epoch,
        number: STREAMS.fetch_add(1, Relaxed),
    })
}
