//! The gRPC API over real sockets: every way to be refused, and what it says.

use std::time::Duration;

use prost::Message as _;
use prost_types::FileDescriptorSet;

use super::support::grpc::{GrpcApi, keyed, to_bob};
use super::support::service::{Behaviour, KEY, MAX_BODY, rendered};
use tonic::{Code, Request, Status};
use wsc_gateway::api::Reflection;
use wsc_proto::v1::kick_request::Target;
use wsc_proto::v1::{GetStatsRequest, KickRequest, ListOnlineRequest, MessageBody, SendRequest};

fn refused(code: Code, said: &str, status: &Status) {
    assert_eq!(status.code(), code, "{status:?}");
    assert!(status.message().contains(said), "{status:?}");
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

/// The path of every method that backends may call, as the descriptors name them.
fn every_method() -> Vec<String> {
    let files = FileDescriptorSet::decode(wsc_proto::DESCRIPTORS).unwrap();
    let services = files
        .file
        .into_iter()
        .filter(|file| file.package() == "wsc.v1");
    let services = services.flat_map(|file| file.service);
    let served = services.filter(|service| SERVED.contains(&service.name()));
    served
        .flat_map(|service| {
            let name = service.name().to_owned();
            let methods = service.method.into_iter();
            methods.map(move |method| format!("/wsc.v1.{name}/{}", method.name()))
        })
        .collect()
}

/// The services that ask for the API key.
const SERVED: [&str; 3] = ["WscService", "GroupService", "TicketService"];

#[tokio::test]
async fn no_method_of_any_service_is_served_without_the_key_and_each_is_counted_by_its_name() {
    let api = GrpcApi::start().await;
    let mut client = tonic::client::Grpc::new(api.channel().await);
    let methods = every_method();
    assert!(methods.len() > 25, "{methods:?}");
    let nobodys = "/wsc.v1.WscService/Nothing".to_owned();
    for path in methods.iter().chain([&nobodys]) {
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let request = Request::new(());
        let answer = client.unary(request, path.parse().unwrap(), codec).await;
        assert_eq!(answer.unwrap_err().code(), Code::Unauthenticated, "{path}");
    }
    assert!(api.recorder.calls().is_empty());
    let metrics = rendered(&api.instruments);
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("wsc_api_request_duration_seconds_count"));
    assert_eq!(counted.count(), methods.len(), "{metrics}");
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
