//! The gRPC API over real sockets: what reaches the service, what comes back, and every way to be refused.

// Helpers of a test file are tests too. Each test file uses its part of the support.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "api_support/service.rs"]
mod service;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use service::{Behaviour, Call, KEY, MAX_BODY, Recorder, context, rendered};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use wsc_gateway::api::{GrpcHealth, Reflection, grpc_routes, serve_grpc};
use wsc_gateway::telemetry::Instruments;
use wsc_proto::v1::wsc_service_client::WscServiceClient;
use wsc_proto::v1::{
    BroadcastRequest, GetStatsRequest, KickRequest, ListOnlineRequest, ListSessionsRequest,
    MessageBody, SendRequest, kick_request::Target,
};

struct GrpcApi {
    address: SocketAddr,
    recorder: Arc<Recorder>,
    health: GrpcHealth,
    instruments: Instruments,
    cancel: CancellationToken,
    server: JoinSet<Result<(), tonic::transport::Error>>,
}

type Client = WscServiceClient<Channel>;

impl GrpcApi {
    async fn start() -> Self {
        Self::start_with(Some(KEY), Duration::from_secs(10), Reflection::Off).await
    }

    async fn start_with(key: Option<&str>, deadline: Duration, reflection: Reflection) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let recorder = Arc::new(Recorder::default());
        let context = context(&recorder, key, deadline);
        let instruments = context.instruments.clone();
        let (routes, health) = grpc_routes(context, reflection).await.unwrap();
        let cancel = CancellationToken::new();
        let mut server = JoinSet::new();
        server.spawn(serve_grpc(listener, routes, cancel.clone()));
        Self {
            address,
            recorder,
            health,
            instruments,
            cancel,
            server,
        }
    }

    async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    async fn client(&self) -> Client {
        Client::new(self.channel().await)
    }
}

fn keyed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let key = format!("Bearer {KEY}").parse().unwrap();
    request.metadata_mut().insert("authorization", key);
    request
}

fn to_bob() -> SendRequest {
    SendRequest {
        to: vec!["bob".to_owned()],
        message: None,
    }
}

fn refused(code: Code, said: &str, status: &Status) {
    assert_eq!(status.code(), code, "{status:?}");
    assert!(status.message().contains(said), "{status:?}");
}

#[tokio::test]
async fn a_message_reaches_the_service_with_its_payload_untouched() {
    let api = GrpcApi::start().await;
    let content = r#"{ "b" : 1.50, "a":[1,  2] }"#;
    let request = SendRequest {
        to: vec!["bob".to_owned(), "carol".to_owned(), "bob".to_owned()],
        message: Some(MessageBody {
            id: "m1".to_owned(),
            r#type: "note".to_owned(),
            content_json: content.to_owned(),
            data_json: r#"{"k" :1}"#.to_owned(),
            priority: "critical".to_owned(),
            reply_to: "m0".to_owned(),
            from: "billing".to_owned(),
        }),
    };
    let answer = api
        .client()
        .await
        .send(keyed(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.id, "m1");
    let users: Vec<_> = answer
        .recipients
        .iter()
        .map(|r| (r.user_id.as_str(), r.local_sessions, r.nodes))
        .collect();
    assert_eq!(users, [("bob", 2, 1), ("carol", 2, 1)]);
    let Call::Send { to, message } = api.recorder.only_call() else {
        panic!("not a send")
    };
    assert_eq!(to, ["bob", "carol"]);
    assert_eq!(message.content.as_deref(), Some(content));
    assert_eq!(message.data.as_deref(), Some(r#"{"k" :1}"#));
    assert_eq!(
        (message.kind.as_str(), message.priority.as_str()),
        ("note", "critical")
    );
    assert_eq!(
        (message.reply_to.as_deref(), message.from.as_deref()),
        (Some("m0"), Some("billing"))
    );
}

#[tokio::test]
async fn the_other_calls_reach_the_service_too() {
    let api = GrpcApi::start().await;
    let mut client = api.client().await;
    let broadcast = client
        .broadcast(keyed(BroadcastRequest { message: None }))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (
            broadcast.id.as_str(),
            broadcast.local_sessions,
            broadcast.nodes
        ),
        ("made", 5, 2)
    );
    let page = ListOnlineRequest {
        limit: 0,
        cursor: "a".to_owned(),
    };
    let online = client.list_online(keyed(page)).await.unwrap().into_inner();
    assert_eq!(
        (
            online.user_ids.len(),
            online.next_cursor.as_str(),
            online.total
        ),
        (2, "carol", 7)
    );
    let bob = ListSessionsRequest {
        user_id: "bob".to_owned(),
    };
    let sessions = client
        .list_sessions(keyed(bob))
        .await
        .unwrap()
        .into_inner()
        .sessions;
    assert_eq!(
        (sessions[0].node.as_str(), sessions[0].connected_at),
        ("chat-0", 1_800_000_000_000)
    );
    let target = Some(Target::UserId("bob".to_owned()));
    let kick = KickRequest {
        target,
        reason: "spam".to_owned(),
    };
    assert_eq!(
        client.kick(keyed(kick)).await.unwrap().into_inner().nodes,
        2
    );
    let stats = client
        .get_stats(keyed(GetStatsRequest {}))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (stats.node.as_str(), stats.nodes[0].name.as_str()),
        ("chat-0", "chat-1")
    );
    let calls = api.recorder.calls();
    assert_eq!(
        calls[1],
        Call::Online {
            cursor: Some("a".to_owned()),
            limit: 100
        }
    );
    assert_eq!(
        calls[3],
        Call::Kick {
            target: "user bob".to_owned(),
            reason: "spam".to_owned()
        }
    );
    assert_eq!(calls.len(), 5);
}

#[tokio::test]
async fn a_wrong_request_is_refused_with_its_field() {
    let api = GrpcApi::start().await;
    let mut client = api.client().await;
    let send = |body: MessageBody| SendRequest {
        message: Some(body),
        ..to_bob()
    };
    let text = |field: &str, value: &str| {
        let mut body = MessageBody::default();
        match field {
            "content" => body.content_json = value.to_owned(),
            "data" => body.data_json = value.to_owned(),
            _ => body.priority = value.to_owned(),
        }
        send(body)
    };
    let table = [
        (SendRequest::default(), "to: has 0"),
        (
            SendRequest {
                to: vec!["x".to_owned(); 1001],
                message: None,
            },
            "to: has 1001",
        ),
        (
            SendRequest {
                to: vec!["a".to_owned(), "x".repeat(129)],
                message: None,
            },
            "to[1]: ",
        ),
        (text("content", "{"), "message.content_json: is not JSON"),
        (
            text("content", "hello"),
            "message.content_json: is not JSON",
        ),
        (
            text("data", "[1]"),
            "message.data_json: must be a JSON object",
        ),
        (text("priority", "urgent"), "message.priority: "),
    ];
    for (request, said) in table {
        refused(
            Code::InvalidArgument,
            said,
            &client.send(keyed(request)).await.unwrap_err(),
        );
    }
    let none = KickRequest {
        target: None,
        reason: String::new(),
    };
    refused(
        Code::InvalidArgument,
        "target: ",
        &client.kick(keyed(none)).await.unwrap_err(),
    );
    let target = Some(Target::SessionId("7".to_owned()));
    let bad = KickRequest {
        target,
        reason: String::new(),
    };
    refused(
        Code::InvalidArgument,
        "session_id: ",
        &client.kick(keyed(bad)).await.unwrap_err(),
    );
    let page = ListOnlineRequest {
        limit: 1001,
        cursor: String::new(),
    };
    refused(
        Code::InvalidArgument,
        "limit: ",
        &client.list_online(keyed(page)).await.unwrap_err(),
    );
    assert!(api.recorder.calls().is_empty());
}

#[tokio::test]
async fn every_call_needs_the_key() {
    let api = GrpcApi::start().await;
    let mut client = api.client().await;
    let none = client.send(to_bob()).await.unwrap_err();
    refused(Code::Unauthenticated, "Bearer", &none);
    let mut wrong = Request::new(to_bob());
    wrong
        .metadata_mut()
        .insert("authorization", "Bearer no".parse().unwrap());
    refused(
        Code::Unauthenticated,
        "wrong",
        &client.send(wrong).await.unwrap_err(),
    );
    refused(
        Code::Unauthenticated,
        "",
        &client.get_stats(GetStatsRequest {}).await.unwrap_err(),
    );
    assert!(api.recorder.calls().is_empty());
    let sample = r#"{api="grpc",method="send",outcome="unauthenticated"} 2"#;
    assert!(rendered(&api.instruments).contains(sample));
}

#[tokio::test]
async fn a_gateway_without_a_key_refuses_every_call() {
    let api = GrpcApi::start_with(None, Duration::from_secs(10), Reflection::Off).await;
    let status = api.client().await.send(keyed(to_bob())).await.unwrap_err();
    refused(Code::Unavailable, "no API key", &status);
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused() {
    let api = GrpcApi::start().await;
    let content_json = format!("\"{}\"", "x".repeat(MAX_BODY));
    let body = MessageBody {
        content_json,
        ..MessageBody::default()
    };
    let large = SendRequest {
        message: Some(body),
        ..to_bob()
    };
    let status = api.client().await.send(keyed(large)).await.unwrap_err();
    refused(Code::ResourceExhausted, "65536 bytes", &status);
    assert!(api.recorder.calls().is_empty());
}

#[tokio::test]
async fn headers_over_the_limit_are_refused() {
    let api = GrpcApi::start().await;
    let mut request = keyed(to_bob());
    let filler = "x".repeat(20 * 1024).parse().unwrap();
    request.metadata_mut().insert("filler", filler);
    let refused = api.client().await.send(request).await;
    assert!(
        refused.is_err() && api.recorder.calls().is_empty(),
        "{refused:?}"
    );
    assert!(api.client().await.send(keyed(to_bob())).await.is_ok());
}

#[tokio::test]
async fn failures_of_the_service_are_told_honestly() {
    let api = GrpcApi::start().await;
    let mut client = api.client().await;
    let table = [
        (
            Behaviour::Invalid,
            Code::InvalidArgument,
            "type: is too long",
        ),
        (
            Behaviour::Disconnected,
            Code::Unavailable,
            "1 sessions of this node were",
        ),
        (Behaviour::Busy, Code::ResourceExhausted, "other nodes"),
        (Behaviour::Panics, Code::Internal, "failed"),
    ];
    for (behaviour, code, said) in table {
        api.recorder.behave(behaviour);
        let status = client.send(keyed(to_bob())).await.unwrap_err();
        refused(code, said, &status);
        assert!(
            !status.message().contains("secret"),
            "no cause from inside: {status:?}"
        );
    }
    api.recorder.behave(Behaviour::Works);
    assert!(
        client.send(keyed(to_bob())).await.is_ok(),
        "it goes on after a panic"
    );
}

#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    let api = GrpcApi::start_with(Some(KEY), Duration::from_millis(50), Reflection::Off).await;
    api.recorder.behave(Behaviour::NeverAnswers);
    let status = api.client().await.send(keyed(to_bob())).await.unwrap_err();
    refused(Code::DeadlineExceeded, "50 ms", &status);
}

#[tokio::test]
async fn health_needs_no_key_and_follows_the_drain() {
    let api = GrpcApi::start().await;
    let mut client = HealthClient::new(api.channel().await);
    for service in ["", "wsc.v1.WscService"] {
        let ask = || HealthCheckRequest {
            service: service.to_owned(),
        };
        let first = client.check(ask()).await.unwrap().into_inner();
        assert_eq!(
            first.status(),
            ServingStatus::NotServing,
            "not before it is told"
        );
        api.health.serving().await;
        assert_eq!(
            client.check(ask()).await.unwrap().into_inner().status(),
            ServingStatus::Serving
        );
        let mut watch = client.watch(ask()).await.unwrap().into_inner();
        assert_eq!(
            watch.message().await.unwrap().unwrap().status(),
            ServingStatus::Serving
        );
        api.health.not_serving().await;
        assert_eq!(
            watch.message().await.unwrap().unwrap().status(),
            ServingStatus::NotServing
        );
    }
}

async fn listed(api: &GrpcApi) -> Result<Vec<String>, Status> {
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(api.channel().await);
    let asked = futures_util::stream::iter([ask]);
    let mut answers = client.server_reflection_info(asked).await?.into_inner();
    match answers.message().await?.unwrap().message_response {
        Some(MessageResponse::ListServicesResponse(list)) => {
            Ok(list.service.into_iter().map(|s| s.name).collect())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn reflection_is_off_unless_it_is_asked_for() {
    let off = GrpcApi::start().await;
    assert_eq!(listed(&off).await.unwrap_err().code(), Code::Unimplemented);
    let on = GrpcApi::start_with(Some(KEY), Duration::from_secs(10), Reflection::On).await;
    let names = listed(&on).await.unwrap();
    assert!(names.contains(&"wsc.v1.WscService".to_owned()), "{names:?}");
}

#[tokio::test]
async fn a_stop_lets_a_running_call_end() {
    let mut api = GrpcApi::start().await;
    let gate = api.recorder.hold();
    let mut client = api.client().await;
    let stop = async {
        gate.entered().await;
        api.cancel.cancel();
        gate.open();
    };
    let (answer, ()) = tokio::join!(client.send(keyed(to_bob())), stop);
    assert!(answer.is_ok());
    api.server.join_next().await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(api.address).await.is_err());
}
