//! Resources that are right and cannot be realised: a Secret that is not there or unfit, a Redis that nobody reaches, an image
//! that there is not. Each is told within ten seconds and once, what ran before stays, nothing is tried in a hurry, and it is
//! over within fifteen seconds of its cause.

use std::cell::Cell;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::failpoints::settled;
use crate::ground::{Ground, eventually};
use crate::kubelet::{Gateway, Kubelet};
use crate::operator::Operator;

const TOLD_WITHIN: Duration = Duration::from_secs(10);
const HEALED_WITHIN: Duration = Duration::from_secs(15);

/// What the news woke is over when nothing was reconciled for so long; the next look is due after eight seconds.
const STILL: Duration = Duration::from_secs(2);

/// How long it is counted what is asked while nothing can be done.
const CALM: Duration = Duration::from_secs(10);

/// What cannot be watched is looked at again after eight seconds, a fifth sooner or later.
const MOST_RECONCILES: u64 = 2;

/// A look of them: the revision, the Secrets that are not there, and what it names but has not.
const MOST_REQUESTS: usize = 10;

/// A gateway that was realised, and then is asked for something else, or meets something.
struct Trial {
    ground: Ground,
    operator: Operator,
}

/// The Deployment's generation and the version of the gateway's file: what moves when pods are touched.
type Ran = (Option<i64>, Option<String>);

impl Trial {
    async fn new(namespace: &str, spec: &Value) -> Self {
        let ground = Ground::new(namespace).await;
        ground.apply("chat", spec).await;
        let operator = Operator::start(&ground, "operator").await;
        settled(&ground, &operator).await;
        Self { ground, operator }
    }

    async fn ran(&self) -> Ran {
        let (client, namespace) = (&self.ground.client, &self.ground.namespace);
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
        let files: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let deployment = deployments.get("chat").await.unwrap().metadata;
        let file = files.get("chat-config").await.unwrap().metadata;
        (deployment.generation, file.resource_version)
    }

    /// Awaits a condition with this reason; its words.
    async fn says(&self, kind: &str, reason: &str, within: Duration) -> String {
        let began = Instant::now();
        let what = format!("{kind} says {reason}");
        let words = eventually(within, &what, async || {
            let found = self.ground.gateways().get("chat").await.ok()?;
            let mut all = found.status?.conditions.into_iter();
            let found = all.find(|found| found.type_ == kind)?;
            (found.reason == reason).then_some(found.message)
        })
        .await;
        println!(
            "{}: {what} after {:.1?}",
            self.ground.namespace,
            began.elapsed()
        );
        words
    }

    /// How many events say this.
    async fn told(&self, reason: &str) -> i32 {
        let events: Api<Event> =
            Api::namespaced(self.ground.client.clone(), &self.ground.namespace);
        let all = events.list(&ListParams::default()).await.unwrap();
        let of = all
            .iter()
            .filter(|event| event.reason.as_deref() == Some(reason));
        of.map(|event| event.series.as_ref().map_or(1, |series| series.count))
            .sum()
    }

    /// Awaits that what the news itself woke is over; how many reconciles there were by then.
    async fn quiet(&self) -> u64 {
        let last = Cell::new((0, Instant::now()));
        eventually(HEALED_WITHIN, "reconciles stand still", async || {
            let count = self.operator.metric("wsc_operator_reconciles_total").await;
            if count != last.get().0 {
                last.set((count, Instant::now()));
            }
            (last.get().1.elapsed() >= STILL).then_some(count)
        })
        .await
    }

    /// Nothing is touched and hardly anything asked while it lasts, and it was told once.
    async fn is_borne(&self, ran: &Ran, reason: &str) {
        let reconciles = async || self.operator.metric("wsc_operator_reconciles_total").await;
        let asked = || {
            let calls = self.operator.proxy.calls();
            calls.iter().filter(|call| !call.is_watch).count()
        };
        let before = self.quiet().await;
        let asked_before = asked();
        tokio::time::sleep(CALM).await;
        let (looked, asked) = (reconciles().await - before, asked() - asked_before);
        println!(
            "{}: {reason}: {looked} reconciles and {asked} requests in {CALM:?}",
            self.ground.namespace
        );
        assert!(looked <= MOST_RECONCILES, "{reason}: {looked} reconciles");
        assert!(asked <= MOST_REQUESTS, "{reason}: {asked} requests");
        assert_eq!(self.told(reason).await, 1, "events that say {reason}");
        assert_eq!(&self.ran().await, ran, "{reason}: what ran was touched");
    }

    async fn secret(&self, data: &Value) {
        let secrets: Api<Secret> =
            Api::namespaced(self.ground.client.clone(), &self.ground.namespace);
        let body = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ours"}, "stringData": data,
        });
        let params = PatchParams::apply("user").force();
        secrets
            .patch("ours", &params, &Patch::Apply(&body))
            .await
            .unwrap();
    }
}

fn cluster(wsc: Value) -> Value {
    let mut spec = json!({"replicas": 3, "wsc": wsc});
    spec["wsc"]["distributed"] = json!({"enabled": true});
    spec
}

#[tokio::test]
async fn a_secret_that_is_missing_or_unfit_is_told_and_borne_until_it_is_there() {
    let trial = Trial::new("secret-missing", &cluster(json!({}))).await;
    let ran = trial.ran().await;
    let reference = json!({"name": "ours", "key": "signing"});
    let spec = cluster(json!({"path": "/other", "security": {"jwt": {"secretRef": reference}}}));
    trial.ground.apply("chat", &spec).await;
    let words = trial.says("Accepted", "SecretMissing", TOLD_WITHIN).await;
    assert!(
        words.contains("spec.wsc.security.jwt.secretRef: Secret ours"),
        "{words}"
    );
    trial.is_borne(&ran, "SecretMissing").await;

    trial.secret(&json!({"another": "key"})).await;
    let words = trial
        .says("Accepted", "SecretKeyMissing", TOLD_WITHIN)
        .await;
    assert!(words.contains("has no key signing"), "{words}");
    trial.is_borne(&ran, "SecretKeyMissing").await;

    trial.secret(&json!({"signing": "short"})).await;
    let words = trial
        .says("Accepted", "SecretKeyTooShort", TOLD_WITHIN)
        .await;
    assert!(
        words.contains("holds 5 bytes") && !words.contains("short\""),
        "{words}"
    );
    trial.is_borne(&ran, "SecretKeyTooShort").await;

    trial
        .secret(&json!({"signing": "a-key-of-more-than-thirty-two-bytes"}))
        .await;
    trial.says("Accepted", "Accepted", HEALED_WITHIN).await;
    assert_ne!(trial.ran().await, ran, "what was asked for is realised");
    // Recorded a moment after the condition.
    eventually(HEALED_WITHIN, "it is told", async || {
        (trial.told("Accepted").await == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_gateways_do_not_reach_is_told_and_borne_until_they_do() {
    const ADDRESS: &str = "127.0.31.1";
    let gateway = Gateway::at(ADDRESS).await;
    let spec = cluster(json!({"redis": {"host": "127.0.0.1", "port": 9}}));
    let trial = Trial::new("redis-unreachable", &spec).await;
    let kubelet = Kubelet::runs(&trial.ground, "chat-0").await;
    kubelet.is_ready(ADDRESS).await;
    trial.says("RedisReady", "Up", HEALED_WITHIN).await;
    let ran = trial.ran().await;

    gateway.reaches_redis(false);
    let words = trial.says("RedisReady", "Unreachable", TOLD_WITHIN).await;
    assert!(words.contains("chat-0"), "{words}");
    trial.is_borne(&ran, "RedisUnreachable").await;

    gateway.reaches_redis(true);
    trial.says("RedisReady", "Up", HEALED_WITHIN).await;
    assert_eq!(trial.ran().await, ran);
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_told_and_borne_until_it_can() {
    const IMAGE: &str = "registry.example.org/none:1";
    let trial = Trial::new("image-unknown", &cluster(json!({}))).await;
    let (generation, file) = trial.ran().await;
    let mut spec = cluster(json!({}));
    spec["image"] = json!(IMAGE);
    trial.ground.apply("chat", &spec).await;
    settled(&trial.ground, &trial.operator).await;
    // It rolls out: pods that run stay until those that cannot start are ready.
    let ran = trial.ran().await;
    assert_eq!(ran, (generation.map(|before| before + 1), file));
    let kubelet = Kubelet::runs(&trial.ground, "chat-1").await;
    kubelet.waits("ErrImagePull", IMAGE).await;
    let words = trial.says("Degraded", "ImagePull", TOLD_WITHIN).await;
    assert!(words.contains("chat-1") && words.contains(IMAGE), "{words}");
    kubelet.waits("ImagePullBackOff", IMAGE).await;
    trial.is_borne(&ran, "ImagePull").await;

    kubelet.is_ready("127.0.31.2").await;
    trial.says("Degraded", "Healthy", HEALED_WITHIN).await;
    assert_eq!(trial.ran().await, ran);
}
