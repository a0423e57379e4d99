//! Routes of Gateway API: taken by the real CRDs, followed in the status, gone with their resource.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use wsc_e2e::chart;
use wsc_e2e::extensions::GATEWAY_API;
use wsc_e2e::gateway::{Gateway, held};
use wsc_e2e::namespace::with_gateway;
use wsc_e2e::resource::{sample, with};
use wsc_e2e::wait::{Probe, until};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn routes_are_taken_by_the_crds_followed_and_gone_with_their_resource() -> Result<()> {
    let _operator = chart::operator_in_use().await;
    let alone = json!({"spec": {"wsc": {"distributed": {"enabled": false}}}});
    with_gateway("routes", with(sample(1), &alone), async |gateway| {
        gateway.patch(&json!({"spec": {"route": route()}})).await?;
        if !GATEWAY_API.is_installed(gateway.cluster()).await {
            let told = gateway.await_condition("Degraded", "True", SOON).await?;
            ensure!(told["reason"] == "KindMissing", "{told}");
            GATEWAY_API.install(gateway.cluster()).await?;
        }
        gateway.await_condition("Degraded", "False", SOON).await?;
        let client = stored(&gateway, "httproute/chat").await?;
        let rule = &client["spec"]["rules"][0];
        ensure!(
            rule["timeouts"] == json!({"request": "0s", "backendRequest": "0s"}),
            "{rule}"
        );
        stored(&gateway, "httproute/chat-http").await?;
        stored(&gateway, "grpcroute/chat").await?;
        a_gateways_word_is_followed(&gateway).await?;

        gateway.delete().await?;
        until("the routes to be gone", SOON, async || {
            let left = ["get", "httproutes,grpcroutes", "-o", "name"];
            let left = gateway.kubectl(&left).await?;
            Ok(held(left.trim().is_empty(), || left))
        })
        .await
    })
    .await
}

fn route() -> Value {
    json!({
        "enabled": true,
        "parentRefs": [{"name": "public", "namespace": "ingress", "sectionName": "https"}],
        "hostnames": ["chat.example.org", "*.chat.example.org"],
        "http": {"enabled": true, "hostnames": ["api.example.org"]},
        "grpc": {"enabled": true, "hostnames": ["grpc.example.org"], "parentRefs": [{"name": "private", "port": 8443}]},
    })
}

/// Here the test is the Gateway's controller.
async fn a_gateways_word_is_followed(gateway: &Gateway) -> Result<()> {
    says(gateway, "False").await?;
    let told = gateway.await_condition("Degraded", "True", SOON).await?;
    ensure!(told["reason"] == "RouteRefused", "{told}");
    says(gateway, "True").await?;
    gateway.await_condition("Degraded", "False", SOON).await?;
    until("the names in the status", SOON, async || {
        let found = gateway.get().await?.data["status"]["addresses"].clone();
        let wanted = json!(["*.chat.example.org/ws", "chat.example.org/ws"]);
        Ok(held(found == wanted, || found.to_string()))
    })
    .await
}

async fn says(gateway: &Gateway, accepted: &str) -> Result<()> {
    let status = json!({"status": {"parents": [{
        "parentRef": {"name": "public", "namespace": "ingress", "sectionName": "https"},
        "controllerName": "example.org/test",
        "conditions": [{
            "type": "Accepted", "status": accepted, "reason": "Judged", "message": "by the test",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    }]}});
    let args = ["patch", "httproute", "chat", "--subresource=status"];
    let patch = ["--type=merge", "--patch", &status.to_string()];
    gateway
        .kubectl(&[&args[..], &patch[..]].concat())
        .await
        .map(drop)
}

/// A route as the API server keeps it.
async fn stored(gateway: &Gateway, object: &str) -> Result<Value> {
    until(object, SOON, async || {
        let text = gateway.kubectl(&["get", object, "-o", "json"]).await?;
        Ok(Probe::Done(serde_json::from_str(&text)?))
    })
    .await
}
