//! Several nodes on one Redis.

use std::time::Duration;

use serde_json::{Value, json};
use wsc_gateway::security::Scopes;
use wsc_proto::v1;

use crate::redis::RedisServer;
use crate::sandbox::{cluster, eventually, within};

#[tokio::test(flavor = "multi_thread")]
async fn messages_cross_between_nodes_both_ways_and_in_order() {
    let redis = RedisServer::start();
    let [one, two, _three] = cluster(redis.port, &[]).await;
    let (mut alice, mut bob) = (one.connect("alice").await, two.connect("bob").await);
    assert_ne!(alice.node(), bob.node());
    eventually("both are known", || async {
        one.online().await.len() == 2 && two.online().await.len() == 2
    })
    .await;
    for number in 0..300 {
        alice
            .feed(json!({"type": "n", "to": "bob", "content": number}))
            .await;
        bob.feed(json!({"type": "n", "to": "alice", "content": number}))
            .await;
    }
    tokio::join!(alice.flush(), bob.flush());
    for number in 0..300 {
        assert_eq!(
            (&alice.next().await["content"], &bob.next().await["content"]),
            (&number.into(), &number.into())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_speaks_for_the_cluster() {
    let redis = RedisServer::start();
    let [one, two, three] = cluster(redis.port, &[]).await;
    let mut alices = [one.connect("alice").await, two.connect("alice").await];
    let mut bob = three.connect_with("bob", Scopes::BROADCAST).await;
    for node in [&one, &two, &three] {
        eventually("everyone is online", || async {
            node.online().await == ["alice", "bob"]
        })
        .await;
    }

    let (status, sent) = three
        .call(
            "POST",
            "/v1/messages",
            json!({"to": "alice", "content": "hello"}),
        )
        .await;
    assert_eq!(
        (status, &sent["recipients"][0]["nodes"]),
        (200, &2.into()),
        "{sent}"
    );
    for alice in &mut alices {
        assert_eq!(alice.hear().await, "hello");
    }

    bob.send(json!({"type": "text", "broadcast": true, "content": "all"}))
        .await;
    assert_eq!(
        (
            alices[0].hear().await,
            alices[1].hear().await,
            bob.hear().await
        ),
        ("all".into(), "all".into(), "all".into())
    );

    let request = v1::SendRequest {
        to: vec!["alice".to_owned()],
        message: Some(v1::MessageBody {
            content_json: "\"by gRPC\"".to_owned(),
            ..Default::default()
        }),
    };
    let sent = three.grpc().await.send(request).await.unwrap().into_inner();
    assert_eq!(sent.recipients[0].nodes, 2, "{sent:?}");
    for alice in &mut alices {
        assert_eq!(alice.hear().await, "by gRPC");
    }

    let (_, sessions) = three
        .call("GET", "/v1/users/alice/sessions", Value::Null)
        .await;
    assert_eq!(
        sessions["sessions"].as_array().unwrap().len(),
        2,
        "{sessions}"
    );
    let (_, stats) = one.call("GET", "/v1/stats", Value::Null).await;
    assert_eq!(stats["nodes"].as_array().unwrap().len(), 3, "{stats}");

    let id = alices[1].welcome["data"]["session_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let (status, kicked) = one
        .call(
            "DELETE",
            &format!("/v1/sessions/{id}?reason=one"),
            Value::Null,
        )
        .await;
    assert_eq!(status, 200, "{kicked}");
    assert_eq!(alices[1].closed().await.1, 4003);
    let (status, _) = two
        .call("DELETE", "/v1/users/alice/sessions?reason=all", Value::Null)
        .await;
    assert_eq!((status, alices[0].closed().await.1), (200, 4003));
    eventually("only bob is left", || async {
        one.online().await == ["bob"] && two.online().await == ["bob"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_nowhere_is_offline_and_who_comes_is_found() {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &[]).await;
    let mut alice = one.connect("alice").await;
    alice
        .send(json!({"type": "typing", "id": "m1", "to": "bob"}))
        .await;
    let error = alice.next().await;
    assert_eq!(
        (&error["code"], &error["ref"]),
        (&"offline".into(), &"m1".into())
    );
    let mut bob = two.connect("bob").await;
    eventually("bob is known", || async {
        one.online().await.contains(&"bob".to_owned())
    })
    .await;
    alice.say("bob", "there you are").await;
    assert_eq!(bob.hear().await, "there you are");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_leaves_at_once_and_its_clients_go_on_elsewhere() {
    let redis = RedisServer::start();
    let [one, two] = cluster(redis.port, &["drain.window=1s"]).await;
    let (mut alice, mut bob) = (one.connect("alice").await, two.connect("bob").await);
    eventually("both are online", || async {
        two.online().await.len() == 2
    })
    .await;
    one.0.drain().await;
    assert_eq!(alice.closed().await.1, 1012);
    let status = two.status().await;
    within(Duration::from_secs(2), "the peer is gone", || async {
        two.status().await["peers"] == json!([])
    })
    .await;
    assert_eq!(two.online().await, ["bob"], "{status}");
    let mut alice = two.connect("alice").await;
    bob.say("alice", "again").await;
    assert_eq!(alice.hear().await, "again");
}
