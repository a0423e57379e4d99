//! `external.metrics.k8s.io` over real TLS sockets: who is let in, who may, what is answered, and what is not made up.

mod sandbox;

use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};
use wsc_operator::census::Readings;

use sandbox::{AUTOSCALER, Authority, NOT_JUDGED, Sandbox, read, readings, request};

const METRIC: &str =
    "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/wsc_gateway_connections";
const CHAT: &str = "?labelSelector=wsc.dev%2Fgateway%3Dchat";

/// It is a Status that says this much.
fn refused((code, status): &(u16, Value), with: u16, reason: &str, word: &str) {
    assert_eq!(*code, with, "{status}");
    assert_eq!(status["kind"], "Status", "{status}");
    assert_eq!(status["status"], "Failure", "{status}");
    assert_eq!(status["code"], with, "{status}");
    assert_eq!(status["reason"], reason, "{status}");
    let message = status["message"].as_str().unwrap();
    assert!(message.contains(word), "{message}");
}

#[tokio::test]
async fn who_is_not_the_front_proxy_sees_health_and_nothing_else_whatever_it_says_it_is() {
    let sandbox = Sandbox::new().await;
    let stranger = Authority::new().client("front-proxy");
    let other = sandbox.authority.client("kube-controller-manager");
    let cases = [
        (None, "no client certificate"),
        (Some(&stranger), "not one of the front proxy's authority"),
        (Some(&other), "not the name of the front proxy"),
    ];
    for (shown, word) in cases {
        for path in ["/apis", METRIC, "/no/such/thing"] {
            let answer = sandbox.get(shown, Some(AUTOSCALER), path).await;
            refused(&answer, 401, "Unauthorized", word);
        }
        assert_eq!(sandbox.get(shown, None, "/livez").await.0, 200);
    }
    assert_eq!(sandbox.server.reviews.lock().len(), 0);
    sandbox.stop().await;
}

#[tokio::test]
async fn who_is_let_in_gets_what_the_api_server_says_it_may() {
    let sandbox = Sandbox::new().await;
    let proxy = sandbox.front_proxy();
    let nobody = sandbox.get(Some(&proxy), None, METRIC).await;
    refused(&nobody, 401, "Unauthorized", "for whom");
    let denied = sandbox.get(Some(&proxy), Some("eve"), METRIC).await;
    refused(
        &denied,
        403,
        "Forbidden",
        r#"User "eve" cannot list resource "wsc_gateway_connections""#,
    );
    let not_judged = sandbox.get(Some(&proxy), Some(NOT_JUDGED), METRIC).await;
    refused(&not_judged, 500, "InternalError", "etcd is away");
    // Also who may not even learn that there is nothing.
    let denied = sandbox.get(Some(&proxy), Some("eve"), "/nothing").await;
    refused(&denied, 403, "Forbidden", r#"cannot get path "/nothing""#);
    let review = sandbox.server.reviews.lock()[0].clone();
    assert_eq!(review["groups"], json!(["system:authenticated"]));
    assert_eq!(
        review["resourceAttributes"],
        json!({
            "group": "external.metrics.k8s.io", "version": "v1beta1", "namespace": "default",
            "resource": "wsc_gateway_connections", "verb": "list",
        })
    );
    // What was judged a moment ago is not asked again.
    let before = sandbox.server.reviews.lock().len();
    sandbox.get(Some(&proxy), Some("eve"), METRIC).await;
    assert_eq!(sandbox.server.reviews.lock().len(), before);
    sandbox.stop().await;
}

#[tokio::test]
async fn an_autoscaler_is_told_the_connections_of_the_gateway_it_asks_for() {
    let sandbox = Sandbox::new().await;
    let proxy = sandbox.front_proxy();
    let ask = async |path: &str| sandbox.get(Some(&proxy), Some(AUTOSCALER), path).await;
    let (code, list) = ask(&format!("{METRIC}{CHAT}")).await;
    assert_eq!(code, 200, "{list}");
    assert_eq!(list["kind"], "ExternalMetricValueList");
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{list}");
    assert_eq!(items[0]["value"], "12");
    assert_eq!(items[0]["metricLabels"], json!({"wsc.dev/gateway": "chat"}));
    let (_, all) = ask(METRIC).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    let (code, none) = ask(&METRIC.replace("default", "empty")).await;
    assert_eq!((code, none["items"].clone()), (200, json!([])));

    let (_, group) = ask("/apis/external.metrics.k8s.io").await;
    assert_eq!(group["preferredVersion"]["version"], "v1beta1");
    let (_, resources) = ask("/apis/external.metrics.k8s.io/v1beta1").await;
    assert_eq!(resources["resources"][0]["name"], "wsc_gateway_connections");
    let (_, groups) = ask("/apis").await;
    assert_eq!(groups["kind"], "APIGroupList");
    let (_, places) = ask("/openapi/v3").await;
    let place = &places["paths"]["apis/external.metrics.k8s.io/v1beta1"]["serverRelativeURL"];
    let (code, described) = ask(place.as_str().unwrap()).await;
    assert_eq!((code, described["openapi"].clone()), (200, json!("3.0.0")));
    assert_eq!(ask("/openapi/v2").await.1["swagger"], "2.0");
    let missing = ask(&METRIC.replace("wsc_gateway_connections", "other")).await;
    refused(&missing, 404, "NotFound", "other");
    let wrong = ask(&format!("{METRIC}?labelSelector=a+b")).await;
    refused(&wrong, 400, "BadRequest", "labelSelector");
    sandbox.stop().await;
}

#[tokio::test]
async fn a_number_that_is_not_known_is_an_error_and_never_zero() {
    let sandbox = Sandbox::new().await;
    let proxy = sandbox.front_proxy();
    let ask = async |path: &str| sandbox.get(Some(&proxy), Some(AUTOSCALER), path).await;
    sandbox.count(&[("chat-1", Some(7)), ("chat-2", None)]);
    let silent = ask(&format!("{METRIC}{CHAT}")).await;
    refused(&silent, 503, "ServiceUnavailable", "chat-2");
    // Another gateway's number is known all the same.
    let desk = ask(&format!("{METRIC}{}", CHAT.replace("chat", "desk"))).await;
    assert_eq!(desk.1["items"][0]["value"], "2");

    let long_ago = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
    let old = readings(&[("chat-1", Some(7))], long_ago);
    sandbox.counting.census.read(old);
    let stale = ask(&format!("{METRIC}{CHAT}")).await;
    refused(&stale, 503, "ServiceUnavailable", "60 seconds ago");
    sandbox.counting.census.read(Readings::default());
    let never = ask(&format!("{METRIC}{CHAT}")).await;
    refused(
        &never,
        503,
        "ServiceUnavailable",
        "not asked any gateway yet",
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn the_api_server_asks_again_and_again_on_one_connection_of_http_2() {
    let sandbox = Sandbox::new().await;
    let stream = sandbox.dial(Some(&sandbox.front_proxy()), b"h2").await;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    sandbox.tracker.spawn(connection);
    let path = format!("https://metrics{METRIC}{CHAT}");
    let all = (0..200).map(|_| {
        let mut sender = sender.clone();
        let request = request(Some(AUTOSCALER), &path);
        async move { read(sender.send_request(request).await.unwrap()).await }
    });
    for (code, list) in futures_util::future::join_all(all).await {
        assert_eq!(code, 200, "{list}");
        assert_eq!(list["items"][0]["value"], "12");
    }
    drop(sender);
    sandbox.stop().await;
}

#[tokio::test]
async fn who_takes_all_places_of_one_address_leaves_those_of_others() {
    let sandbox = Sandbox::new().await;
    let mut silent = Vec::new();
    for _ in 0..32 {
        silent.push(sandbox.socket("127.0.0.1").await);
    }
    let mut one_more = sandbox.socket("127.0.0.1").await;
    let closed = timeout(Duration::from_secs(5), one_more.read_u8()).await;
    assert!(closed.unwrap().is_err(), "there was a place too many");
    let metrics = sandbox.metrics.text().unwrap();
    let counted = "wsc_operator_metrics_api_connections_turned_away_total 1";
    assert!(metrics.contains(counted), "{metrics}");
    // As the API server, which is another machine.
    let socket = sandbox.socket("127.0.0.2").await;
    let shown = sandbox.front_proxy();
    let stream = sandbox.greet(socket, Some(&shown), b"http/1.1").await;
    let (code, _) = sandbox.ask(stream, Some(AUTOSCALER), METRIC).await;
    assert_eq!(code, 200);
    drop(silent);
    sandbox.stop().await;
}

#[tokio::test]
async fn one_that_is_to_stop_answers_on_and_tells_kept_connections_to_go_elsewhere() {
    let sandbox = Sandbox::new().await;
    let proxy = sandbox.front_proxy();
    let kept = sandbox.dial(Some(&proxy), b"http/1.1").await;
    let (mut sender, connection) = http1::handshake(TokioIo::new(kept)).await.unwrap();
    sandbox.tracker.spawn(connection);
    let before = sender
        .send_request(request(Some(AUTOSCALER), METRIC))
        .await
        .unwrap();
    assert_eq!(before.headers().get("connection"), None);
    read(before).await;
    sandbox.stopping.asked.cancel();
    sender.ready().await.unwrap();
    let after = sender
        .send_request(request(Some(AUTOSCALER), METRIC))
        .await
        .unwrap();
    assert_eq!(after.headers()["connection"], "close");
    assert_eq!(read(after).await.0, 200);
    let closed = timeout(Duration::from_secs(5), sender.ready()).await;
    assert!(closed.unwrap().is_err(), "the connection is kept");
    // Whoever has not heard of it comes anew.
    let (code, _) = sandbox.get(Some(&proxy), Some(AUTOSCALER), METRIC).await;
    assert_eq!(code, 200);
    sandbox.stop().await;
}
