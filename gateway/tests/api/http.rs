//! The HTTP API over real sockets: what reaches the service and what comes back.

use super::support::http::HttpApi;
use super::support::service::Call;
use reqwest::Method;
use serde_json::{Value, json};
use wsc_gateway::api::RevokeTarget;
use wsc_gateway::protocol::UserId;

async fn send(api: &HttpApi, body: &str) -> (u16, Value) {
    api.call(Method::POST, "/v1/messages", body).await
}

fn refused(status: u16, code: &str, field: Option<&str>, answer: &(u16, Value)) {
    assert_eq!(answer.0, status, "{answer:?}");
    assert_eq!(answer.1["error"]["code"], code, "{answer:?}");
    assert_eq!(answer.1["error"]["field"].as_str(), field, "{answer:?}");
    assert!(!answer.1["error"]["message"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn a_message_reaches_the_service_with_its_payload_untouched() {
    let api = HttpApi::start().await;
    let content = r#"{ "b" : 1.50, "a":[1,  2], "big": 123456789012345678901234567890 }"#;
    let body = format!(
        r#"{{"to":["bob","carol"],"type":"note","id":"m1","content":{content},"data":{{"k" :null}},
            "priority":"high","reply_to":"m0","from":"billing"}}"#
    );
    let (status, answer) = send(&api, &body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        answer,
        json!({"id": "m1", "recipients": [
            {"user_id": "bob", "local_sessions": 2, "nodes": 1},
            {"user_id": "carol", "local_sessions": 2, "nodes": 1}]})
    );
    let Call::Send { to, message } = api.recorder.only_call() else {
        panic!("not a send")
    };
    assert_eq!(to, ["bob", "carol"]);
    assert_eq!(message.content.as_deref(), Some(content));
    assert_eq!(message.data.as_deref(), Some(r#"{"k" :null}"#));
    assert_eq!(
        (message.kind.as_str(), message.priority.as_str()),
        ("note", "high")
    );
    assert_eq!(message.reply_to.as_deref(), Some("m0"));
    assert_eq!(message.from.as_deref(), Some("billing"));
}

#[tokio::test]
async fn one_recipient_may_be_a_plain_text_and_the_rest_may_be_left_out() {
    let api = HttpApi::start().await;
    assert_eq!(send(&api, r#"{"to":"bob","content":null}"#).await.0, 200);
    let Call::Send { to, message } = api.recorder.only_call() else {
        panic!("not a send")
    };
    assert_eq!(to, ["bob"]);
    assert_eq!(message.content.as_deref(), Some("null"));
    assert!(message.kind.is_empty() && message.id.is_none() && message.data.is_none());
}

#[tokio::test]
async fn a_broadcast_reaches_the_service() {
    let api = HttpApi::start().await;
    let answer = api
        .call(
            Method::POST,
            "/v1/broadcasts",
            r#"{"content":"hi","id":"b1"}"#,
        )
        .await;
    assert_eq!(
        answer,
        (200, json!({"id": "b1", "local_sessions": 5, "nodes": 2}))
    );
    let Call::Broadcast { message } = api.recorder.only_call() else {
        panic!("not a broadcast")
    };
    assert_eq!(message.content.as_deref(), Some(r#""hi""#));
    let unknown = api
        .call(Method::POST, "/v1/broadcasts", r#"{"to":"bob"}"#)
        .await;
    refused(400, "bad_request", Some("to"), &unknown);
}

#[tokio::test]
async fn the_online_list_is_paged() {
    let api = HttpApi::start().await;
    let page = api
        .call(Method::GET, "/v1/users/online?limit=2&cursor=a%20b", "")
        .await;
    assert_eq!(
        page,
        (
            200,
            json!({"users": ["bob", "carol"], "next_cursor": "carol", "total": 7})
        )
    );
    assert_eq!(
        api.recorder.only_call(),
        Call::Online {
            cursor: Some("a b".to_owned()),
            limit: 2
        }
    );
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("offset=3", "offset"),
    ] {
        let answer = api
            .call(Method::GET, &format!("/v1/users/online?{query}"), "")
            .await;
        refused(400, "bad_request", Some(field), &answer);
    }
    assert_eq!(api.call(Method::GET, "/v1/users/online", "").await.0, 200);
    assert_eq!(
        api.recorder.calls()[1],
        Call::Online {
            cursor: None,
            limit: 100
        }
    );
}

#[tokio::test]
async fn the_sessions_of_a_user_are_listed() {
    let api = HttpApi::start().await;
    let (status, answer) = api.call(Method::GET, "/v1/users/b%2Fob/sessions", "").await;
    assert_eq!(status, 200);
    let session = &answer["sessions"][0];
    assert_eq!(
        (&session["user_id"], &session["node"]),
        (&json!("b/ob"), &json!("chat-0"))
    );
    assert_eq!(
        (&session["transport"], &session["connected_at"]),
        (&json!("ws"), &json!(1_800_000_000_000_u64))
    );
    assert!(session["session_id"].is_string() && session.get("device").is_none());
    let long = format!("/v1/users/{}/sessions", "x".repeat(129));
    refused(
        400,
        "bad_request",
        Some("user"),
        &api.call(Method::GET, &long, "").await,
    );
    refused(
        400,
        "bad_request",
        None,
        &api.call(Method::GET, "/v1/users/%ff/sessions", "").await,
    );
}

#[tokio::test]
async fn users_and_sessions_are_kicked_with_a_reason() {
    let api = HttpApi::start().await;
    let kicked = (200, json!({"local_sessions": 1, "nodes": 2}));
    assert_eq!(
        api.call(Method::DELETE, "/v1/users/bob/sessions?reason=spam", "")
            .await,
        kicked
    );
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    assert_eq!(
        api.call(Method::DELETE, &format!("/v1/sessions/{id}"), "")
            .await,
        kicked
    );
    let calls = api.recorder.calls();
    assert_eq!(
        calls[0],
        Call::Kick {
            target: "user bob".to_owned(),
            reason: "spam".to_owned()
        }
    );
    let Call::Kick { target, reason } = &calls[1] else {
        panic!("not a kick")
    };
    assert!(*target == format!("session {id}") && !reason.is_empty());
    refused(
        400,
        "bad_request",
        Some("id"),
        &api.call(Method::DELETE, "/v1/sessions/7", "").await,
    );
}

#[tokio::test]
async fn tokens_are_revoked_one_by_one_or_all_of_a_user() {
    let api = HttpApi::start().await;
    let path = "/v1/revocations";
    let one = api.call(Method::POST, path, r#"{"token_id": "t-1"}"#).await;
    assert_eq!(one, (200, json!({"until": 99})));
    let all = r#"{"user_id": "bob", "before": 5}"#;
    let all = api.call(Method::POST, path, all).await;
    assert_eq!(all, (200, json!({"before": 5, "until": 99})));
    let bob = UserId::new("bob").unwrap();
    assert_eq!(
        api.recorder.calls(),
        [
            RevokeTarget::Token("t-1".to_owned()),
            RevokeTarget::User(bob, Some(5)),
        ]
        .map(|target| Call::Revoke { target })
    );
    for (body, field) in [
        ("{}", "token_id"),
        (r#"{"token_id": "a", "user_id": "b"}"#, "user_id"),
        (r#"{"token_id": "a", "before": 1}"#, "before"),
        (r#"{"user_id": ""}"#, "user_id"),
    ] {
        let answer = api.call(Method::POST, path, body).await;
        refused(400, "bad_request", Some(field), &answer);
    }
}

#[tokio::test]
async fn stats_are_told() {
    let api = HttpApi::start().await;
    let (status, answer) = api.call(Method::GET, "/v1/stats", "").await;
    assert_eq!(
        (status, &answer["node"], &answer["connections"]),
        (200, &json!("chat-0"), &json!(12))
    );
    assert_eq!(answer["connections_by_user_type"], json!({"customer": 12}));
    let node = json!({"name": "chat-1", "epoch": 3, "address": "10.0.0.2", "connections": 4});
    assert_eq!(answer["nodes"][0], node);
}

#[tokio::test]
async fn a_stop_closes_the_port_and_lets_a_running_call_end() {
    let mut api = HttpApi::start().await;
    let gate = api.recorder.hold();
    let request = api.request(Method::GET, "/v1/stats").send();
    let stop = async {
        gate.entered().await;
        api.cancel.cancel();
        gate.open();
    };
    let (response, ()) = tokio::join!(request, stop);
    assert_eq!(response.unwrap().status(), 200);
    api.stopped().await;
    assert!(
        reqwest::get(api.url("/openapi.json"))
            .await
            .unwrap_err()
            .is_connect()
    );
}

#[tokio::test]
async fn calls_are_counted_by_outcome() {
    let api = HttpApi::start().await;
    send(&api, r#"{"to":"bob"}"#).await;
    send(&api, "{").await;
    let metrics = api.metrics();
    for outcome in ["ok", "invalid"] {
        let sample = format!(
            r#"wsc_api_request_duration_seconds_count{{api="http",method="send",outcome="{outcome}"}} 1"#
        );
        assert!(metrics.contains(&sample), "{outcome}\n{metrics}");
    }
}

#[tokio::test]
async fn records_are_asked_for_by_sender_and_page_by_page() {
    let api = HttpApi::start().await;
    let path = "/v1/records?sender=shop&since=7&limit=2&cursor=9-1";
    let (status, answer) = api.call(Method::GET, path, "").await;
    assert_eq!(status, 200, "{answer}");
    let record = json!({"sender": "shop", "accepted_at": 5});
    assert_eq!(
        answer,
        json!({"records": [{"log": "broadcast", "id": "m1", "pos": "0.0", "record": record}], "next_cursor": "9-1"})
    );
    let Call::Sent { sender, query } = api.recorder.only_call() else {
        panic!("not a query of records")
    };
    assert_eq!((sender.as_str(), query.since, query.limit), ("shop", 7, 2));
}
