//! Killed after each of its writes, and a new one comes to where one that was never disturbed comes to.
//!
//! A write that the API server carried out, and of which the operator heard nothing, is the worst place to die in; to die
//! before a write is to have died after the one before it. What an operator reads leaves no trace. The new one writes what
//! is missing, and nothing that is there.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::ground::{Ground, eventually};
use crate::operator::{Operator, QUIET};
use crate::proxy::{Deed, Proxy};
use crate::snapshot::{Snapshot, difference, snapshot};

pub const WITHIN: Duration = Duration::from_secs(20);

/// Operators at a time: each is a process, and waits more than it works.
const AT_A_TIME: usize = 4;

/// Everything that a cluster without extensions can be asked for.
pub fn everything() -> Value {
    json!({
        "replicas": 3,
        "wsc": {"distributed": {"enabled": true}},
        "ingress": {"enabled": true, "hosts": ["chat.example.org"]},
        "networkPolicy": {"enabled": true},
        "autoscaling": {"enabled": true, "maxReplicas": 5},
        "managedRedis": {"persistence": {"enabled": true, "size": "1Gi"}},
    })
}

/// One gateway that needs no Redis: most of the above goes.
pub fn little() -> Value {
    json!({"replicas": 1, "logLevel": "debug"})
}

/// What an undisturbed operator comes to.
pub async fn settled(ground: &Ground, operator: &Operator) -> Snapshot {
    ground.observed("chat", WITHIN).await;
    eventually(WITHIN, "nothing more is written", async || {
        let last = operator.proxy.last_write()?;
        (Instant::now() - last > QUIET).then_some(())
    })
    .await;
    snapshot(ground).await
}

/// The objects that an operator applied.
fn written(operator: &Operator) -> BTreeSet<String> {
    let calls = operator.proxy.calls().into_iter();
    let applied = calls.filter(|call| call.write.is_some() && call.method == Method::PATCH);
    let objects = applied.filter(|call| !call.path.ends_with("/status"));
    objects.map(|call| call.path).collect()
}

/// The way to a spec: from nothing, or from another spec that had been reached.
#[derive(Clone)]
struct Way {
    name: &'static str,
    from: Option<Value>,
    to: Value,
}

impl Way {
    async fn begin(&self, namespace: &str) -> Ground {
        let ground = Ground::new(namespace).await;
        if let Some(from) = &self.from {
            ground.apply("chat", from).await;
            let first = Operator::start(&ground, "first").await;
            settled(&ground, &first).await;
        }
        ground.apply("chat", &self.to).await;
        ground
    }

    /// Where it leads undisturbed, and with how many writes.
    async fn undisturbed(&self) -> (Snapshot, usize) {
        let ground = self.begin(&format!("{}-undisturbed", self.name)).await;
        let operator = Operator::start(&ground, "only").await;
        let end = settled(&ground, &operator).await;
        (end, operator.proxy.writes())
    }

    /// Where it leads when the operator dies with its `nth` write; whether it came to that write.
    async fn killed_at(&self, nth: usize, wanted: &Snapshot) -> bool {
        let ground = self.begin(&format!("{}-{nth}", self.name)).await;
        let proxy = Proxy::new(ground.client.clone()).await;
        proxy.plan(move |call| match call.write {
            Some(write) if write == nth => Deed::Last,
            // What was under way beside it must not arrive after its death.
            Some(write) if write > nth => Deed::Silence,
            _ => Deed::Pass,
        });
        let mut victim = Operator::behind(proxy, &ground, "victim", &[]);
        // How often a status is written depends on how fast the watches are.
        let is_dead = tokio::select! {
            () = victim.proxy.last() => true,
            _ = settled(&ground, &victim) => false,
        };
        victim.kill();
        let heir = Operator::start(&ground, "heir").await;
        eventually(WITHIN, "the heir looked at the resource", async || {
            let looked = heir.metric("wsc_operator_reconciles_total").await;
            (looked > 0).then_some(())
        })
        .await;
        let same = eventually(WITHIN, "the same end", async || {
            let differs = difference(wanted, &snapshot(&ground).await);
            differs.is_empty().then_some(())
        });
        if tokio::time::timeout(WITHIN / 2, same).await.is_err() {
            let differs = difference(wanted, &snapshot(&ground).await);
            panic!("{} killed at {nth}: {differs:#?}", self.name);
        }
        let both = &written(&heir) & &written(&victim);
        assert!(
            both.is_empty(),
            "{} killed at {nth}: again {both:#?}",
            self.name
        );
        is_dead
    }

    /// All of them.
    async fn holds(self) {
        let (wanted, writes) = self.undisturbed().await;
        let began = Instant::now();
        let deaths: Vec<bool> = stream::iter(1..=writes)
            .map(|nth| self.killed_at(nth, &wanted))
            .buffer_unordered(AT_A_TIME)
            .collect()
            .await;
        let deaths = deaths.into_iter().filter(|dead| *dead).count();
        assert!(deaths >= 5, "{}: {deaths} deaths", self.name);
        let took = began.elapsed().as_secs();
        println!(
            "{}: {} objects by {writes} writes; killed at {deaths} of them and come to the same, in {took} s",
            self.name,
            wanted.len()
        );
    }
}

#[tokio::test]
async fn killed_at_any_write_of_a_new_resource_the_next_comes_to_the_same_end() {
    let way = Way {
        name: "made",
        from: None,
        to: everything(),
    };
    way.holds().await;
}

#[tokio::test]
async fn killed_at_any_write_of_a_change_the_next_comes_to_the_same_end() {
    let way = Way {
        name: "changed",
        from: Some(everything()),
        to: little(),
    };
    way.holds().await;
}
