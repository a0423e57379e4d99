//! The API server answers nobody for a while: clients do not notice, and afterwards the operator goes on where it was.
//!
//! `WSC_PROOF_API_AWAY` says for how many seconds; the figures are printed (`--nocapture`).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::process::Command;
use tokio::time::{Instant, sleep};
use wsc_e2e::chart;
use wsc_e2e::gateway::{Gateway, held};
use wsc_e2e::namespace::{READY_WITHIN, with_gateway};
use wsc_e2e::resource::{sample, with};
use wsc_e2e::wait::until;

use crate::crowd::Load;

const CLIENTS: usize = 100;
/// Without a word to the contrary.
const AWAY: Duration = Duration::from_secs(20);
/// From its return to a change that has arrived.
const CONVERGED_WITHIN: Duration = Duration::from_secs(30);
/// What a machine that is busy with everybody's return may take from traffic.
const UNDISTURBED: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_away_disturbs_no_traffic_and_a_change_arrives_after_its_return()
-> Result<()> {
    let _operator = chart::operator_to_break().await;
    let away = match std::env::var("WSC_PROOF_API_AWAY") {
        Ok(text) => Duration::from_secs(text.parse().context("WSC_PROOF_API_AWAY")?),
        Err(_) => AWAY,
    };
    let spec = json!({"spec": {"wsc": {"security": {"enableRateLimit": false}}}});
    with_gateway("api-server-away", with(sample(2), &spec), async |gateway| {
        let Some(api_server) = gateway.cluster().api_server() else {
            eprintln!("this is not the throw-away cluster: its API server was left alone");
            return Ok(());
        };
        let pods = gateway.ready_pods().await?;
        let load = Load::start(&gateway, "api-server-away", CLIENTS).await?;
        load.more_is_accepted().await?;
        let frozen = Frozen::new(api_server).await?;
        let pause = load.longest_pause(async || {
            sleep(away).await;
            Ok(())
        });
        let pause = pause.await?;
        drop(frozen);

        let back = Instant::now();
        until("the API server to take a change", CONVERGED_WITHIN, async || {
            let window = json!({"spec": {"drain": {"window": "7s"}}});
            let taken = gateway.patch(&window).await;
            Ok(held(taken.is_ok(), || format!("{:?}", taken.err())))
        })
        .await?;
        until("the change to arrive", CONVERGED_WITHIN, async || {
            let file = configuration(&gateway).await?;
            Ok(held(file.contains("window: 7s"), || file.clone()))
        })
        .await?;
        println!(
            "api-server-away: {away:?} away, nothing accepted for {pause:.1?} at most; a change arrived {:.1?} after its return",
            back.elapsed()
        );
        ensure!(back.elapsed() < CONVERGED_WITHIN, "{:?}", back.elapsed());
        ensure!(pause < UNDISTURBED, "nothing was accepted for {pause:?}");
        gateway.await_ready(2, READY_WITHIN).await?;
        ensure!(gateway.ready_pods().await? == pods, "pods were replaced");
        load.nobody_was_disconnected()?;
        load.settle().await
    })
    .await
}

async fn configuration(gateway: &Gateway) -> Result<String> {
    let args = ["get", "configmap", "chat-config", "-o", "jsonpath={.data}"];
    gateway.kubectl(&args).await
}

/// A process that stands still until this is dropped.
struct Frozen(u32);

impl Frozen {
    async fn new(process: u32) -> Result<Self> {
        let stop = ["-STOP", &process.to_string()];
        let stopped = Command::new("kill").args(stop).status().await?;
        ensure!(stopped.success(), "process {process} cannot be stopped");
        Ok(Self(process))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let go_on = ["-CONT", &self.0.to_string()];
        let went = std::process::Command::new("kill").args(go_on).status();
        if !went.is_ok_and(|status| status.success()) {
            eprintln!("process {} stands still: `kill -CONT` it", self.0);
        }
    }
}
