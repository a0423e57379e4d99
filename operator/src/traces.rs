//! Traces: one span for each reconcile, sent to a collector by OTLP over gRPC where one is named; otherwise nothing at all.
//!
//! Spans go into one bounded queue, from which one task sends batches. What finds no room, or no collector in time, is
//! dropped and counted: traces never hold a reconcile up. They name resources, and never what is in them.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tracing::{info, warn};
use wsc_proto::opentelemetry::proto::collector::trace::v1::ExportTraceServiceRequest;
use wsc_proto::opentelemetry::proto::collector::trace::v1::trace_service_client::TraceServiceClient;
use wsc_proto::opentelemetry::proto::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, Resource, any_value,
};
use wsc_proto::opentelemetry::proto::trace::v1::span::SpanKind;
use wsc_proto::opentelemetry::proto::trace::v1::status::StatusCode;
use wsc_proto::opentelemetry::proto::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use crate::metrics::Metrics;
use crate::names::MANAGER;

/// Spans that wait: those of a thousand gateways that are all looked at once.
const QUEUE: usize = 1024;

/// Spans of one batch.
const BATCH: usize = 512;

/// How long a span waits for others.
const GATHERING: Duration = Duration::from_secs(1);

/// How long a collector may take, and the last batch when the process ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// A reconcile that has ended.
#[derive(Debug)]
pub struct Reconciled {
    /// The resource's namespace.
    pub namespace: String,
    /// The resource.
    pub gateway: String,
    /// When it began.
    pub began: SystemTime,
    /// How it ended, as in the metrics.
    pub outcome: &'static str,
    /// Whether that was an error.
    pub failed: bool,
}

/// See the module. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tracer(Option<Inner>);

#[derive(Clone)]
struct Inner {
    queue: mpsc::Sender<Span>,
    metrics: Arc<Metrics>,
}

impl Tracer {
    /// Sends to this collector until cancelled.
    pub fn start(
        endpoint: &str,
        identity: &str,
        metrics: &Arc<Metrics>,
        tasks: (&TaskTracker, CancellationToken),
    ) -> anyhow::Result<Self> {
        let channel = channel(endpoint).with_context(|| format!("--otlp-endpoint {endpoint}"))?;
        let (queue, spans) = mpsc::channel(QUEUE);
        let exporter = Exporter {
            client: TraceServiceClient::new(channel),
            identity: identity.to_owned(),
            metrics: Arc::clone(metrics),
            well: true,
        };
        let (tracker, cancel) = tasks;
        tracker.spawn(exporter.run(spans, cancel));
        let metrics = Arc::clone(metrics);
        Ok(Self(Some(Inner { queue, metrics })))
    }

    /// Tells of a reconcile that ended just now.
    pub fn reconciled(&self, reconciled: &Reconciled) {
        let Some(inner) = &self.0 else {
            return;
        };
        if inner.queue.try_send(span(reconciled)).is_err() {
            inner.metrics.spans_dropped(1);
        }
    }
}

fn channel(endpoint: &str) -> Result<Channel, tonic::transport::Error> {
    let mut built = Endpoint::from_shared(endpoint.to_owned())?.connect_timeout(PATIENCE);
    if endpoint.starts_with("https://") {
        built = built.tls_config(ClientTlsConfig::new().with_native_roots())?;
    }
    Ok(built.connect_lazy())
}

struct Exporter {
    client: TraceServiceClient<Channel>,
    identity: String,
    metrics: Arc<Metrics>,
    /// Whether the last batch was taken: a collector that is away is logged once.
    well: bool,
}

impl Exporter {
    async fn run(mut self, mut spans: mpsc::Receiver<Span>, cancel: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                count = spans.recv_many(&mut batch, BATCH) => if count == 0 { return },
            }
            tokio::select! {
                () = cancel.cancelled() => break,
                () = sleep(GATHERING) => {}
            }
            while batch.len() < BATCH
                && let Ok(span) = spans.try_recv()
            {
                batch.push(span);
            }
            self.send(std::mem::take(&mut batch)).await;
        }
        spans.close();
        while let Ok(span) = spans.try_recv() {
            batch.push(span);
        }
        if !batch.is_empty() {
            self.send(batch).await;
        }
    }

    async fn send(&mut self, batch: Vec<Span>) {
        let count = batch.len() as u64;
        let request = self.request(batch);
        let why = match timeout(PATIENCE, self.client.export(request)).await {
            Ok(Ok(_)) => {
                if !std::mem::replace(&mut self.well, true) {
                    info!("the collector takes traces again");
                }
                return;
            }
            Ok(Err(status)) => format!("{:?}: {}", status.code(), status.message()),
            Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
        };
        self.metrics.spans_dropped(count);
        if std::mem::replace(&mut self.well, false) {
            warn!(why, "the collector does not take traces: they are dropped");
        }
    }

    fn request(&self, spans: Vec<Span>) -> ExportTraceServiceRequest {
        let attributes = vec![
            attribute("service.name", MANAGER),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
            attribute("service.instance.id", &self.identity),
        ];
        let scope = InstrumentationScope {
            name: MANAGER.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource { attributes }),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope),
                    spans,
                }],
            }],
        }
    }
}

fn span(reconciled: &Reconciled) -> Span {
    let Reconciled {
        namespace,
        gateway,
        began,
        outcome,
        failed,
    } = reconciled;
    Span {
        trace_id: rand::random::<[u8; 16]>().to_vec(),
        span_id: rand::random::<[u8; 8]>().to_vec(),
        parent_span_id: Vec::new(),
        name: "reconcile".to_owned(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: nanos(*began),
        end_time_unix_nano: nanos(SystemTime::now()),
        attributes: vec![
            attribute("k8s.namespace.name", namespace),
            attribute("wsc.gateway", gateway),
            attribute("wsc.outcome", outcome),
        ],
        status: failed.then(|| Status {
            message: (*outcome).to_owned(),
            code: StatusCode::Error.into(),
        }),
    }
}

fn attribute(key: &str, text: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(text.to_owned())),
        }),
    }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
