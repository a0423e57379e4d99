//! The status as a function of what was seen.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::{Value, json};
use wsc_operator::api::{GatewayStatus, WebSocketGateway};
use wsc_operator::census::{Counts, Phase, PodCount, Problem, RedisLink};
use wsc_operator::gateway::apply::{Applied, Verdict};
use wsc_operator::gateway::live::Live;
use wsc_operator::gateway::status::{Seen, compute};
use wsc_operator::owned::Kind;
use wsc_operator::stores::PodView;

use crate::cel::admit;

/// What is in the cluster; each test changes one thing.
struct Cluster {
    gateway: WebSocketGateway,
    deployment: Value,
    redis: Value,
    pods: Vec<Arc<PodView>>,
    counts: Counts,
    /// Whether the census has asked yet.
    asked: bool,
    verdict: Verdict,
    autoscaler: Option<(Kind, Value)>,
}

fn cluster(replicas: i32) -> Cluster {
    let gateway = admit(json!({
        "apiVersion": "wsc.dev/v1alpha1", "kind": "WebSocketGateway",
        "metadata": {"name": "chat", "namespace": "default", "generation": 7},
        "spec": {"replicas": replicas, "wsc": {"distributed": {"enabled": true}}},
    }));
    let mut counts = Counts::default();
    for n in 0..replicas {
        counts.insert(
            format!("chat-{n}"),
            PodCount::new(10, Phase::Serving, RedisLink::Up),
        );
    }
    Cluster {
        gateway,
        deployment: json!({
            "metadata": {"name": "chat", "namespace": "default", "generation": 3},
            "spec": {
                "replicas": replicas, "selector": {},
                "template": {"metadata": {"annotations": {"wsc.dev/config-hash": "abc"}}},
            },
            "status": {
                "observedGeneration": 3, "replicas": replicas, "updatedReplicas": replicas,
                "readyReplicas": replicas, "availableReplicas": replicas,
            },
        }),
        redis: json!({
            "metadata": {"name": "chat-redis", "namespace": "default"},
            "spec": {"selector": {}, "template": {}},
            "status": {"replicas": 1, "readyReplicas": 1},
        }),
        pods: (0..replicas).map(|n| Arc::new(pod(n, json!({})))).collect(),
        counts,
        asked: true,
        verdict: Verdict::Realised,
        autoscaler: None,
    }
}

fn pod(n: i32, metadata: Value) -> PodView {
    let mut whole = json!({
        "name": format!("chat-{n}"), "namespace": "default",
        "labels": {"app.kubernetes.io/component": "gateway", "app.kubernetes.io/managed-by": "wsc-operator"},
        "annotations": {"wsc.dev/config-hash": "abc"},
    });
    whole
        .as_object_mut()
        .unwrap()
        .extend(metadata.as_object().unwrap().clone());
    let pod = json!({
        "metadata": whole,
        "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    PodView::of(&serde_json::from_value(pod).unwrap())
}

fn object(kind: Kind, body: &Value) -> Arc<DynamicObject> {
    let resource = kind.api_resource();
    let mut body = body.clone();
    body["apiVersion"] = json!(resource.api_version);
    body["kind"] = json!(resource.kind);
    Arc::new(serde_json::from_value(body).unwrap())
}

impl Cluster {
    fn status(self) -> GatewayStatus {
        let mut live = Live::default();
        live.insert(Kind::Deployment, object(Kind::Deployment, &self.deployment));
        live.insert(Kind::StatefulSet, object(Kind::StatefulSet, &self.redis));
        if let Some((kind, body)) = &self.autoscaler {
            live.insert(*kind, object(*kind, body));
        }
        let service = json!({"metadata": {"name": "chat", "namespace": "default"}, "spec": {}});
        live.insert(Kind::Service, object(Kind::Service, &service));
        compute(&Seen {
            gateway: &self.gateway,
            applied: &Applied::nothing(live, self.verdict),
            pods: &self.pods,
            lacking: &[],
            counts: self.asked.then_some(&self.counts),
            now: Timestamp::from_second(1000).unwrap(),
        })
    }
}

/// Status and reason of a condition.
fn said<'a>(status: &'a GatewayStatus, kind: &str) -> (&'a str, &'a str) {
    let found = status
        .conditions
        .iter()
        .find(|found| found.type_ == kind)
        .unwrap();
    assert_eq!(found.observed_generation, Some(7));
    (&found.status, &found.reason)
}

#[test]
fn a_healthy_cluster_says_so_in_every_field() {
    let status = cluster(3).status();
    assert_eq!(said(&status, "Accepted"), ("True", "Accepted"));
    assert_eq!(said(&status, "Ready"), ("True", "GatewaysReady"));
    assert_eq!(said(&status, "Progressing"), ("False", "Stable"));
    assert_eq!(said(&status, "RedisReady"), ("True", "Up"));
    assert_eq!(said(&status, "Degraded"), ("False", "Healthy"));
    assert_eq!(said(&status, "Paused"), ("False", "Active"));
    assert_eq!(status.observed_generation, 7);
    assert_eq!(
        (status.replicas, status.ready_replicas, status.updated_pods),
        (3, 3, 3)
    );
    assert_eq!(status.connections, 30);
    assert_eq!(status.pods.len(), 3);
    assert_eq!(status.pods[0].phase, "serving");
    assert_eq!(status.address.as_deref(), Some("chat.default.svc:8081"));
    assert_eq!(status.config_hash.as_deref(), Some("abc"));
    assert_eq!(status.drain, None);
}

#[test]
fn a_rollout_is_progress_and_a_missing_replica_is_not_ready() {
    let mut cluster = cluster(3);
    cluster.deployment["status"]["readyReplicas"] = json!(2);
    cluster.deployment["status"]["updatedReplicas"] = json!(1);
    let status = cluster.status();
    assert_eq!(said(&status, "Ready"), ("False", "GatewaysNotReady"));
    assert_eq!(said(&status, "Progressing"), ("True", "RollingOut"));
}

#[test]
fn a_deployment_whose_new_spec_is_not_seen_yet_is_progressing_and_as_ready_as_before() {
    let mut cluster = cluster(3);
    cluster.deployment["metadata"]["generation"] = json!(4);
    let status = cluster.status();
    assert_eq!(said(&status, "Ready"), ("True", "GatewaysReady"));
    assert_eq!(said(&status, "Progressing"), ("True", "RollingOut"));
}

#[test]
fn scaled_to_zero_is_what_was_asked_for() {
    assert_eq!(
        said(&cluster(0).status(), "Ready"),
        ("True", "ScaledToZero")
    );
}

#[test]
fn a_gateway_that_does_not_reach_redis_is_named() {
    let mut cluster = cluster(2);
    let down = PodCount::new(10, Phase::Serving, RedisLink::Down);
    cluster.counts.insert("chat-1".to_owned(), down);
    let status = cluster.status();
    assert_eq!(said(&status, "RedisReady"), ("False", "Unreachable"));
    let found = status
        .conditions
        .iter()
        .find(|found| found.type_ == "RedisReady")
        .unwrap();
    assert!(found.message.contains("chat-1") && !found.message.contains("chat-0"));
}

#[test]
fn what_a_pod_said_before_it_was_gone_does_not_count() {
    let mut cluster = cluster(2);
    let down = PodCount::new(10, Phase::Serving, RedisLink::Down);
    cluster.counts.insert("chat-7".to_owned(), down);
    let status = cluster.status();
    assert_eq!(said(&status, "RedisReady"), ("True", "Up"));
    assert_eq!(status.connections, 20);
}

#[test]
fn a_redis_that_is_not_ready_yet_is_told_apart_from_none_at_all() {
    let mut managed = cluster(2);
    managed.redis["status"] = json!({"replicas": 1});
    assert_eq!(said(&managed.status(), "RedisReady"), ("False", "NotReady"));

    let mut alone = cluster(1);
    alone.gateway.spec.wsc.distributed.enabled = false;
    assert_eq!(said(&alone.status(), "RedisReady"), ("True", "NotNeeded"));

    let mut external = cluster(2);
    external.gateway.spec.wsc.redis.host = "redis.example.org".to_owned();
    external.counts = Counts::default();
    assert_eq!(
        said(&external.status(), "RedisReady"),
        ("Unknown", "Pending")
    );
}

#[test]
fn a_pod_that_is_emptied_shows_as_a_drain_with_what_remains() {
    let mut cluster = cluster(2);
    let leaving = pod(9, json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}));
    cluster.pods.push(Arc::new(leaving));
    let count = PodCount::new(4, Phase::Draining, RedisLink::Up);
    cluster.counts.insert("chat-9".to_owned(), count);
    let status = cluster.status();
    assert_eq!(said(&status, "Progressing"), ("True", "Draining"));
    let drain = status.drain.unwrap();
    assert_eq!((drain.pods, drain.remaining), (1, 4));
    assert_eq!(status.connections, 24);
    assert_eq!(status.updated_pods, 2);
}

#[test]
fn a_new_operator_keeps_the_last_numbers_until_the_gateways_have_been_asked() {
    for host in ["", "redis.example.org"] {
        for link in [RedisLink::Up, RedisLink::Down] {
            let world = || {
                let mut cluster = cluster(2);
                cluster.gateway.spec.wsc.redis.host = host.to_owned();
                let count = PodCount::new(10, Phase::Draining, link);
                cluster.counts.insert("chat-1".to_owned(), count);
                let leaving = pod(9, json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}));
                cluster.pods.push(Arc::new(leaving));
                let count = PodCount::new(4, Phase::Draining, RedisLink::Up);
                cluster.counts.insert("chat-9".to_owned(), count);
                cluster
            };
            let before = world().status();
            assert_eq!(before.connections, 24);
            let mut restarted = world();
            restarted.gateway.status = Some(before.clone());
            restarted.counts = Counts::default();
            restarted.asked = false;
            assert_eq!(restarted.status(), before, "{host:?} {link:?}");
        }
    }
}

#[test]
fn the_time_of_a_condition_is_kept_while_its_status_stays() {
    let first = cluster(3).status();
    let mut later = cluster(3);
    let mut old = first.clone();
    for condition in &mut old.conditions {
        condition.last_transition_time.0 = Timestamp::from_second(1).unwrap();
    }
    later.gateway.status = Some(old.clone());
    later.deployment["status"]["readyReplicas"] = json!(2);
    let second = later.status();
    let time = |status: &GatewayStatus, kind: &str| {
        let found = status
            .conditions
            .iter()
            .find(|found| found.type_ == kind)
            .unwrap();
        found.last_transition_time.0.as_second()
    };
    assert_eq!(time(&second, "Accepted"), 1);
    assert_eq!(time(&second, "Ready"), 1000);
}

fn with_problem(pod: &str, line: &str, link: RedisLink) -> (String, PodCount) {
    let problems = Problem::all(&[line.to_owned()]);
    let count = PodCount::new(10, Phase::Serving, link);
    (pod.to_owned(), count.with_problems(problems))
}

#[test]
fn what_gateways_say_is_wrong_with_them_is_told_with_their_names() {
    let line = "tokens: no keys could be fetched yet to judge them by: HTTP 503";
    let mut wrong = cluster(2);
    for pod in ["chat-1", "chat-7"] {
        let (pod, count) = with_problem(pod, line, RedisLink::Up);
        wrong.counts.insert(pod, count);
    }
    let status = wrong.status();
    assert_eq!(said(&status, "Degraded"), ("True", "GatewayProblems"));
    let degraded = |status: &GatewayStatus| {
        let mut found = status.conditions.iter();
        found
            .find(|found| found.type_ == "Degraded")
            .cloned()
            .unwrap()
    };
    // One of a pod that is gone does not count.
    assert_eq!(degraded(&status).message, format!("{line} (chat-1)"));
    // A new operator has not asked yet.
    let restarted = |asked: bool| {
        let mut restarted = cluster(2);
        restarted.gateway.status = Some(status.clone());
        if !asked {
            restarted.counts = Counts::default();
        }
        restarted.asked = asked;
        restarted.status()
    };
    assert_eq!(degraded(&restarted(false)), degraded(&status));
    assert_eq!(said(&restarted(true), "Degraded"), ("False", "Healthy"));

    // That Redis is away is told where it belongs, and there alone.
    let cut_off = |link: RedisLink| {
        let (pod, count) =
            with_problem("chat-1", "cluster: not part of it for 1 s: no answer", link);
        let mut cluster = cluster(2);
        cluster.counts.insert(pod, count);
        cluster.status()
    };
    let status = cut_off(RedisLink::Down);
    assert_eq!(said(&status, "Degraded"), ("False", "Healthy"));
    assert_eq!(said(&status, "RedisReady"), ("False", "Unreachable"));
    let status = cut_off(RedisLink::Up);
    assert_eq!(said(&status, "Degraded"), ("True", "GatewayProblems"));
}

fn message(status: &GatewayStatus, kind: &str) -> String {
    let mut all = status.conditions.iter();
    let found = all.find(|found| found.type_ == kind).unwrap();
    found.message.clone()
}

#[test]
fn an_autoscaler_that_cannot_do_its_work_is_told_once_that_has_lasted_and_clears_by_itself() {
    let hpa = |status: &str, reason: &str, since: &str| {
        let active = json!({"type": "ScalingActive", "status": status, "reason": reason,
            "message": "no metrics returned", "lastTransitionTime": since});
        let able = json!({"type": "AbleToScale", "status": "True", "reason": "SucceededGetScale"});
        let body = json!({
            "metadata": {"name": "chat", "namespace": "default"},
            "status": {"conditions": [able, active]},
        });
        let mut cluster = cluster(3);
        cluster.autoscaler = Some((Kind::HorizontalPodAutoscaler, body));
        cluster.status()
    };
    // It is 1970-01-01T00:16:40Z.
    let long_ago = "1970-01-01T00:10:00Z";
    let failing = hpa("False", "FailedGetResourceMetric", long_ago);
    assert_eq!(said(&failing, "Degraded"), ("True", "AutoscalerFailing"));
    assert_eq!(
        message(&failing, "Degraded"),
        "HorizontalPodAutoscaler/chat: FailedGetResourceMetric: no metrics returned"
    );
    let healthy = ("False", "Healthy");
    let fresh = hpa("False", "FailedGetResourceMetric", "1970-01-01T00:16:30Z");
    assert_eq!(said(&fresh, "Degraded"), healthy);
    assert_eq!(
        said(&hpa("False", "ScalingDisabled", long_ago), "Degraded"),
        healthy
    );
    assert_eq!(
        said(&hpa("True", "ValidMetricFound", long_ago), "Degraded"),
        healthy
    );

    let mut keda = cluster(3);
    let ready = json!({"type": "Ready", "status": "False", "reason": "TriggerError", "message": "no such host"});
    let body = json!({
        "metadata": {"name": "chat", "namespace": "default"}, "status": {"conditions": [ready]},
    });
    keda.autoscaler = Some((Kind::ScaledObject, body));
    let status = keda.status();
    assert_eq!(said(&status, "Degraded"), ("True", "AutoscalerFailing"));
    assert_eq!(
        message(&status, "Degraded"),
        "ScaledObject/chat: TriggerError: no such host"
    );
}

#[test]
fn what_was_not_looked_at_is_not_called_healthy() {
    let mut wrong = cluster(3);
    let action = "applying Service/chat".to_owned();
    wrong.verdict = Verdict::Failed(wsc_operator::error::Error::Conflict { action });
    let before = wrong.status();
    assert_eq!(said(&before, "Degraded"), ("True", "ApplyFailed"));
    let then = |verdict: Verdict| {
        let mut cluster = cluster(3);
        cluster.gateway.status = Some(before.clone());
        cluster.verdict = verdict;
        cluster.status()
    };
    let paused = then(Verdict::Paused);
    assert_eq!(said(&paused, "Degraded"), ("True", "ApplyFailed"));
    assert_eq!(message(&paused, "Degraded"), message(&before, "Degraded"));
    let rejection = || {
        let (path, name) = ("spec.wsc", "ours".to_owned());
        wsc_operator::gateway::validate::Rejection::SecretMissing { path, name }
    };
    let rejected = then(Verdict::rejected(rejection()));
    assert_eq!(said(&rejected, "Degraded"), ("True", "ApplyFailed"));
    assert_eq!(
        said(&then(Verdict::Realised), "Degraded"),
        ("False", "Healthy")
    );

    let mut well = cluster(3);
    well.verdict = Verdict::Paused;
    let status = well.status();
    assert_eq!(said(&status, "Degraded"), ("False", "Healthy"));
    let words = message(&status, "Degraded");
    assert!(words.contains("is not looked at"), "{words}");
}

#[test]
fn redis_is_ready_with_most_of_its_pods_and_the_words_say_who_reaches_it() {
    let redis = |wanted: i32, ready: i32| {
        let mut cluster = cluster(3);
        cluster.redis["spec"]["replicas"] = json!(wanted);
        cluster.redis["status"]["readyReplicas"] = json!(ready);
        cluster
    };
    assert_eq!(
        said(&redis(3, 1).status(), "RedisReady"),
        ("False", "NoMajority")
    );
    assert_eq!(said(&redis(3, 2).status(), "RedisReady"), ("True", "Up"));
    let all = redis(1, 1).status();
    assert_eq!(message(&all, "RedisReady"), "reached by every gateway");

    let mut partly = redis(1, 1);
    partly.counts = Counts::default();
    let up = PodCount::new(10, Phase::Serving, RedisLink::Up);
    partly.counts.insert("chat-1".to_owned(), up);
    assert_eq!(
        message(&partly.status(), "RedisReady"),
        "reached by 1 gateways; 2 have not said yet"
    );
}
