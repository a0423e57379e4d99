//! The sample becomes a cluster, and everything that reports it says so.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wsc_e2e::chart;
use wsc_e2e::client::{ChatClient, Who};
use wsc_e2e::gateway::held;
use wsc_e2e::namespace::with_gateway;
use wsc_e2e::resource::sample;
use wsc_e2e::wait::until;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn three_gateways_and_redis_become_ready_and_the_status_and_kubectl_say_so() -> Result<()> {
    let _operator = chart::operator_in_use().await;
    with_gateway("ready", sample(3), async |gateway| {
        // Readiness comes first; what the gateways say of themselves is asked for at intervals.
        for (kind, wanted) in [
            ("Accepted", "True"),
            ("Ready", "True"),
            ("RedisReady", "True"),
            ("Progressing", "False"),
            ("Degraded", "False"),
            ("Paused", "False"),
        ] {
            gateway.await_condition(kind, wanted, SOON).await?;
        }
        let pods = gateway.get().await?.data["status"]["pods"].clone();
        ensure!(
            pods.as_array().map(Vec::len) == Some(3),
            "not three pods in the status: {pods}"
        );

        let _alice = ChatClient::connect(&gateway, Who::user("alice")).await?;
        let _bob = ChatClient::connect(&gateway, Who::user("bob")).await?;
        until("kubectl to show two connections", SOON, async || {
            let row = columns(
                &gateway
                    .kubectl(&["get", "wsg", "chat", "--no-headers"])
                    .await?,
            );
            let right = row.get(..4) == Some(&["chat", "True", "3", "2"].map(String::from)[..]);
            Ok(held(right, || format!("{row:?}")))
        })
        .await?;

        let table = gateway.kubectl(&["get", "wsg"]).await?;
        let header = columns(table.lines().next().context("kubectl printed nothing")?);
        ensure!(
            header
                == [
                    "NAME",
                    "READY",
                    "REPLICAS",
                    "CONNECTIONS",
                    "REDIS",
                    "ADDRESS",
                    "AGE"
                ],
            "columns are {header:?}"
        );
        let row = columns(table.lines().nth(1).context("kubectl printed no row")?);
        ensure!(row.len() == header.len(), "a column is empty: {table}");
        Ok(())
    })
    .await
}

fn columns(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
