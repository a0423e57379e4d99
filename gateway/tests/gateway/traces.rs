//! Traces, over a collector that listens as a real one would: one trace from the call of the API to the socket on another node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use wsc_gateway::app::Gateway;
use wsc_gateway::security::Scopes;
use wsc_proto::opentelemetry::proto::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use wsc_proto::opentelemetry::proto::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use wsc_proto::opentelemetry::proto::common::v1::{KeyValue, any_value};
use wsc_proto::opentelemetry::proto::trace::v1::Span;
use wsc_proto::v1::SendRequest;

use crate::event_stream::EventStream;
use crate::redis::RedisServer;
use crate::sandbox::{API_KEY, Node, alone, cluster, config, eventually, options, token};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// What a collector was sent: spans with the node that sent them, and the headers of the last batch.
#[derive(Clone, Default)]
struct Taken {
    spans: Arc<Mutex<Vec<(String, Span)>>>,
    authorization: Arc<Mutex<Option<String>>>,
}

#[tonic::async_trait]
impl TraceService for Taken {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let authorization = request.metadata().get("authorization");
        *self.authorization.lock() = authorization.map(|value| value.to_str().unwrap().to_owned());
        for of_node in request.into_inner().resource_spans {
            let node = text(&of_node.resource.unwrap().attributes, "service.instance.id");
            let spans = of_node
                .scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans);
            self.spans
                .lock()
                .extend(spans.map(|span| (node.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    let value = found.and_then(|found| found.value.clone()?.value);
    match value {
        Some(any_value::Value::StringValue(text)) => text,
        other => panic!("{name}: {other:?}"),
    }
}

struct Collector {
    address: SocketAddr,
    taken: Taken,
    _serving: AbortOnDropHandle<()>,
}

impl Collector {
    fn start() -> Self {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        let taken = Taken::default();
        let service = TraceServiceServer::new(taken.clone());
        let serving = TaskTracker::new().spawn(async move {
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self {
            address,
            taken,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    fn endpoint(&self) -> String {
        format!("telemetry.otlp.endpoint=http://{}", self.address)
    }

    /// The spans of this name, with their nodes, once there are as many.
    async fn spans(&self, name: &str, count: usize) -> Vec<(String, Span)> {
        let found = || {
            let spans = self.taken.spans.lock();
            let named = spans.iter().filter(|(_, span)| span.name == name);
            named.cloned().collect::<Vec<_>>()
        };
        eventually(&format!("{count} × {name}"), || async {
            found().len() >= count
        })
        .await;
        found()
    }

    /// How a message of this trace came to a session: as it was sent, or read from its log.
    async fn given(&self, trace: &str) -> String {
        let (_, span) = self.of(trace, &["wsc.deliver", "wsc.catch_up"]).await;
        span.name
    }

    /// A span of this trace that has one of these names, with its node, once there is one.
    async fn of(&self, trace: &str, names: &[&str]) -> (String, Span) {
        let is_it = |(_, span): &&(String, Span)| {
            hex(&span.trace_id) == trace && names.contains(&&*span.name)
        };
        let found = || self.taken.spans.lock().iter().find(is_it).cloned();
        eventually(&names.join(" or "), || async { found().is_some() }).await;
        found().unwrap()
    }

    fn names(&self) -> Vec<String> {
        let spans = self.taken.spans.lock();
        spans.iter().map(|(_, span)| span.name.clone()).collect()
    }
}

/// Sends through the HTTP API as somebody whose own trace says this.
async fn send(node: &Node, to: &str, traceparent: &str) {
    let answer = reqwest::Client::new()
        .post(node.http("/v1/messages"))
        .bearer_auth(API_KEY)
        .header("traceparent", traceparent)
        .json(&json!({"to": [to], "type": "text", "content": "hello"}))
        .send();
    assert_eq!(answer.await.unwrap().status(), 200);
}

fn sampled() -> String {
    format!("00-{TRACE}-{CALLER}-01")
}

/// Sends until a message comes as it was sent; its trace. A session that has begun reads its inbox once more a second later,
/// and what comes meanwhile is read there with the rest.
async fn live(
    collector: &Collector,
    (node, to): (&Node, &str),
    mut hello: impl AsyncFnMut(),
) -> String {
    for number in 1..=5 {
        let trace = format!("{number:032x}");
        send(node, to, &format!("00-{trace}-{CALLER}-01")).await;
        hello().await;
        if collector.given(&trace).await == "wsc.deliver" {
            return trace;
        }
    }
    panic!("none comes as it was sent");
}

fn hex(bytes: &[u8]) -> String {
    let digit = |digit: u8| char::from_digit(digit.into(), 16).unwrap();
    let both = |byte: &u8| [digit(byte >> 4), digit(byte & 15)];
    bytes.iter().flat_map(both).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_one_trace_from_the_call_to_the_socket_on_another_node() {
    let (redis, collector) = (RedisServer::start(), Collector::start());
    let sets = [&*collector.endpoint(), "telemetry.otlp.sampleRatio=0"];
    let [one, two] = cluster(redis.port, &sets).await;
    let mut bob = two.connect("bob").await;
    eventually("bob is online", || async { one.online().await == ["bob"] }).await;
    let hello = async || assert_eq!(bob.hear().await, "hello");
    let trace = live(&collector, (&one, "bob"), hello).await;

    let of = async |name: &str, node: &str| {
        let (on, span) = collector.of(&trace, &[name]).await;
        assert_eq!(on, node, "{name}");
        assert!(
            span.end_time_unix_nano >= span.start_time_unix_nano,
            "{name}"
        );
        span
    };
    let call = of("wsc.api.send", "node-0").await;
    let stored = of("wsc.log.append", "node-0").await;
    let published = of("wsc.cluster.publish", "node-0").await;
    let delivered = of("wsc.deliver", "node-1").await;
    let written = of("wsc.socket.write", "node-1").await;
    assert_eq!(hex(&call.parent_span_id), CALLER);
    assert_eq!(stored.parent_span_id, call.span_id);
    assert_eq!(published.parent_span_id, call.span_id);
    assert_eq!(delivered.parent_span_id, published.span_id);
    assert_eq!(written.parent_span_id, delivered.span_id);
    let spans = format!("{:?}", collector.taken.spans.lock());
    assert!(
        !spans.contains("hello") && !spans.contains("bob"),
        "{spans}"
    );
}

/// That a session was given a message of this trace by a span of this name, and its socket.
async fn is_given(collector: &Collector, name: &str, trace: &str) -> (String, Span) {
    let of = |(_, span): &(String, Span)| hex(&span.trace_id) == trace;
    let given = collector.spans(name, 1).await;
    let given = given.into_iter().find(of).expect(name);
    let written = |(_, write): &(String, Span)| write.parent_span_id == given.1.span_id;
    eventually("it is written", || async {
        collector.taken.spans.lock().iter().any(written)
    })
    .await;
    given
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_later_is_part_of_the_trace_that_it_was_published_in() {
    let (redis, collector) = (RedisServer::start(), Collector::start());
    let sets = [&*collector.endpoint(), "telemetry.otlp.sampleRatio=0"];
    let [one, two] = cluster(redis.port, &sets).await;
    send(&one, "bob", &sampled()).await;
    send(&one, "bob", &format!("00-{TRACE}-{CALLER}-00")).await;
    let calls = collector.spans("wsc.api.send", 1).await;
    let mut bob = two.connect("bob").await;
    assert_eq!([bob.hear().await, bob.hear().await], ["hello", "hello"]);
    let (node, read) = is_given(&collector, "wsc.catch_up", TRACE).await;
    assert_eq!(node, "node-1");
    assert_eq!(read.parent_span_id, calls[0].1.span_id);
    let names = collector.names();
    let reads = names.iter().filter(|name| *name == "wsc.catch_up");
    assert_eq!(reads.count(), 1, "the other is not traced");
    assert!(!names.contains(&"wsc.deliver".to_owned()), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_is_in_the_trace_as_it_happens_and_when_it_comes_back() {
    const LATER: &str = "0af7651916cd43dd8448eb211c80319c";
    let collector = Collector::start();
    let node = alone(&[&collector.endpoint(), "telemetry.otlp.sampleRatio=0"]).await;
    let own = token("ann", Scopes::NONE);
    let hello =
        async |stream: &mut EventStream| while stream.next().await.data["content"] != "hello" {};
    let mut ann = EventStream::connect(&node, &own).await;
    let trace = live(&collector, (&node, "ann"), async || hello(&mut ann).await).await;
    is_given(&collector, "wsc.deliver", &trace).await;
    let last = ann.last_id.clone();
    drop(ann);
    eventually("she is gone", || async {
        node.0.hub().stats().connections == 0
    })
    .await;
    send(&node, "ann", &format!("00-{LATER}-{CALLER}-01")).await;
    let mut ann = EventStream::resume(&node, &own, last.as_deref()).await;
    hello(&mut ann).await;
    is_given(&collector, "wsc.catch_up", LATER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_calls_decides_and_otherwise_the_ratio_does() {
    let collector = Collector::start();
    let none = alone(&[&collector.endpoint(), "telemetry.otlp.sampleRatio=0"]).await;
    let mut bob = none.connect("bob").await;
    send(&none, "bob", &format!("00-{TRACE}-{CALLER}-00")).await;
    send(&none, "bob", "nonsense").await;
    bob.say("bob", "to myself").await;
    for _ in 0..3 {
        bob.hear().await;
    }
    let mut grpc = none.grpc().await;
    let mut request = Request::new(SendRequest {
        to: vec!["bob".to_owned()],
        ..SendRequest::default()
    });
    let traceparent = sampled().parse().unwrap();
    request.metadata_mut().insert("traceparent", traceparent);
    grpc.send(request).await.unwrap();
    // By gRPC one that is sampled; all before it would have been sent by then.
    let call = collector.spans("wsc.api.send", 1).await;
    assert_eq!(hex(&call[0].1.trace_id), TRACE);
    collector.spans("wsc.socket.write", 1).await;
    let calls = collector
        .names()
        .iter()
        .filter(|name| *name == "wsc.api.send")
        .count();
    assert_eq!(
        calls, 1,
        "neither the unsampled one nor that without a decision"
    );
    assert!(!collector.names().contains(&"wsc.frame".to_owned()));

    let all = alone(&[&collector.endpoint(), "telemetry.otlp.sampleRatio=1"]).await;
    let mut ann = all.connect_with("ann", Scopes::NONE).await;
    ann.say("ann", "to myself").await;
    ann.hear().await;
    let frames = collector.spans("wsc.frame", 1).await;
    let written = collector.spans("wsc.socket.write", 2).await;
    let same = |(_, span): &&(String, Span)| span.trace_id == frames[0].1.trace_id;
    assert!(
        written.iter().any(|span| same(&span)),
        "a client's message, too"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_come_from_the_secret_and_what_waits_is_sent_when_the_node_ends() {
    let collector = Collector::start();
    let mut options = options("alone");
    options.secrets.otlp_headers = Some("Authorization: Bearer canary".to_owned());
    let sets = [&*collector.endpoint(), "telemetry.otlp.sampleRatio=1"];
    let node = Node(Gateway::start(config(&sets), options).await.unwrap());
    send(&node, "nobody", &sampled()).await;
    node.0.drain().await;
    collector.spans("wsc.api.send", 1).await;
    let shown = collector.taken.authorization.lock().clone();
    assert_eq!(shown.as_deref(), Some("Bearer canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_spans_which_are_counted_and_nothing_else() {
    let gone = Collector::start().endpoint();
    let sets = [
        &*gone,
        "telemetry.otlp.sampleRatio=1",
        "telemetry.otlp.timeout=200ms",
    ];
    let node = alone(&sets).await;
    let mut bob = node.connect("bob").await;
    for _ in 0..20 {
        send(&node, "bob", &sampled()).await;
        assert_eq!(bob.hear().await, "hello");
    }
    eventually("they are counted", || async {
        let (_, text) = node.admin("/metrics").await;
        let dropped = "wsc_trace_spans_dropped_total{cause=\"refused\"} ";
        let line = text.lines().find_map(|line| line.strip_prefix(dropped));
        line.is_some_and(|count| count.parse::<u64>().unwrap() >= 20)
    })
    .await;
    assert!(node.ready().await);
    let wrong = config(&["telemetry.otlp.endpoint=http://a b"; 0]);
    assert!(wrong.telemetry.otlp.endpoint.is_empty(), "off by default");
    tokio::time::timeout(Duration::from_secs(10), node.0.drain())
        .await
        .unwrap();
}
