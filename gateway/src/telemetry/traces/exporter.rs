//! `Exporter`: sends what spans say, in batches, to one collector. One batch is under way at a time; meanwhile the queue
//! fills and, when full, drops. A batch that the collector does not take in time is dropped as well.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use wsc_proto::opentelemetry::proto::collector::trace::v1::ExportTraceServiceRequest;
use wsc_proto::opentelemetry::proto::collector::trace::v1::trace_service_client::TraceServiceClient;
use wsc_proto::opentelemetry::proto::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, Resource, any_value,
};
use wsc_proto::opentelemetry::proto::trace::v1::span::SpanKind;
use wsc_proto::opentelemetry::proto::trace::v1::status::StatusCode;
use wsc_proto::opentelemetry::proto::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::TraceCounts;
use super::settings::TraceSettings;
use super::span::{Ended, Kind, Value};

/// Spans of one batch.
const BATCH: usize = 512;

/// How long a span waits for others.
const GATHERING: Duration = Duration::from_secs(1);

/// How long the last batch may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Exporter {
    settings: TraceSettings,
    counts: Arc<TraceCounts>,
    /// Whether the last batch was taken: a collector that is away is logged once.
    well: bool,
}

pub(super) fn endpoint(settings: &TraceSettings) -> Result<Endpoint, tonic::transport::Error> {
    let mut endpoint =
        Endpoint::from_shared(settings.endpoint.clone())?.connect_timeout(settings.timeout);
    if settings.endpoint.starts_with("https://") {
        endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?;
    }
    Ok(endpoint)
}

impl Exporter {
    pub(super) fn new(settings: TraceSettings, counts: Arc<TraceCounts>) -> Self {
        Self {
            settings,
            counts,
            well: true,
        }
    }

    pub(super) async fn run(mut self, mut spans: mpsc::Receiver<Ended>, cancel: CancellationToken) {
        let Ok(endpoint) = endpoint(&self.settings) else {
            // It was tried when the settings were made.
            return;
        };
        let client = TraceServiceClient::new(endpoint.connect_lazy());
        let mut batch = Vec::with_capacity(BATCH);
        while gather(&mut spans, &mut batch, &cancel).await {
            self.send(client.clone(), &mut batch, self.settings.timeout)
                .await;
        }
        spans.close();
        while let Ok(span) = spans.try_recv() {
            batch.push(span);
        }
        if !batch.is_empty() {
            self.send(client, &mut batch, FAREWELL).await;
        }
    }

    async fn send(
        &mut self,
        mut client: TraceServiceClient<Channel>,
        batch: &mut Vec<Ended>,
        patience: Duration,
    ) {
        let count = batch.len() as u64;
        let mut request = Request::new(self.request(batch));
        for (name, value) in &self.settings.headers {
            request.metadata_mut().insert(name.clone(), value.clone());
        }
        let why = match timeout(patience, client.export(request)).await {
            Ok(Ok(answer)) => {
                let partial = answer.into_inner().partial_success;
                let refused = partial.map_or(0, |partial| partial.rejected_spans);
                let refused = u64::try_from(refused).unwrap_or(0).min(count);
                self.counts.exported.fetch_add(count - refused, Relaxed);
                self.counts.refused.fetch_add(refused, Relaxed);
                if !std::mem::replace(&mut self.well, true) {
                    tracing::info!("the collector takes traces again");
                }
                return;
            }
            Ok(Err(status)) => format!("{:?}: {}", status.code(), status.message()),
            Err(_) => format!("no answer within {} ms", patience.as_millis()),
        };
        self.counts.refused.fetch_add(count, Relaxed);
        if std::mem::replace(&mut self.well, false) {
            let endpoint = &self.settings.endpoint;
            tracing::warn!(
                endpoint,
                why,
                "the collector does not take traces: they are dropped"
            );
        }
    }

    fn request(&self, batch: &mut Vec<Ended>) -> ExportTraceServiceRequest {
        let resource = self.settings.resource.iter();
        let resource = resource.map(|(name, text)| attribute(name, text_value(text)));
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource {
                    attributes: resource.collect(),
                }),
                scope_spans: vec![ScopeSpans {
                    scope: Some(InstrumentationScope {
                        name: "wsc-gateway".to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                    }),
                    spans: batch.drain(..).map(span).collect(),
                }],
            }],
        }
    }
}

/// Waits for spans, and a little for more; false once it is time to end.
async fn gather(
    spans: &mut mpsc::Receiver<Ended>,
    batch: &mut Vec<Ended>,
    cancel: &CancellationToken,
) -> bool {
    tokio::select! {
        () = cancel.cancelled() => return false,
        count = spans.recv_many(batch, BATCH) => if count == 0 { return false },
    }
    let until = Instant::now() + GATHERING;
    while batch.len() < BATCH {
        let room = BATCH - batch.len();
        tokio::select! {
            () = cancel.cancelled() => return false,
            () = sleep_until(until) => break,
            count = spans.recv_many(batch, room) => if count == 0 { break },
        }
    }
    true
}

fn span(ended: Ended) -> Span {
    let Ended {
        context,
        parent,
        name,
        kind,
        start,
        end,
        attributes,
        failure,
    } = ended;
    let kind = match kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Server => SpanKind::Server,
        Kind::Producer => SpanKind::Producer,
        Kind::Consumer => SpanKind::Consumer,
    };
    let attributes = attributes.into_iter().map(|(name, value)| {
        attribute(
            name,
            match value {
                Value::Word(word) => text_value(word),
                Value::Number(number) => any_value::Value::IntValue(number.cast_signed()),
            },
        )
    });
    Span {
        trace_id: context.trace.to_vec(),
        span_id: context.span.to_vec(),
        parent_span_id: parent.map(|id| id.to_vec()).unwrap_or_default(),
        name: name.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: nanos(start),
        end_time_unix_nano: nanos(end),
        attributes: attributes.collect(),
        status: failure.map(|cause| Status {
            message: cause.to_owned(),
            code: StatusCode::Error.into(),
        }),
    }
}

fn attribute(name: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}

fn text_value(text: &str) -> any_value::Value {
    any_value::Value::StringValue(text.to_owned())
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
