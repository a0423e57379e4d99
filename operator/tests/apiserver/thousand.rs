//! Very many resources: how long until all are made, what that costs, and that nothing is done when nothing changes.
//!
//! `WSC_PROOF_RESOURCES` says how many; figures are printed, so run it with `--nocapture`.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;
use tokio::time::Instant;

use crate::ground::{Ground, eventually};
use crate::operator::Operator;

/// Applied at a time, as by somebody in a hurry.
const AT_A_TIME: usize = 16;

/// Resident, whatever there is to look after, in MiB.
const MOST_MEMORY: u64 = 256;

/// How long nothing must happen.
const IDLE: Duration = Duration::from_secs(15);

/// What one resource may cost until it is made, reads and writes: twelve objects and two Secrets, each looked for and
/// written once, and its statuses.
const MOST_REQUESTS: usize = 45;

fn wanted() -> usize {
    let asked = std::env::var("WSC_PROOF_RESOURCES").ok();
    asked.map_or(30, |count| count.parse().unwrap())
}

/// How many resources the operator has said something of.
async fn observed(ground: &Ground) -> usize {
    let all = ground
        .gateways()
        .list(&ListParams::default())
        .await
        .unwrap();
    let seen = all.iter().filter(|gateway| {
        let status = gateway.status.as_ref();
        status.map(|status| status.observed_generation) == gateway.metadata.generation
    });
    seen.count()
}

// The proxy must not wait for the test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn very_many_resources_are_all_made_and_then_nothing_is_done() {
    let count = wanted();
    let within = within(count);
    let ground = Ground::new("thousand").await;
    let mut operator = Operator::start(&ground, "operator").await;
    let began = Instant::now();
    let third = count / 3;
    let first = make(&ground, &operator, (0, third)).await;
    let rest = make(&ground, &operator, (third, count)).await;
    let took = began.elapsed();
    println!(
        "{first:.1} requests for each of {third}, {rest:.1} for each of the {} after them",
        count - third
    );
    assert!(rest <= first * 1.2, "each costs more, the more there are");
    let deployments: Api<Deployment> = Api::namespaced(ground.client.clone(), &ground.namespace);
    let made = deployments.list(&ListParams::default()).await.unwrap();
    assert_eq!(made.items.len(), count);
    let calls = operator.proxy.calls();
    let requests = calls.iter().filter(|call| !call.is_watch).count();
    let writes = operator.proxy.writes();
    println!(
        "{count} resources: all made after {took:.1?}; {requests} requests and {writes} writes in all; {} MiB",
        operator.memory()
    );
    assert!(
        requests <= MOST_REQUESTS * count + 200,
        "{requests} requests"
    );

    quiet(&operator, "made").await;
    assert!(
        operator.memory() <= MOST_MEMORY,
        "{} MiB",
        operator.memory()
    );
    operator.kill();
    let began = Instant::now();
    let next = Operator::start(&ground, "next").await;
    eventually(within, "the next one has looked at all", async || {
        let looked = next.metric("wsc_operator_reconciles_total").await;
        (looked >= count as u64).then_some(())
    })
    .await;
    println!(
        "{count} resources: the next operator has looked at all after {:.1?}, with {} writes; {} MiB",
        began.elapsed(),
        next.proxy.writes(),
        next.memory()
    );
    assert_eq!(next.proxy.writes(), 0, "what was there was written again");
    quiet(&next, "taken over").await;
    assert!(next.memory() <= MOST_MEMORY, "{} MiB", next.memory());
}

fn within(count: usize) -> Duration {
    Duration::from_secs(60) + Duration::from_secs(1) * u32::try_from(count).unwrap()
}

/// Makes those with these numbers beside those that are there, and gives how many requests each cost.
async fn make(ground: &Ground, operator: &Operator, (from, to): (usize, usize)) -> f64 {
    let requests = || {
        let calls = operator.proxy.calls();
        calls.iter().filter(|call| !call.is_watch).count()
    };
    let before = requests();
    let spec = json!({"replicas": 3, "wsc": {"distributed": {"enabled": true}}});
    stream::iter(from..to)
        .for_each_concurrent(AT_A_TIME, async |number| {
            ground.apply(&format!("chat-{number}"), &spec).await;
        })
        .await;
    // Asking the API server for all of them is work as well: only when they may all be there.
    eventually(within(to), "all are observed", async || {
        let written = operator.metric("wsc_operator_status_writes_total").await;
        let may_be = written >= to as u64;
        (may_be && observed(ground).await == to).then_some(())
    })
    .await;
    let of = |number: usize| f64::from(u32::try_from(number).unwrap());
    of(requests() - before) / of(to - from)
}

/// Nothing is written, and hardly anything looked at, while nothing changes.
async fn quiet(operator: &Operator, when: &str) {
    // What the last writes woke is over.
    let reconciles = async || operator.metric("wsc_operator_reconciles_total").await;
    let (mut before, mut since) = (reconciles().await, Instant::now());
    while since.elapsed() < Duration::from_secs(3) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = reconciles().await;
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
    let writes = operator.proxy.writes();
    tokio::time::sleep(IDLE).await;
    let (wrote, looked) = (
        operator.proxy.writes() - writes,
        reconciles().await - before,
    );
    println!(
        "{when}: {wrote} writes and {looked} reconciles in {IDLE:?} without a change; {} MiB",
        operator.memory()
    );
    assert_eq!(wrote, 0, "{when}: written while nothing changed");
    // Everything is looked at again after ten minutes, a fifth sooner or later, and of very many the first are due by then.
    let due = wanted() as u64 * IDLE.as_secs() / 480;
    assert!(
        looked <= due * 2,
        "{when}: reconciled while nothing changed"
    );
}
