//! Traces of the operator as a process, over a collector that listens as a real one would.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use wsc_proto::opentelemetry::proto::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use wsc_proto::opentelemetry::proto::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use wsc_proto::opentelemetry::proto::common::v1::{KeyValue, any_value};
use wsc_proto::opentelemetry::proto::trace::v1::Span;

use crate::ground::{Ground, eventually};
use crate::operator::Operator;
use crate::proxy::Proxy;

/// Spans wait a second for others; a reconcile is over soon.
const WITHIN: Duration = Duration::from_secs(30);

/// What a collector was sent: spans, each with the service that sent it.
#[derive(Clone, Default)]
struct Taken(Arc<Mutex<Vec<(String, Span)>>>);

#[tonic::async_trait]
impl TraceService for Taken {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of in request.into_inner().resource_spans {
            let service = text(&of.resource.unwrap().attributes, "service.instance.id");
            let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0
                .lock()
                .extend(spans.map(|span| (service.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|found| found.value.clone()?.value) {
        Some(any_value::Value::StringValue(text)) => text,
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn each_reconcile_is_a_span_where_a_collector_is_named() {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("http://{}", incoming.local_addr().unwrap());
    let taken = Taken::default();
    let service = TraceServiceServer::new(taken.clone());
    let serving = TaskTracker::new().spawn(async move {
        let server = tonic::transport::Server::builder().add_service(service);
        server.serve_with_incoming(incoming).await.unwrap();
    });
    let _serving = AbortOnDropHandle::new(serving);

    let ground = Ground::new("traces").await;
    ground.apply("chat", &json!({})).await;
    let proxy = Proxy::new(ground.client.clone()).await;
    let flags = ["--otlp-endpoint", &endpoint];
    let _operator = Operator::behind(proxy, &ground, "traced", &flags);
    let (service, span) = eventually(WITHIN, "a span comes", async || {
        taken.0.lock().first().cloned()
    })
    .await;
    assert_eq!(
        (service.as_str(), span.name.as_str()),
        ("traced", "reconcile")
    );
    let said = |name: &str| text(&span.attributes, name);
    assert_eq!(said("k8s.namespace.name"), "traces");
    assert_eq!(said("wsc.gateway"), "chat");
    assert_eq!(said("wsc.outcome"), "settled");
    assert!(span.status.is_none());
    assert!(span.start_time_unix_nano < span.end_time_unix_nano);
}
