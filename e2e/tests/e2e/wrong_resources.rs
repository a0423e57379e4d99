//! Wrong resources do not get past the API server; right ones that cannot be realised say what is missing.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use wsc_e2e::chart;
use wsc_e2e::cluster::Cluster;
use wsc_e2e::gateway::Gateway;
use wsc_e2e::namespace::{READY_WITHIN, with_temp_ns};
use wsc_e2e::resource::{sample, with};

/// Until a condition tells what is missing.
const TOLD_WITHIN: Duration = Duration::from_secs(15);

#[tokio::test]
async fn wrong_resources_are_refused_by_path_and_a_missing_secret_is_told_and_heals() -> Result<()>
{
    let _operator = chart::operator_in_use().await;
    with_temp_ns("wrong-resources", async |cluster, namespace| {
        for (path, spec) in wrong_specs() {
            refused(
                &cluster,
                &namespace,
                path,
                &with(sample(3), &json!({"spec": spec})),
            )
            .await?;
        }
        missing_secret_heals(&Gateway::new(&cluster, &namespace, "chat")).await
    })
    .await
}

/// The path that the refusal must name, and the spec that causes it.
fn wrong_specs() -> Vec<(&'static str, Value)> {
    vec![
        ("spec.replicas", json!({"replicas": -1})),
        ("spec.replicas", json!({"replicas": "three"})),
        (
            "spec.wsc.distributed.enabled",
            json!({"wsc": {"distributed": {"enabled": false}}}),
        ),
        (
            "spec.wsc.clientTimeout",
            json!({"wsc": {"heartbeatInterval": "60s", "clientTimeout": "30s"}}),
        ),
        (
            "spec.wsc.heartbeatInterval",
            json!({"wsc": {"heartbeatInterval": "soon"}}),
        ),
        ("spec.wsc.nodePort", json!({"wsc": {"nodePort": 70_000}})),
        ("spec.wsc.nodePort", json!({"wsc": {"nodePort": 9090}})),
        ("spec.wsc.path", json!({"wsc": {"path": "ws"}})),
        (
            "spec.wsc.connectionPolicy",
            json!({"wsc": {"connectionPolicy": "kickSomeone"}}),
        ),
        (
            "spec.wsc.messageBufferSize",
            json!({"wsc": {"messageBufferSize": 0}}),
        ),
        (
            "spec.wsc.websocketOrigins",
            json!({"wsc": {"websocketOrigins": ["not an origin"]}}),
        ),
        (
            "spec.wsc.security.whitelistIps",
            json!({"wsc": {"security": {"whitelistIps": ["10.0.0.0/99"]}}}),
        ),
        (
            "spec.wsc.security.jwt.algorithm",
            json!({"wsc": {"security": {"jwt": {"algorithm": "none"}}}}),
        ),
        (
            "spec.wsc.performance.compressionLevel",
            json!({"wsc": {"performance": {"compressionLevel": 12}}}),
        ),
        (
            "spec.drain.deadline",
            json!({"drain": {"window": "50s", "deadline": "10s"}}),
        ),
        ("spec.drain.jitter", json!({"drain": {"jitter": 2}})),
        (
            "spec.managedRedis.persistence.size",
            json!({"managedRedis": {"persistence": {"size": "much"}}}),
        ),
        (
            "spec.listeners.grpc.port",
            json!({"listeners": {"http": {"port": 9090}}}),
        ),
        (
            "spec.wsc.heartbeetInterval",
            json!({"wsc": {"heartbeetInterval": "30s"}}),
        ),
    ]
}

async fn refused(cluster: &Cluster, namespace: &str, path: &str, resource: &Value) -> Result<()> {
    let args = ["--namespace", namespace, "create", "-f", "-"];
    let outcome = cluster
        .kubectl_with_input(&args, &resource.to_string())
        .await;
    let Err(refusal) = outcome else {
        anyhow::bail!("a resource with a wrong {path} was accepted: {resource}")
    };
    let text = format!("{refusal:#}");
    ensure!(
        text.contains(path),
        "the refusal does not name {path}: {text}"
    );
    Ok(())
}

async fn missing_secret_heals(gateway: &Gateway) -> Result<()> {
    let reference = json!({"spec": {"wsc": {"security": {"jwt": {"secretRef": {"name": "ours", "key": "signing"}}}}}});
    gateway.apply(&with(sample(1), &reference)).await?;
    let told = gateway
        .await_condition("Accepted", "False", TOLD_WITHIN)
        .await?;
    let message = told["message"].as_str().unwrap_or_default();
    ensure!(
        message.contains("ours"),
        "the condition does not name the Secret: {told}"
    );
    ensure!(
        gateway.pods().await?.is_empty(),
        "pods were made without their key"
    );

    gateway
        .kubectl(&[
            "create",
            "secret",
            "generic",
            "ours",
            "--from-literal=other=x",
        ])
        .await?;
    let told = gateway
        .await_condition("Accepted", "False", TOLD_WITHIN)
        .await?;
    ensure!(
        told["message"]
            .as_str()
            .unwrap_or_default()
            .contains("ours"),
        "{told}"
    );

    let key = "stringData: {signing: a-key-of-more-than-thirty-two-bytes-in-all}";
    gateway
        .kubectl(&["patch", "secret", "ours", "--patch", key])
        .await?;
    gateway
        .await_condition("Accepted", "True", TOLD_WITHIN)
        .await?;
    gateway.await_ready(1, READY_WITHIN).await?;
    Ok(())
}
