//! An API server that is slow, refuses, throttles, forgets versions or loses connections: the operator comes to the same
//! end when it is over, and asks no more meanwhile than its backoff allows.

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::DeleteParams;
use tokio::time::Instant;

use crate::failpoints::{WITHIN, everything, little, settled};
use crate::ground::{Ground, eventually};
use crate::operator::Operator;
use crate::plane::Own;
use crate::proxy::{Call, Deed, Proxy};
use crate::snapshot::{Snapshot, difference, snapshot};

/// How long a fault lasts.
const LASTS: Duration = Duration::from_secs(8);

/// What a watch, or a resource, may ask for while nothing works: at once, then after 1, 2 and 4 seconds, a fifth sooner or
/// later, and once more for chance.
const TRIES: usize = 5;

/// Watches: of owned kinds, Secrets, pods and the resources themselves. Beside them is the one resource's reconcile.
const WATCHES: usize = 21;

struct Trial {
    name: &'static str,
    ground: Ground,
    operator: Operator,
}

impl Trial {
    /// An operator that meets a new resource and a faulty API server at once.
    async fn new(
        name: &'static str,
        fault: impl Fn(&Call) -> Deed + Send + Sync + 'static,
    ) -> Self {
        let ground = Ground::new(name).await;
        ground.apply("chat", &everything()).await;
        let proxy = Proxy::new(ground.client.clone()).await;
        proxy.plan(fault);
        let operator = Operator::behind(proxy, &ground, "operator", &[]);
        Self {
            name,
            ground,
            operator,
        }
    }

    /// Lets the fault last, with no more requests than `most`.
    async fn lasts(&self, most: usize) {
        let before = self.operator.proxy.calls().len();
        tokio::time::sleep(LASTS).await;
        let asked = self.operator.proxy.calls().len() - before;
        println!(
            "{}: {asked} requests in {LASTS:?}, of {most} allowed",
            self.name
        );
        assert!(asked <= most, "{}: {asked} requests", self.name);
    }

    /// What stands there is as before, but for how often the resource was changed.
    async fn alike(&self, wanted: &Snapshot) {
        let differs = difference(wanted, &snapshot(&self.ground).await);
        let other = differs
            .iter()
            .filter(|line| !line.to_lowercase().contains("generation"));
        assert_eq!(other.collect::<Vec<_>>(), [] as [&String; 0]);
    }

    /// Ends the fault; the operator comes to where an undisturbed one does.
    async fn heals(&self, wanted: &Snapshot) {
        self.operator.proxy.plan(|_| Deed::Pass);
        let began = Instant::now();
        let what = format!("{}: the same end", self.name);
        let same = eventually(WITHIN, &what, async || {
            let differs = difference(wanted, &snapshot(&self.ground).await);
            differs.is_empty().then_some(())
        });
        same.await;
        println!(
            "{}: the same end {:?} after it was over",
            self.name,
            began.elapsed()
        );
    }
}

pub async fn undisturbed(name: &str) -> Snapshot {
    let ground = Ground::new(name).await;
    ground.apply("chat", &everything()).await;
    let operator = Operator::start(&ground, "operator").await;
    settled(&ground, &operator).await
}

#[tokio::test]
async fn one_that_refuses_is_asked_ever_more_rarely_and_then_all_is_made() {
    let wanted = undisturbed("no-refusing").await;
    let trial = Trial::new("fault-refusing", |_| Deed::Refuse(503, None)).await;
    trial.lasts(WATCHES * TRIES).await;
    trial.heals(&wanted).await;
}

#[tokio::test]
async fn one_that_throttles_is_asked_no_sooner_than_it_says() {
    let wanted = undisturbed("no-throttling").await;
    let trial = Trial::new("fault-throttling", |_| Deed::Refuse(429, Some(5))).await;
    trial.lasts(WATCHES * 2).await;
    trial.heals(&wanted).await;
}

#[tokio::test]
async fn one_that_is_slow_is_asked_no_more_than_one_that_is_not() {
    let wanted = undisturbed("no-slow").await;
    let trial = Trial::new("fault-slow", |_| Deed::Slow(Duration::from_millis(400))).await;
    let end = settled(&trial.ground, &trial.operator).await;
    assert_eq!(difference(&wanted, &end), [] as [String; 0]);
    let writes = trial.operator.proxy.writes();
    println!("slow: {writes} writes of {} objects", end.len());
    assert!(writes <= end.len() + 3, "{writes} writes");
}

#[tokio::test]
async fn one_that_cuts_every_third_request_is_made_do_with() {
    let wanted = undisturbed("no-cutting").await;
    let count = std::sync::atomic::AtomicUsize::new(0);
    let third = move |_: &Call| match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 3 {
        2 => Deed::Cut,
        _ => Deed::Pass,
    };
    let trial = Trial::new("fault-cutting", third).await;
    trial.lasts(300).await;
    trial.heals(&wanted).await;
}

#[tokio::test]
async fn watches_that_are_too_old_or_cut_begin_anew_and_nothing_is_written_for_that() {
    let trial = Trial::new("fault-expiring", |_| Deed::Pass).await;
    let wanted = settled(&trial.ground, &trial.operator).await;
    let writes = trial.operator.proxy.writes();
    trial.operator.proxy.plan(|_| Deed::Expired);
    trial.operator.proxy.cut_all();
    // Each list works, so each watch asks twice at a time.
    trial.lasts(WATCHES * 2 * TRIES).await;
    trial.operator.proxy.plan(|_| Deed::Pass);
    for _ in 0..5 {
        trial.operator.proxy.cut_all();
        let calls = trial.operator.proxy.calls().len();
        eventually(WITHIN, "the watches are back", async || {
            (trial.operator.proxy.calls().len() > calls + 5).then_some(())
        })
        .await;
    }
    let calls = trial.operator.proxy.calls().into_iter();
    let written = calls.filter(|call| call.write.is_some_and(|number| number > writes));
    let written: Vec<Call> = written.collect();
    assert!(written.is_empty(), "something was written: {written:#?}");
    // It still sees what changes.
    let mut spec = everything();
    spec["logLevel"] = "debug".into();
    trial.ground.apply("chat", &spec).await;
    trial.ground.observed("chat", WITHIN).await;
    trial.ground.apply("chat", &everything()).await;
    settled(&trial.ground, &trial.operator).await;
    trial.alike(&wanted).await;
}

#[tokio::test]
async fn what_it_deleted_is_made_again_while_the_watch_does_not_tell_that_it_went() {
    let trial = Trial::new("fault-blind", |_| Deed::Pass).await;
    let wanted = settled(&trial.ground, &trial.operator).await;
    trial.operator.proxy.plan(|call| {
        if call.path.ends_with("/controllerrevisions") {
            Deed::Refuse(503, None)
        } else {
            Deed::Pass
        }
    });
    trial.operator.proxy.cut_all();
    // What is remembered of the one is deleted when the other is there.
    for spec in [little(), everything()] {
        trial.ground.apply("chat", &spec).await;
        settled(&trial.ground, &trial.operator).await;
    }
    trial.alike(&wanted).await;
}

/// What it must be done within once the API server is back.
const CONVERGED_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test]
async fn one_that_is_killed_and_comes_back_finds_all_as_it_should_be_within_thirty_seconds() {
    let mut own = Own::start("killed").await;
    let ground = Ground::on(own.client(), "killed").await;
    ground.apply("chat", &everything()).await;
    let operator = Operator::start(&ground, "operator").await;
    let wanted = settled(&ground, &operator).await;
    let writes = operator.proxy.writes();
    own.kill();
    let before = operator.proxy.calls().len();
    tokio::time::sleep(LASTS).await;
    let asked = operator.proxy.calls().len() - before;
    assert!(asked <= WATCHES * TRIES, "{asked} requests in {LASTS:?}");
    assert!(own.client().apiserver_version().await.is_err(), "it lives");

    own.begin().await;
    let back = Instant::now();
    // Deleted before anybody watches again.
    let services: Api<Service> = Api::namespaced(own.client(), &ground.namespace);
    services
        .delete("chat", &DeleteParams::default())
        .await
        .unwrap();
    eventually(CONVERGED_WITHIN, "the Service is there again", async || {
        services.get("chat").await.ok()
    })
    .await;
    println!("killed: made again {:?} after its return", back.elapsed());
    let end = settled(&ground, &operator).await;
    assert_eq!(difference(&wanted, &end), [] as [String; 0]);
    assert_eq!(operator.proxy.writes(), writes + 1, "more than the Service");
}
