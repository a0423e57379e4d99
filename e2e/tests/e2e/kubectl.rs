//! What kubectl tells of a gateway, and what its plugin does to one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::time::timeout;
use wsc_e2e::chart;
use wsc_e2e::client::{ChatClient, Event, Who};
use wsc_e2e::cluster::programs;
use wsc_e2e::gateway::{Gateway, held};
use wsc_e2e::namespace::{READY_WITHIN, with_gateway};
use wsc_e2e::resource::{sample, with};
use wsc_e2e::wait::until;

/// Until a condition tells what is missing, or that it is no longer.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(10);
#[tokio::test]
async fn kubectl_tells_how_a_gateway_is_and_what_to_do_and_its_plugin_drains_a_pod() -> Result<()> {
    let _operator = chart::operator_in_use().await;
    let drain = json!({"spec": {"drain": {"unreadyDelay": "1s", "window": "1s"}}});
    with_gateway("kubectl", with(sample(2), &drain), async |gateway| {
        a_missing_secret_is_told_once_and_described(&gateway).await?;
        the_plugin_drains_a_pod(&gateway).await
    })
    .await
}

/// The pods that serve are left alone meanwhile.
async fn a_missing_secret_is_told_once_and_described(gateway: &Gateway) -> Result<()> {
    let before = gateway.ready_pods().await?;
    let missing = json!({"name": "no-such-secret", "key": "signing"});
    let jwt = |reference: Value| json!({"spec": {"wsc": {"security": {"jwt": {"secretRef": reference}}}}});
    gateway.patch(&jwt(missing)).await?;
    gateway
        .await_condition("Accepted", "False", TOLD_WITHIN)
        .await?;
    // Recorded a moment after the condition.
    until("the event to be recorded", TOLD_WITHIN, async || {
        let told = warnings(gateway).await?;
        Ok(held(told.len() == 1, || format!("{told:?}")))
    })
    .await?;
    let described = gateway.kubectl(&["describe", "wsg", "chat"]).await?;
    let events = described.split("Events:").nth(1).context("no events")?;
    for part in [&*described, events] {
        ensure!(part.contains("no-such-secret"), "{described}");
    }
    ensure!(gateway.ready_pods().await? == before, "pods went");

    gateway.patch(&jwt(Value::Null)).await?;
    gateway
        .await_condition("Accepted", "True", TOLD_WITHIN)
        .await?;
    gateway.await_ready(2, READY_WITHIN).await?;
    let told = warnings(gateway).await?;
    ensure!(told.len() == 1, "told more than once: {told:?}");
    ensure!(gateway.ready_pods().await? == before, "pods went");
    Ok(())
}

/// Warnings about what is missing, each with how often it was told.
async fn warnings(gateway: &Gateway) -> Result<Vec<String>> {
    let args = [
        "get",
        "events.events.k8s.io",
        "--field-selector=regarding.kind=WebSocketGateway,type=Warning",
        "-o",
        "json",
    ];
    let list: Value = serde_json::from_str(&gateway.kubectl(&args).await?)?;
    let all = list["items"].as_array().cloned().unwrap_or_default();
    let about = all
        .iter()
        .filter(|event| event["note"].to_string().contains("no-such-secret"));
    Ok(about
        .map(|event| format!("{} {}", event["note"], event["series"]))
        .collect())
}

async fn the_plugin_drains_a_pod(gateway: &Gateway) -> Result<()> {
    let plugin = programs().join("kubectl-wsc");
    let _older = tokio::fs::remove_file(&plugin).await;
    tokio::fs::symlink(programs().join("wscctl"), &plugin).await?;
    let pod = gateway.any_ready_pod().await?;
    let client = ChatClient::connect(gateway, Who::user("alice").at(&pod)).await?;

    let (_forward, port) = forward_admin(gateway, &pod).await?;
    let url = format!("http://127.0.0.1:{port}");
    let args = ["wsc", "--admin-url", &url, "drain", "--wait"];
    gateway.cluster().kubectl(&args).await?;
    client
        .log()
        .find(SOON, |event| match event {
            Event::Connected { pod: now } if *now != pod => Some(()),
            _ => None,
        })
        .await
        .context("to be welcome on the other pod")?;
    gateway.await_ready(2, READY_WITHIN).await.map(drop)
}

/// `kubectl port-forward` to the admin port, and the port here.
async fn forward_admin(gateway: &Gateway, pod: &str) -> Result<(Child, u16)> {
    let of = format!("pod/{pod}");
    let args = [
        "--namespace",
        gateway.namespace(),
        "port-forward",
        &of,
        ":9100",
    ];
    let mut forward = gateway.cluster().start_kubectl(&args)?;
    let said = forward.stdout.take().context("no output")?;
    let mut lines = BufReader::new(said).lines();
    let line = timeout(SOON, lines.next_line()).await??;
    let line = line.context("kubectl said nothing")?;
    // It says more with each connection, and ends when nobody reads that.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    // Forwarding from 127.0.0.1:40000 -> 9100
    let port = line
        .split("127.0.0.1:")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let port = port.and_then(|port| port.parse().ok());
    Ok((forward, port.with_context(|| line.clone())?))
}
