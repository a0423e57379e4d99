//! The HTTP API over real sockets: every way to be refused, and what it says.

use std::time::Duration;

use super::support::http::HttpApi;
use super::support::service::{Behaviour, KEY, MAX_BODY};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

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
async fn a_thousand_recipients_are_taken_and_one_more_is_not() {
    let api = HttpApi::start().await;
    let to =
        |n: usize| json!({"to": (0..n).map(|i| format!("u{i}")).collect::<Vec<_>>()}).to_string();
    assert_eq!(send(&api, &to(1000)).await.0, 200);
    refused(400, "bad_request", Some("to"), &send(&api, &to(1001)).await);
    refused(
        400,
        "bad_request",
        Some("to"),
        &send(&api, r#"{"to":[]}"#).await,
    );
    assert_eq!(api.recorder.calls().len(), 1);
}

#[tokio::test]
async fn a_wrong_body_is_refused_with_the_field_and_the_place() {
    let api = HttpApi::start().await;
    let long = format!(r#"{{"to":["a","{}"]}}"#, "x".repeat(129));
    let table = [
        ("", None, "line 1"),
        ("{", None, "line 1"),
        ("[]", None, "line 1"),
        (r#"{"to":"bob"} x"#, None, "line 1 column 14"),
        (r#"{"content":"hi"}"#, None, "missing field `to`"),
        (
            "{\"to\":\"bob\",\n\"contnet\":1}",
            Some("contnet"),
            "line 2 column 9",
        ),
        (r#"{"to":7}"#, Some("to"), "a user id or a list"),
        (r#"{"to":["bob",7]}"#, Some("to[1]"), "line 1"),
        (r#"{"to":["bob",""]}"#, Some("to[1]"), "0 bytes"),
        (r#"{"to":"a\u0000b"}"#, Some("to[0]"), "control"),
        (&long, Some("to[1]"), "129 bytes"),
        (r#"{"to":"bob","data":[1]}"#, Some("data"), "object"),
        (r#"{"to":"bob","data":"{}"}"#, Some("data"), "object"),
        (
            r#"{"to":"bob","priority":"urgent"}"#,
            Some("priority"),
            "`low`",
        ),
        (r#"{"to":"bob","to":"carol"}"#, None, "duplicate"),
        (r#"{"to":"bob","type":5}"#, Some("type"), "line 1"),
    ];
    for (body, field, said) in table {
        let answer = send(&api, body).await;
        refused(400, "bad_request", field, &answer);
        let message = answer.1["error"]["message"].as_str().unwrap();
        assert!(message.contains(said), "{body}: {message}");
    }
    assert!(api.recorder.calls().is_empty());
}

#[tokio::test]
async fn what_is_not_json_or_too_large_is_refused() {
    let api = HttpApi::start().await;
    let request = || {
        api.request(Method::POST, "/v1/messages")
            .body(r#"{"to":"bob"}"#)
    };
    refused(
        415,
        "unsupported_media_type",
        None,
        &HttpApi::answer(request()).await,
    );
    let form = request().header("content-type", "application/x-www-form-urlencoded");
    refused(
        415,
        "unsupported_media_type",
        None,
        &HttpApi::answer(form).await,
    );
    let charset = request().header("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(HttpApi::answer(charset).await.0, 200);
    let large = format!(r#"{{"to":"bob","content":"{}"}}"#, "x".repeat(MAX_BODY));
    refused(413, "too_large", None, &send(&api, &large).await);
    let fits = format!(
        r#"{{"to":"bob","content":"{}"}}"#,
        "x".repeat(MAX_BODY - 25)
    );
    assert_eq!((fits.len(), send(&api, &fits).await.0), (MAX_BODY, 200));
}

#[tokio::test]
async fn a_body_that_is_said_to_be_too_large_is_refused_before_it_comes() {
    let api = HttpApi::start().await;
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        MAX_BODY + 1
    );
    assert!(api.raw(&head).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn a_body_of_unknown_length_is_bounded_too() {
    let api = HttpApi::start().await;
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        MAX_BODY + 1,
        " ".repeat(MAX_BODY + 1)
    );
    assert!(api.raw(&head).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn every_call_needs_the_key_before_its_body_is_looked_at() {
    let api = HttpApi::start().await;
    let table = [
        (Method::POST, "/v1/messages"),
        (Method::POST, "/v1/broadcasts"),
        (Method::GET, "/v1/users/online"),
        (Method::GET, "/v1/users/bob/sessions"),
        (Method::DELETE, "/v1/users/bob/sessions"),
        (Method::DELETE, "/v1/sessions/not-an-id"),
        (Method::GET, "/v1/stats"),
    ];
    for (method, path) in table {
        let none = reqwest::Client::new()
            .request(method.clone(), api.url(path))
            .body("{");
        let response = none.send().await.unwrap();
        assert_eq!(response.headers()["www-authenticate"], "Bearer", "{path}");
        let answer = (response.status().as_u16(), response.json().await.unwrap());
        refused(401, "unauthenticated", None, &answer);
        let wrong = reqwest::Client::new()
            .request(method, api.url(path))
            .header("x-api-key", "no");
        refused(401, "unauthenticated", None, &HttpApi::answer(wrong).await);
    }
    assert!(api.recorder.calls().is_empty());
    let bearer = reqwest::Client::new()
        .get(api.url("/v1/stats"))
        .bearer_auth(KEY);
    assert_eq!(HttpApi::answer(bearer).await.0, 200);
}

#[tokio::test]
async fn a_gateway_without_a_key_refuses_every_call() {
    let api = HttpApi::start_with(None, Duration::from_secs(10)).await;
    refused(
        503,
        "unavailable",
        None,
        &send(&api, r#"{"to":"bob"}"#).await,
    );
    assert!(api.recorder.calls().is_empty());
    assert_eq!(api.call(Method::GET, "/openapi.json", "").await.0, 200);
}

#[tokio::test]
async fn failures_of_the_service_are_told_honestly() {
    let table = [
        (Behaviour::Invalid, 400, "bad_request", Some("type")),
        (Behaviour::Disconnected, 503, "unavailable", None),
        (Behaviour::Busy, 429, "busy", None),
        (Behaviour::Panics, 500, "internal", None),
    ];
    let api = HttpApi::start().await;
    for (behaviour, status, code, field) in table {
        api.recorder.behave(behaviour);
        let request = api
            .request(Method::POST, "/v1/messages")
            .header("content-type", "application/json");
        let response = request.body(r#"{"to":"bob"}"#).send().await.unwrap();
        let retry = response.headers().contains_key("retry-after");
        assert_eq!(retry, status == 429 || status == 503, "{behaviour:?}");
        let answer = (response.status().as_u16(), response.json().await.unwrap());
        refused(status, code, field, &answer);
        assert!(
            !answer.1.to_string().contains("secret"),
            "no cause from inside: {answer:?}"
        );
    }
    api.recorder.behave(Behaviour::Works);
    assert_eq!(
        send(&api, r#"{"to":"bob"}"#).await.0,
        200,
        "it goes on after a panic"
    );
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_and_so_does_a_body_that_never_comes() {
    let api = HttpApi::start_with(Some(KEY), Duration::from_millis(50)).await;
    api.recorder.behave(Behaviour::NeverAnswers);
    let bound = Duration::from_secs(10);
    let answer = tokio::time::timeout(bound, send(&api, r#"{"to":"bob"}"#)).await;
    refused(503, "deadline", None, &answer.unwrap());
    let stalled = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n\
         content-length: 99\r\n\r\n{{"
    );
    let answer = tokio::time::timeout(bound, api.raw(&stalled)).await;
    assert!(answer.unwrap().starts_with("HTTP/1.1 503 "));
}

#[tokio::test]
async fn unknown_paths_and_methods_are_json_too() {
    let api = HttpApi::start().await;
    refused(
        404,
        "not_found",
        None,
        &api.call(Method::GET, "/v2/anything", "").await,
    );
    refused(
        404,
        "not_found",
        None,
        &api.call(Method::GET, "/", "").await,
    );
    let response = api
        .request(Method::PUT, "/v1/messages")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["allow"], "POST");
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    let answer = (405, response.json().await.unwrap());
    refused(405, "method_not_allowed", None, &answer);
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused() {
    let api = HttpApi::start().await;
    let bomb = format!(
        "GET /v1/stats HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\n\r\n",
        "k".repeat(64 * 1024)
    );
    assert!(api.raw(&bomb).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_caller_that_stalls_before_its_first_request_is_cut_in_ten_seconds_and_an_idle_one_is_kept()
 {
    const ASK: &str = "GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n";
    let api = HttpApi::start().await;
    let address = api.url("");
    let address = address.strip_prefix("http://").unwrap();
    let open = async |said: &str| {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(said.as_bytes()).await.unwrap();
        socket
    };
    let mut idle = open(ASK).await;
    let mut answer = [0; 4096];
    assert!(idle.read(&mut answer).await.unwrap() > 0);
    let began = Instant::now();
    for said in ["", "GET /nothing HTTP/1.1\r\nhost: "] {
        let mut stalled = open(said).await;
        let mut rest = Vec::new();
        let ended = timeout(Duration::from_secs(13), stalled.read_to_end(&mut rest)).await;
        assert!(
            ended.is_ok(),
            "still there after {:?}: {said:?}",
            began.elapsed()
        );
        idle.write_all(ASK.as_bytes()).await.unwrap();
        assert!(idle.read(&mut answer).await.unwrap() > 0, "it was kept");
    }
}
