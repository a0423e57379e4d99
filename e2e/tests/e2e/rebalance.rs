//! After a scale-up the pod that came gets its share, at the configured rate, and then nobody is moved any more.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::time::Instant;
use wsc_e2e::chart;
use wsc_e2e::gateway::{Gateway, held};
use wsc_e2e::namespace::{READY_WITHIN, with_gateway};
use wsc_e2e::resource::{sample, with};
use wsc_e2e::wait::until;

use crate::crowd::Load;
use crate::disturbance::{Bounds, Disturbance};

const CLIENTS: usize = 240;
/// `rebalance.ratePerSecond`, of each pod.
const RATE: u32 = 10;
/// `rebalance.absolute`; chance makes more: twice the square root of the mean, which is 80.
const BOUND: u64 = 18;
/// News between pods, the round itself, and a machine with other things to do.
const SPREAD_WITHIN: Duration = Duration::from_mins(2);
/// Longer than pods wait between two rounds, which is as long as news take: half of `nodeTimeout`.
const LEFT_ALONE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_comes_gets_its_share_at_the_configured_rate_and_then_nobody_is_moved()
-> Result<()> {
    let _operator = chart::operator_in_use().await;
    let spec = json!({"spec": {
        "rebalance": {"absolute": BOUND, "ratePerSecond": RATE, "minAge": "0s"},
        "wsc": {
            "distributed": {"healthCheckInterval": "1s", "nodeTimeout": "5s"},
            "security": {"enableRateLimit": false},
        },
    }});
    with_gateway("rebalance", with(sample(2), &spec), async |gateway| {
        let load = Load::start(&gateway, "rebalance", CLIENTS).await?;
        let disturbance = Disturbance::begin(&load);
        gateway
            .kubectl(&["scale", "wsg/chat", "--replicas=3"])
            .await?;
        let pods = gateway.await_mesh(3, READY_WITHIN).await?;
        let mut last = (0, Instant::now());
        until("everybody to be left alone", SPREAD_WITHIN, async || {
            let moved = disturbance.disconnects(&load);
            if moved != last.0 {
                last = (moved, Instant::now());
            }
            let rested = moved > 0 && last.1.elapsed() > LEFT_ALONE;
            Ok(held(rested, || format!("{moved} were moved")))
        })
        .await?;
        load.everybody_is_back().await?;
        let spread = connections(&gateway, &pods).await?;
        println!("rebalance: {spread:?}");
        let mean = spread.iter().sum::<u64>() / 3;
        ensure!(
            spread.iter().all(|count| *count <= mean + BOUND),
            "{spread:?}"
        );
        // Both of the pods that were there give some away.
        let bounds = Bounds {
            rate: 2 * usize::try_from(RATE)?,
            times: 2,
        };
        disturbance.was_gentle("rebalance", &load, &bounds)?;
        load.settle().await
    })
    .await
}

async fn connections(gateway: &Gateway, pods: &[String]) -> Result<Vec<u64>> {
    let mut spread = Vec::new();
    for pod in pods {
        let status = gateway.node_status(pod).await?;
        spread.push(status["connections"].as_u64().unwrap_or(0));
    }
    Ok(spread)
}
