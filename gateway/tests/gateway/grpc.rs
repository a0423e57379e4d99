//! Sessions over gRPC: what only this transport has rules for. What it shares with the others is in `transports`.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tonic::{Code, Status};
use wsc_gateway::security::Scopes;
use wsc_proto::v1::GetStatsRequest;

use crate::grpc_stream::{GrpcStream, channel, code, word};
use crate::sandbox::{Node, alone, eventually, token};

fn own(user: &str) -> String {
    token(user, Scopes::NONE)
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_all_transports_meet_and_are_counted_by_theirs() {
    let node = alone(&[]).await;
    let mut alice = GrpcStream::connect(&node, &own("alice")).await;
    let mut bob = node.connect("bob").await;
    alice.say("bob", "hi").await;
    let heard = bob.next().await;
    assert_eq!(
        (&heard["from"], &heard["content"]),
        (&json!("alice"), &json!("hi"))
    );
    bob.say("alice", "ho").await;
    assert_eq!(alice.next().await["content"], "ho");
    let (_, metrics) = node.admin("/metrics").await;
    for line in [
        r#"wsc_sessions_by_transport{transport="grpc"} 1"#,
        r#"wsc_sessions_by_transport{transport="ws"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let (_, sessions) = node
        .call("GET", "/v1/users/alice/sessions", serde_json::Value::Null)
        .await;
    assert_eq!(sessions["sessions"][0]["transport"], "grpc", "{sessions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_may_come_in_the_first_frame() {
    let node = alone(&["wsc.security.authTimeout=1s"]).await;
    let mut late = GrpcStream::open(&node, &[]).await.unwrap();
    let auth = json!({"type": "auth", "data": {"token": own("late")}});
    late.send(auth).await;
    let welcome = late.next().await;
    assert_eq!(welcome["data"]["user_id"], "late");

    let mut wrong = GrpcStream::open(&node, &[]).await.unwrap();
    let auth = json!({"type": "auth", "data": {"token": "nonsense"}});
    wrong.send(auth).await;
    let (_, status) = wrong.ended().await;
    assert_eq!(
        (status.code(), code(&status)),
        (Code::Unauthenticated, 4001)
    );

    let mut silent = GrpcStream::open(&node, &[]).await.unwrap();
    let (_, status) = silent.ended().await;
    assert_eq!(
        (status.code(), code(&status)),
        (Code::Unauthenticated, 4001)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_may_not_open_a_session_is_refused_with_the_reason() {
    let node = alone(&["wsc.websocketOrigins=https://app.example.com"]).await;
    let bearer = format!("Bearer {}", own("alice"));
    let mine = ("authorization", bearer.as_str());
    for (metadata, expected, error) in [
        (
            vec![("authorization", "Bearer nonsense")],
            Code::Unauthenticated,
            "unauthenticated",
        ),
        (
            vec![("authorization", "Basic eA==")],
            Code::Unauthenticated,
            "unauthenticated",
        ),
        (
            vec![mine, ("wsc-resume", "17")],
            Code::InvalidArgument,
            "bad_request",
        ),
        (
            vec![mine, ("origin", "https://evil.example.com")],
            Code::PermissionDenied,
            "origin",
        ),
        (
            vec![mine, ("grpc-encoding", "gzip")],
            Code::InvalidArgument,
            "bad_request",
        ),
    ] {
        let status = GrpcStream::open(&node, &metadata).await.err().unwrap();
        assert_eq!(status.code(), expected, "{metadata:?}: {status}");
        assert_eq!(word(&status, "wsc-error"), error, "{metadata:?}");
        assert!(!status.message().is_empty());
    }
    assert_eq!(node.0.hub().stats().connections, 0);
    let refused = node.0.hub().stats().refused;
    assert!(refused.contains(&("unauthenticated", 2)), "{refused:?}");
}

/// With what a user who is not let in is turned away.
async fn refused(node: &Node, user: &str) -> Status {
    let bearer = format!("Bearer {}", own(user));
    let stream = GrpcStream::open(node, &[("authorization", &bearer)]).await;
    stream.err().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_connections_and_seats_hold_and_say_when_to_come_back() {
    let node = alone(&["wsc.performance.maxConnectionsPerNode=1"]).await;
    let _first = GrpcStream::connect(&node, &own("first")).await;
    let status = refused(&node, "second").await;
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(word(&status, "wsc-error"), "full");
    assert_eq!(word(&status, "retry-after"), "5");

    let node = alone(&[
        "wsc.maxConnectionsPerUser=1",
        "wsc.connectionPolicy=kickNew",
    ])
    .await;
    let _first = GrpcStream::connect(&node, &own("alice")).await;
    let status = refused(&node, "alice").await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(word(&status, "wsc-error"), "too_many_sessions");

    let node = alone(&["wsc.security.maxConnectionsPerAddress=1"]).await;
    let _first = GrpcStream::connect(&node, &own("first")).await;
    let status = refused(&node, "second").await;
    assert_eq!(word(&status, "wsc-error"), "too_many_connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_wrong_tokens_lock_the_address_out() {
    let node = alone(&["wsc.security.maxLoginAttempts=2"]).await;
    let wrong = [("authorization", "Bearer nonsense")];
    for _ in 0..2 {
        let status = GrpcStream::open(&node, &wrong).await.err().unwrap();
        assert_eq!(word(&status, "wsc-error"), "unauthenticated");
    }
    let status = refused(&node, "alice").await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(word(&status, "wsc-error"), "locked_out");
    assert!(word(&status, "retry-after").parse::<u32>().unwrap() > 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ends_its_side_has_said_goodbye() {
    let node = alone(&[]).await;
    let alice = GrpcStream::connect(&node, &own("alice")).await;
    let mut heard = alice.goodbye();
    assert_eq!(heard.message().await.unwrap(), None);
    let trailers = heard.trailers().await.unwrap().unwrap();
    assert_eq!(trailers.get("wsc-code").unwrap(), "1000");
    let ended = || async {
        let stats = node.0.hub().stats();
        stats.disconnects.contains(&("client_closed", 1)) && stats.connections == 0
    };
    eventually("it is counted as a goodbye", ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_gone_is_noticed_and_others_of_its_connection_stay() {
    let node = alone(&[]).await;
    let shared = channel(&node).await;
    let bearers = ["alice", "bob"].map(|user| format!("Bearer {}", own(user)));
    let [alice, mut bob] = [0, 1].map(|index| {
        let metadata = [("authorization", bearers[index].as_str())];
        let shared = shared.clone();
        futures_util::FutureExt::boxed(async move {
            let mut stream = GrpcStream::over(shared, &metadata).await.unwrap();
            assert_eq!(stream.next().await["type"], "welcome");
            stream
        })
    });
    let alice = alice.await;
    let mut bob = (&mut bob).await;
    assert_eq!(node.0.hub().connections(), 2);
    drop(alice);
    eventually("alice is gone", || async {
        node.0.hub().connections() == 1
    })
    .await;
    bob.say("bob", "still here").await;
    assert_eq!(bob.next().await["content"], "still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_gets_a_ping_every_heartbeat_and_stays() {
    let node = alone(&["wsc.heartbeatInterval=1s", "wsc.clientTimeout=2s"]).await;
    let mut stream = GrpcStream::connect(&node, &own("alice")).await;
    let began = Instant::now();
    // Longer than the timeout: taking pings is a sign of life.
    let quiet = tokio::time::timeout(Duration::from_millis(4500), stream.hear()).await;
    assert!(quiet.is_err(), "{quiet:?} after {:?}", began.elapsed());
    assert!((3..=5).contains(&stream.pings), "{}", stream.pings);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tokens_the_metadata_name_the_user() {
    let node = alone(&["wsc.security.enableAuth=false"]).await;
    let metadata = [("wsc-user-id", "alice"), ("wsc-user-type", "agent")];
    let mut alice = GrpcStream::open(&node, &metadata).await.unwrap();
    let welcome = alice.next().await;
    assert_eq!(welcome["data"]["user_id"], "alice");
    assert_eq!(welcome["data"]["user_type"], "agent");
    let status = GrpcStream::open(&node, &[]).await.err().unwrap();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_sessions_where_the_service_is_off_and_the_api_goes_on() {
    let node = alone(&["wsc.enabled=false"]).await;
    let status = refused(&node, "alice").await;
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
    let stats = node
        .grpc()
        .await
        .get_stats(GetStatsRequest::default())
        .await;
    assert!(stats.is_ok(), "{stats:?}");
}
