//! Traces: spans of the messages that are traced, sent to a collector by OTLP.
//!
//! [`Tracer`] begins spans and is nothing at all when traces are off. A span that ends goes into one bounded queue; one task
//! sends what is there in batches (`exporter`). What finds no room, or no collector in time, is dropped and counted: traces
//! never hold anything up. OpenTelemetry's own SDK is not used: it has a thread of its own beside the gateway's tasks, and
//! does not say how much it dropped.

mod exporter;
mod settings;
mod span;

pub use settings::{TraceError, TraceSettings};
pub use span::{Kind, Span};

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::protocol::{Parent, TraceContext};

/// Spans that wait to be sent: some seconds' worth of a busy node at one message in a hundred.
const QUEUE: usize = 4_096;

/// See the module. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    ratio: f64,
    queue: mpsc::Sender<span::Ended>,
    counts: Arc<TraceCounts>,
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct TraceCounts {
    /// Taken by the collector.
    pub exported: AtomicU64,
    /// Dropped since the queue was full.
    pub queue_full: AtomicU64,
    /// Dropped since the collector did not take them in time.
    pub refused: AtomicU64,
}

impl Tracer {
    /// Starts sending to the collector on the current runtime, until cancelled; what waits then is sent once more.
    pub fn start(settings: TraceSettings, tasks: &TaskTracker, cancel: CancellationToken) -> Self {
        let (queue, spans) = mpsc::channel(QUEUE);
        let counts = Arc::<TraceCounts>::default();
        let ratio = settings.ratio;
        let exporter = exporter::Exporter::new(settings, counts.clone());
        tasks.spawn(exporter.run(spans, cancel));
        Self(Some(Arc::new(Inner {
            ratio,
            queue,
            counts,
        })))
    }

    /// Whether anything can be traced.
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The counts; nothing when traces are off.
    pub fn counts(&self) -> Option<&TraceCounts> {
        self.0.as_ref().map(|inner| inner.counts.as_ref())
    }

    /// The span where a message enters, which decides for all that follow: as whoever sent it did, or by the ratio.
    pub fn enter(&self, name: &'static str, kind: Kind, parent: Parent) -> Option<Span> {
        let inner = self.0.as_ref()?;
        let parent = match parent {
            Parent::Sampled(context) => Some(context),
            Parent::Undecided if rand::random::<f64>() < inner.ratio => None,
            Parent::Undecided | Parent::Unsampled => return None,
        };
        Some(Span::begin(
            inner.queue.clone(),
            inner.counts.clone(),
            (name, kind),
            parent,
        ))
    }

    /// A span of a trace that is being recorded; nothing where there is none.
    pub fn span(&self, name: &'static str, kind: Kind, of: Option<TraceContext>) -> Option<Span> {
        let (inner, parent) = (self.0.as_ref()?, of?);
        Some(Span::begin(
            inner.queue.clone(),
            inner.counts.clone(),
            (name, kind),
            Some(parent),
        ))
    }
}

impl TraceCounts {
    /// Each with its label.
    pub fn dropped(&self) -> [(&'static str, u64); 2] {
        [
            ("queue_full", self.queue_full.load(Relaxed)),
            ("refused", self.refused.load(Relaxed)),
        ]
    }
}

tokio::task_local! {
    static PARENT: Cell<Parent>;
    static CURRENT: Cell<Option<TraceContext>>;
}

/// Runs a call for whoever decided this about tracing it.
pub async fn called_by<T>(parent: Parent, call: impl Future<Output = T>) -> T {
    PARENT.scope(Cell::new(parent), call).await
}

/// What whoever made this call decided.
pub fn caller() -> Parent {
    PARENT.try_with(Cell::get).unwrap_or_default()
}

/// Runs something as part of a span.
pub async fn within<T>(span: TraceContext, work: impl Future<Output = T>) -> T {
    CURRENT.scope(Cell::new(Some(span)), work).await
}

/// The span that this is part of, if it is traced.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(Cell::get).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_dropped_and_counted_and_off_is_nothing_at_all() {
        let (queue, mut spans) = mpsc::channel(2);
        let counts = Arc::<TraceCounts>::default();
        let tracer = Tracer(Some(Arc::new(Inner {
            ratio: 1.0,
            queue,
            counts: counts.clone(),
        })));
        for _ in 0..5 {
            let span = tracer.enter("a", Kind::Server, Parent::Undecided);
            assert!(span.is_some());
        }
        assert_eq!(counts.dropped(), [("queue_full", 3), ("refused", 0)]);
        assert_eq!((spans.try_recv().unwrap().name, spans.len()), ("a", 1));
        assert!(tracer.enter("a", Kind::Server, Parent::Unsampled).is_none());
        assert!(tracer.span("b", Kind::Internal, None).is_none());
        let off = Tracer::default();
        let sampled = TraceContext::of_ids(&[1; 16], &[2; 8]);
        let wanted = Parent::Sampled(sampled.unwrap());
        assert!(off.enter("a", Kind::Server, wanted).is_none());
        assert!(off.span("b", Kind::Internal, sampled).is_none());
    }

    #[test]
    fn a_span_is_part_of_the_one_it_comes_from_and_its_times_are_in_order() {
        let (queue, mut spans) = mpsc::channel(4);
        let tracer = Tracer(Some(Arc::new(Inner {
            ratio: 0.0,
            queue,
            counts: Arc::default(),
        })));
        let undecided = tracer.enter("a", Kind::Server, Parent::Undecided);
        assert!(undecided.is_none(), "a ratio of nothing is nothing");
        let caller = TraceContext::of_ids(&[1; 16], &[2; 8]).unwrap();
        let parent = tracer
            .enter("a", Kind::Server, Parent::Sampled(caller))
            .unwrap();
        let mut child = tracer
            .span("b", Kind::Internal, Some(parent.context()))
            .unwrap();
        child.began_before(std::time::Duration::from_secs(2));
        child.ended_before(std::time::Duration::from_secs(1));
        let ended = spans.try_recv().unwrap();
        assert_eq!(ended.parent, Some(parent.context().span));
        assert_eq!(ended.context.trace, caller.trace);
        let took = ended.end.duration_since(ended.start).unwrap();
        assert!(took.as_millis().abs_diff(1000) < 500, "{took:?}");
    }
}
