//! The gRPC API over real sockets: what reaches the service and what comes back; health, reflection, the stop.

use std::time::Duration;

use super::support::grpc::{GrpcApi, keyed, to_bob};
use super::support::service::{Call, KEY};
use tokio::net::TcpStream;
use tonic::{Code, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use wsc_gateway::api::Reflection;
use wsc_proto::v1::kick_request::Target;
use wsc_proto::v1::revoke_request::Target as RevokeOf;
use wsc_proto::v1::{
    BroadcastRequest, GetStatsRequest, KickRequest, ListOnlineRequest, ListRecordsRequest,
    ListSessionsRequest, MessageBody, RevokeRequest, RevokeResponse, SendRequest,
};

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
            durable: None,
            require_ack: false,
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
async fn tokens_are_revoked_one_by_one_or_all_of_a_user() {
    let api = GrpcApi::start().await;
    let mut client = api.client().await;
    let mut revoke = async |target, before| {
        let request = keyed(RevokeRequest { target, before });
        client
            .revoke(request)
            .await
            .map(tonic::Response::into_inner)
    };
    let one = revoke(Some(RevokeOf::TokenId("t-1".to_owned())), 0).await;
    assert_eq!(
        one.unwrap(),
        RevokeResponse {
            before: 0,
            until: 99
        }
    );
    let all = revoke(Some(RevokeOf::UserId("bob".to_owned())), 5).await;
    assert_eq!(
        all.unwrap(),
        RevokeResponse {
            before: 5,
            until: 99
        }
    );
    let none = revoke(None, 0).await.unwrap_err();
    assert_eq!(none.code(), Code::InvalidArgument);
    assert_eq!(api.recorder.calls().len(), 2);
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

#[tokio::test]
async fn records_are_asked_for_by_sender() {
    let api = GrpcApi::start().await;
    let request = ListRecordsRequest {
        sender: "shop".to_owned(),
        since: 7,
        ..ListRecordsRequest::default()
    };
    let answer = api
        .client()
        .await
        .list_records(keyed(request))
        .await
        .unwrap();
    let answer = answer.into_inner();
    assert_eq!(
        (answer.records[0].id.as_str(), answer.next_cursor.as_str()),
        ("m1", "")
    );
    let Call::Sent { sender, query } = api.recorder.only_call() else {
        panic!("not a query of records")
    };
    assert_eq!(
        (sender.as_str(), query.since, query.limit),
        ("shop", 7, 100)
    );
}
