//! A managed Redis with replicas: its primary is killed, deleted, and updated as the rest is, and its password is replaced, while
//! messages flow that are accepted once a replica has them. Nothing that was accepted is lost, and no client is disconnected.
//!
//! The figures are printed (`--nocapture`).

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use wsc_e2e::chart;
use wsc_e2e::gateway::{Gateway, held};
use wsc_e2e::namespace::{READY_WITHIN, with_gateway};
use wsc_e2e::resource::{sample, with};
use wsc_e2e::wait::{done_if, until};

use crate::crowd::Load;

const CLIENTS: usize = 60;
/// Five seconds of silence, an election, and a busy machine's share of it: Sentinels that stood still distrust themselves.
const WRITES_AGAIN: Duration = Duration::from_secs(60);
/// A primary that is told to go hands over before it ends.
const HANDED_OVER: Duration = Duration::from_secs(30);
/// The kubelet looks at mounted Secrets about once a minute.
const TAKEN_WITHIN: Duration = Duration::from_mins(3);
const NEW_PASSWORD: &str = "replaced by hand, with spaces";

#[tokio::test(flavor = "multi_thread")]
async fn a_replicated_redis_loses_nothing_accepted_whatever_becomes_of_its_primary() -> Result<()> {
    let _operator = chart::operator_in_use().await;
    let spec = json!({"spec": {
        "managedRedis": {"mode": "Replicated"},
        "wsc": {
            "delivery": {"acceptance": "replicated"},
            "security": {"enableRateLimit": false},
        },
    }});
    with_gateway("redis-replicated", with(sample(2), &spec), async |gateway| {
        await_rolled_out(&gateway).await?;
        let load = Load::start(&gateway, "redis-replicated", CLIENTS).await?;
        load.more_is_accepted().await?;

        let primary = primary(&gateway).await?;
        let pause = load.longest_pause(async || {
            gateway.kill_pod(&primary).await?;
            await_another(&gateway, &primary).await
        });
        let pause = pause.await?;
        println!("redis-replicated: {primary} killed, nothing accepted for {pause:.1?}");
        ensure!(pause < WRITES_AGAIN, "killed: {pause:?}");
        await_rolled_out(&gateway).await?;

        let primary = self::primary(&gateway).await?;
        let pause = load.longest_pause(async || {
            gateway.kubectl(&["delete", "pod", &primary]).await?;
            await_another(&gateway, &primary).await
        });
        let pause = pause.await?;
        println!("redis-replicated: {primary} deleted, nothing accepted for {pause:.1?}");
        ensure!(pause < HANDED_OVER, "deleted: {pause:?}");
        await_rolled_out(&gateway).await?;

        let pause = load.longest_pause(async || {
            let more = json!({"spec": {"managedRedis": {"resources": {"requests": {"memory": "33Mi"}}}}});
            gateway.patch(&more).await?;
            await_memory(&gateway, "33Mi").await?;
            await_rolled_out(&gateway).await
        });
        let pause = pause.await?;
        println!("redis-replicated: all updated in turn, nothing accepted for {pause:.1?} at most");
        ensure!(pause < HANDED_OVER, "updated: {pause:?}");

        let pause = load.longest_pause(async || replace_password(&gateway).await);
        let pause = pause.await?;
        println!("redis-replicated: password replaced, nothing accepted for {pause:.1?} at most");
        ensure!(pause < HANDED_OVER, "password: {pause:?}");

        load.nobody_was_disconnected()?;
        load.settle().await
    })
    .await
}

/// The new one is taken over by running pods; then the old one ends with each.
async fn replace_password(gateway: &Gateway) -> Result<()> {
    let keys = json!({"redis-password": NEW_PASSWORD});
    gateway.set_secret("chat-redis", &keys).await?;
    until("all to take the password over", TAKEN_WITHIN, async || {
        let mut answers = Vec::new();
        for pod in MEMBERS {
            answers.push(redis(gateway, pod, NEW_PASSWORD, "ping").await?);
        }
        let taken = answers.iter().all(|answer| answer.trim() == "PONG");
        Ok(held(taken, || format!("{answers:?}")))
    })
    .await?;
    gateway
        .kubectl(&["rollout", "restart", "statefulset/chat-redis"])
        .await?;
    await_rolled_out(gateway).await
}

const MEMBERS: [&str; 3] = ["chat-redis-0", "chat-redis-1", "chat-redis-2"];

/// Every member is up to date and ready.
async fn await_rolled_out(gateway: &Gateway) -> Result<()> {
    gateway
        .kubectl(&[
            "rollout",
            "status",
            "statefulset/chat-redis",
            "--timeout=300s",
        ])
        .await
        .map(drop)
}

/// The operator has carried the change to the set.
async fn await_memory(gateway: &Gateway, wanted: &str) -> Result<()> {
    let path = "jsonpath={.spec.template.spec.containers[0].resources.requests.memory}";
    until("the set to be changed", READY_WITHIN, async || {
        let memory = gateway
            .kubectl(&["get", "statefulset", "chat-redis", "-o", path])
            .await?;
        Ok(held(memory == wanted, || memory.clone()))
    })
    .await
}

/// What the Redis of a pod answers; without a word where it does not.
pub async fn redis(gateway: &Gateway, pod: &str, password: &str, command: &str) -> Result<String> {
    let script = "REDISCLI_AUTH=$0 exec redis-cli \"$1\"";
    let args = [
        "exec", pod, "-c", "redis", "--", "sh", "-c", script, password, command,
    ];
    Ok(gateway.kubectl(&args).await.unwrap_or_default())
}

async fn password(gateway: &Gateway) -> Result<String> {
    let path = "go-template={{index .data \"redis-password\" | base64decode}}";
    gateway
        .kubectl(&["get", "secret", "chat-redis", "-o", path])
        .await
}

/// The member that says that it is the primary.
async fn primary(gateway: &Gateway) -> Result<String> {
    let password = password(gateway).await?;
    until("a primary", READY_WITHIN, async || {
        for pod in MEMBERS {
            let role = redis(gateway, pod, &password, "role").await?;
            if role.starts_with("master") {
                return Ok(done_if(true, pod.to_owned(), String::new));
            }
        }
        Ok(done_if(false, String::new(), || "none is".to_owned()))
    })
    .await
}

async fn await_another(gateway: &Gateway, before: &str) -> Result<()> {
    until("another primary", READY_WITHIN, async || {
        let now = primary(gateway).await?;
        Ok(held(now != before, || now.clone()))
    })
    .await
}
