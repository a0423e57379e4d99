//! Whole reconciles against the fake API server.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::events::Reporter;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use wsc_operator::api::WebSocketGateway;
use wsc_operator::census::{Census, Counts, Phase, PodCount, RedisLink};
use wsc_operator::context::Context;
use wsc_operator::error::Error;
use wsc_operator::gateway::reconcile;
use wsc_operator::gateway::status::Outcome;
use wsc_operator::metrics::Metrics;
use wsc_operator::owned::Kind;
use wsc_operator::stores::{PodView, Stores};
use wsc_operator::watch::{keep, keep_pod, keep_version};

use crate::cel::admit;
use crate::fake::{Fake, Seen};
use crate::pipeline::{UID, defaults};

pub const CHAT: &str = "/apis/wsc.dev/v1alpha1/namespaces/default/websocketgateways/chat";
pub const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/chat";
pub const SERVICE: &str = "/api/v1/namespaces/default/services/chat";
pub const CONFIG: &str = "/api/v1/namespaces/default/configmaps/chat-config";
pub const SECRETS: &str = "/api/v1/namespaces/default/secrets";

/// A cluster with one gateway resource in it.
pub struct World {
    pub fake: Fake,
    pub context: Context,
    /// Kinds that the cluster has not.
    pub absent: BTreeSet<Kind>,
}

impl World {
    pub fn new(spec: Value) -> Self {
        let fake = Fake::default();
        let reporter = Reporter {
            controller: "wsc-operator".to_owned(),
            instance: None,
        };
        let context = Context::new(
            fake.client(),
            Stores::default(),
            defaults(),
            Arc::new(Census::default()),
            (Arc::new(Metrics::default()), reporter),
        );
        let world = Self {
            fake,
            context,
            absent: BTreeSet::new(),
        };
        world.set_spec(spec);
        world
    }

    pub fn cluster() -> Self {
        Self::new(json!({"replicas": 3, "wsc": {"distributed": {"enabled": true}}}))
    }

    /// Another operator before the same cluster, which may not see objects of this kind.
    pub fn context_without(&self, unseen: Kind) -> Context {
        let stores = Stores::default();
        for kind in Kind::ALL {
            let cache = stores.owned(kind);
            if kind == unseen {
                assert!(cache.refused() && !cache.refused());
            } else {
                cache.apply(Event::Init, keep(kind));
                cache.apply(Event::InitDone, keep(kind));
            }
        }
        stores.secrets().apply(Event::Init, keep_version);
        stores.secrets().apply(Event::InitDone, keep_version);
        stores.pods().apply(Event::Init, keep_pod);
        stores.pods().apply(Event::InitDone, keep_pod);
        let reporter = Reporter {
            controller: "wsc-operator".to_owned(),
            instance: None,
        };
        let metrics = Arc::new(Metrics::default());
        Context::new(
            self.fake.client(),
            stores,
            defaults(),
            Arc::default(),
            (metrics, reporter),
        )
    }

    /// What a user does with kubectl.
    pub fn set_spec(&self, spec: Value) {
        let resource = json!({
            "apiVersion": "wsc.dev/v1alpha1", "kind": "WebSocketGateway",
            "metadata": {"name": "chat", "namespace": "default", "uid": UID, "generation": 1},
            "spec": spec,
        });
        let admitted = serde_json::to_value(admit(resource)).unwrap();
        let status = self.fake.get(CHAT).map(|old| old["status"].clone());
        self.fake.put(CHAT, admitted);
        if let Some(status) = status {
            self.fake.edit(CHAT, |chat| chat["status"] = status);
        }
    }

    /// What the watches do.
    pub fn catch_up(&self) {
        for kind in Kind::ALL {
            let resource = kind.api_resource();
            let root = if resource.group.is_empty() {
                "/api"
            } else {
                "/apis"
            };
            let collection = format!(
                "{root}/{}/namespaces/default/{}",
                resource.api_version, resource.plural
            );
            let ours = self.fake.list(&collection).into_iter().filter(|object| {
                object["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "wsc-operator"
            });
            let objects =
                ours.map(|object| serde_json::from_value::<DynamicObject>(object).unwrap());
            let cache = self.context.stores.owned(kind);
            if self.absent.contains(&kind) {
                cache.absent();
                continue;
            }
            cache.apply(Event::Init, keep(kind));
            for object in objects {
                cache.apply(Event::InitApply(object), keep(kind));
            }
            cache.apply(Event::InitDone, keep(kind));
        }
        let secrets = self.context.stores.secrets();
        secrets.apply(Event::Init, keep_version);
        for secret in self.fake.list(SECRETS) {
            let secret: PartialObjectMeta<Secret> = serde_json::from_value(secret).unwrap();
            secrets.apply(Event::InitApply(secret), keep_version);
        }
        secrets.apply(Event::InitDone, keep_version);
        let pods: &wsc_operator::stores::Cache<PodView> = self.context.stores.pods();
        pods.apply(Event::Init, keep_pod);
        for pod in self.fake.list("/api/v1/namespaces/default/pods") {
            let pod = serde_json::from_value(pod).unwrap();
            pods.apply(Event::InitApply(pod), keep_pod);
        }
        pods.apply(Event::InitDone, keep_pod);
    }

    pub async fn try_reconcile(&self) -> Result<(Outcome, Vec<Seen>), Error> {
        self.catch_up();
        self.reconcile_as_watched().await
    }

    /// By what the watches knew last.
    async fn reconcile_as_watched(&self) -> Result<(Outcome, Vec<Seen>), Error> {
        self.fake.take_seen();
        let gateway: WebSocketGateway =
            serde_json::from_value(self.fake.get(CHAT).unwrap()).unwrap();
        let outcome = reconcile(Arc::new(gateway), &self.context).await?;
        Ok((outcome, self.fake.take_seen()))
    }

    pub async fn reconcile(&self) -> Vec<Seen> {
        self.try_reconcile().await.unwrap().1
    }

    /// Until nothing is left to do.
    pub async fn settle(&self) {
        for _ in 0..4 {
            if self.reconcile().await.is_empty() {
                return;
            }
        }
        panic!("never comes to rest");
    }

    /// Until nothing is left to write; while a resource is rejected, what is held is read each time.
    pub async fn rest(&self) {
        for _ in 0..4 {
            if writes(&self.reconcile().await).is_empty() {
                return;
            }
        }
        panic!("never comes to rest");
    }

    pub fn condition(&self, kind: &str) -> Value {
        let chat = self.fake.get(CHAT).unwrap();
        let conditions = chat["status"]["conditions"].as_array().unwrap().clone();
        conditions
            .into_iter()
            .find(|found| found["type"] == kind)
            .unwrap()
    }
}

/// The lines of what was written, without reads and events, and without what is remembered of the rest.
pub fn writes(seen: &[Seen]) -> Vec<String> {
    seen.iter()
        .filter(|seen| seen.verb != "GET" && !seen.object.starts_with("events/"))
        .filter(|seen| !seen.object.starts_with("controllerrevisions/"))
        .map(Seen::line)
        .collect()
}

#[tokio::test]
async fn a_new_resource_is_made_in_order_and_then_nothing_is_asked_or_written() {
    let world = World::cluster();
    let seen = world.reconcile().await;
    assert_eq!(
        writes(&seen),
        [
            "POST secrets/chat-auth",
            "POST secrets/chat-redis",
            "APPLY serviceaccounts/chat",
            "APPLY configmaps/chat-config",
            "APPLY services/chat",
            "APPLY services/chat-nodes",
            "APPLY configmaps/chat-redis",
            "APPLY services/chat-redis",
            "APPLY persistentvolumeclaims/chat-redis",
            "APPLY statefulsets/chat-redis",
            "APPLY poddisruptionbudgets/chat",
            "APPLY deployments/chat",
            "APPLY websocketgateways/chat/status",
        ]
    );
    world.settle().await;
    assert_eq!(world.reconcile().await.len(), 0);
    world.fake.edit(CHAT, |chat| {
        chat["metadata"]["annotations"] = json!({"example.org/note": "unchanged"});
    });
    assert_eq!(world.reconcile().await.len(), 0);
}

#[tokio::test]
async fn what_somebody_edited_or_deleted_is_restored_and_nothing_else_is_written() {
    let world = World::cluster();
    world.settle().await;
    let wanted = world.fake.get(DEPLOYMENT).unwrap()["spec"].clone();

    world
        .fake
        .edit(DEPLOYMENT, |found| found["spec"]["replicas"] = json!(1));
    assert_eq!(writes(&world.reconcile().await), ["APPLY deployments/chat"]);
    assert_eq!(world.fake.get(DEPLOYMENT).unwrap()["spec"], wanted);

    world.fake.remove(CONFIG);
    assert_eq!(
        writes(&world.reconcile().await),
        ["APPLY configmaps/chat-config"]
    );

    // Without its labels the watch no longer sees it, yet it is recognised by its owner.
    world
        .fake
        .edit(SERVICE, |found| found["metadata"]["labels"] = json!({}));
    assert_eq!(writes(&world.reconcile().await), ["APPLY services/chat"]);
    world.settle().await;
}

#[tokio::test]
async fn an_edit_that_apply_cannot_undo_is_overwritten() {
    let world = World::cluster();
    world.settle().await;
    world.fake.edit(SERVICE, |found| {
        found["spec"]["ports"][0]["port"] = json!(1234);
    });
    world.fake.fail("APPLY services/chat", 422);
    let seen = world.reconcile().await;
    assert_eq!(
        writes(&seen),
        ["APPLY services/chat", "MERGE services/chat"]
    );
    assert_eq!(
        world.fake.get(SERVICE).unwrap()["spec"]["ports"][0]["port"],
        8081
    );
    world.settle().await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changes_again_each_time_is_told_and_restored_once_in_a_while() {
    let world = World::cluster();
    world.settle().await;
    let mut changed = Vec::new();
    let mut round = async || {
        world.fake.edit(SERVICE, |found| {
            found["spec"]["selector"]["theirs"] = json!("again");
        });
        world.fake.take_seen();
        let failed = world.try_reconcile().await.err();
        let failed = failed.map(|error| error.label());
        let seen = world.fake.take_seen();
        changed.extend(events(&seen).into_iter().map(str::to_owned));
        let wrote = writes(&seen).contains(&"APPLY services/chat".to_owned());
        (failed, wrote || failed.is_none())
    };
    let mut rounds = Vec::new();
    for _ in 0..40 {
        rounds.push(round().await);
    }
    assert_eq!(rounds[0], (None, true));
    assert_eq!(rounds[39], (Some("contested"), false));
    let degraded = world.condition("Degraded");
    assert_eq!(degraded["reason"], "ApplyFailed", "{degraded}");
    let words = degraded["message"].as_str().unwrap();
    assert!(
        words.contains("Service/chat in namespace default"),
        "{words}"
    );

    // Nobody waits for ever, and it stays told meanwhile.
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(round().await, (Some("contested"), true));
    assert_eq!(round().await, (Some("contested"), false));
    let told = changed.iter().filter(|reason| *reason == "ApplyFailed");
    assert_eq!(told.count(), 1, "{changed:?}");

    // They stop.
    tokio::time::sleep(Duration::from_mins(1)).await;
    let _ = world.try_reconcile().await;
    world.settle().await;
    assert_eq!(world.condition("Degraded")["status"], "False");
    let selector = world.fake.get(SERVICE).unwrap()["spec"]["selector"].clone();
    assert_eq!(selector.get("theirs"), None);
}

#[tokio::test]
async fn what_others_add_stays() {
    let world = World::cluster();
    world.settle().await;
    world.fake.edit(DEPLOYMENT, |found| {
        found["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] =
            json!("now");
    });
    assert_eq!(world.reconcile().await.len(), 0);
}

#[tokio::test]
async fn an_amount_that_the_api_server_writes_differently_is_applied_once() {
    let world = World::new(json!({"resources": {"limits": {"cpu": "1000m", "memory": "1Gi"}}}));
    world.settle().await;
    let deployment = world.fake.get(DEPLOYMENT).unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["resources"]["limits"]["cpu"], "1");
    assert_eq!(world.reconcile().await.len(), 0);
}

#[tokio::test]
async fn a_field_that_is_no_longer_wanted_is_noticed() {
    let world = World::new(json!({"scheduling": {"nodeSelector": {"pool": "a"}}}));
    world.settle().await;
    world.set_spec(json!({}));
    let seen = world.reconcile().await;
    assert!(writes(&seen).contains(&"APPLY deployments/chat".to_owned()));
}

#[tokio::test]
async fn an_object_of_somebody_else_stops_everything_and_is_left_alone() {
    let world = World::cluster();
    let theirs = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "chat-config", "namespace": "default"},
        "data": {"theirs": "yes"},
    });
    world.fake.put(CONFIG, theirs);
    let (outcome, seen) = world.try_reconcile().await.unwrap();
    assert_eq!(outcome, Outcome::Waiting);
    assert_eq!(writes(&seen), ["APPLY websocketgateways/chat/status"]);
    assert_eq!(world.fake.get(CONFIG).unwrap()["data"]["theirs"], "yes");
    let accepted = world.condition("Accepted");
    assert_eq!(accepted["reason"], "NameTaken");
    assert!(
        accepted["message"]
            .as_str()
            .unwrap()
            .contains("ConfigMap/chat-config")
    );

    world.fake.remove(CONFIG);
    world.settle().await;
    assert_eq!(world.condition("Accepted")["status"], "True");
}

const POD: &str = "/api/v1/namespaces/default/pods/chat-1";

pub fn deletions(seen: &[Seen]) -> Vec<String> {
    let mut lines = writes(seen);
    lines.retain(|line| line.starts_with("DELETE"));
    lines
}

#[tokio::test]
async fn what_is_no_longer_wanted_goes_but_never_volumes_secrets_or_what_others_own() {
    let world = World::cluster();
    world.settle().await;
    let labelled = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "theirs", "namespace": "default", "labels": {
            "app.kubernetes.io/managed-by": "wsc-operator", "wsc.dev/gateway": "chat",
        }},
    });
    let theirs = "/api/v1/namespaces/default/configmaps/theirs";
    world.fake.put(theirs, labelled);

    world.set_spec(json!({}));
    // Gateways that still use Redis keep it until they are gone.
    let deleted = deletions(&world.reconcile().await);
    assert_eq!(deleted, ["DELETE poddisruptionbudgets/chat"]);
    world.fake.edit(DEPLOYMENT, |deployment| {
        deployment["status"] = json!({"replicas": 2, "updatedReplicas": 1});
    });
    assert!(deletions(&world.reconcile().await).is_empty());
    world.fake.edit(DEPLOYMENT, |deployment| {
        deployment["status"] = json!({"replicas": 1, "updatedReplicas": 1});
    });
    let pod = |hash: Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "chat-1", "namespace": "default", "annotations": {"wsc.dev/config-hash": hash},
                "labels": {"wsc.dev/gateway": "chat", "app.kubernetes.io/managed-by": "wsc-operator"},
            },
        })
    };
    world.fake.put(POD, pod(json!("older")));
    assert!(deletions(&world.reconcile().await).is_empty());
    world.fake.put(POD, pod(config_hash(&world)));
    assert_eq!(
        deletions(&world.reconcile().await),
        [
            "DELETE configmaps/chat-redis",
            "DELETE services/chat-redis",
            "DELETE statefulsets/chat-redis",
        ]
    );
    assert!(world.fake.get(theirs).is_some());
    assert!(world.fake.get(&format!("{SECRETS}/chat-redis")).is_some());
    world.settle().await;
}

#[tokio::test]
async fn the_ways_in_and_the_autoscaler_come_and_go_with_their_switches() {
    let spec = |enabled: bool| {
        let switch = json!({"enabled": enabled});
        json!({
            "replicas": 3, "wsc": {"distributed": {"enabled": true}},
            "ingress": switch, "networkPolicy": switch, "autoscaling": switch,
        })
    };
    let world = World::new(spec(true));
    world.settle().await;
    world.fake.edit(DEPLOYMENT, |deployment| {
        deployment["status"] = json!({"replicas": 3, "updatedReplicas": 3});
    });
    world.set_spec(spec(false));
    assert_eq!(
        deletions(&world.reconcile().await),
        [
            "DELETE networkpolicies/chat",
            "DELETE networkpolicies/chat-redis",
            "DELETE ingresses/chat",
            "DELETE horizontalpodautoscalers/chat",
        ]
    );
    world.settle().await;
}

#[tokio::test]
async fn a_missing_secret_is_told_once_and_heals() {
    let reference =
        json!({"wsc": {"security": {"jwt": {"secretRef": {"name": "ours", "key": "signing"}}}}});
    let world = World::new(reference);
    let (outcome, seen) = world.try_reconcile().await.unwrap();
    assert_eq!(outcome, Outcome::Waiting);
    assert_eq!(writes(&seen), ["APPLY websocketgateways/chat/status"]);
    assert_eq!(events(&seen), ["SecretMissing"]);
    assert_eq!(world.condition("Accepted")["reason"], "SecretMissing");

    let (_, again) = world.try_reconcile().await.unwrap();
    assert!(writes(&again).is_empty() && events(&again).is_empty());

    let signing = "YS1rZXktb2YtbW9yZS10aGFuLXRoaXJ0eS10d28tYnl0ZXMtaW4tYWxs";
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "ours", "namespace": "default"},
        "data": {"signing": signing},
    });
    world.fake.put(&format!("{SECRETS}/ours"), secret);
    assert_eq!(events(&world.reconcile().await), ["Accepted", "Applied"]);
    world.settle().await;

    let before = config_hash(&world);
    world.fake.edit(&format!("{SECRETS}/ours"), |secret| {
        secret["data"]["signing"] =
            json!("YW5vdGhlci1rZXktb2YtbW9yZS10aGFuLXRoaXJ0eS10d28tYnl0ZXM=");
    });
    world.settle().await;
    assert_eq!(
        config_hash(&world),
        before,
        "a changed key reaches running pods through its file"
    );
}

pub fn events(seen: &[Seen]) -> Vec<&str> {
    seen.iter()
        .filter(|seen| seen.object.starts_with("events/"))
        .map(|seen| seen.body["reason"].as_str().unwrap())
        .collect()
}

fn config_hash(world: &World) -> Value {
    let deployment = world.fake.get(DEPLOYMENT).unwrap();
    deployment["spec"]["template"]["metadata"]["annotations"]["wsc.dev/config-hash"].clone()
}

#[tokio::test]
async fn a_paused_resource_keeps_its_status_and_nothing_is_touched() {
    let world = World::cluster();
    world.settle().await;
    world.set_spec(json!({"paused": true}));
    world.fake.remove(CONFIG);
    let seen = world.reconcile().await;
    assert_eq!(writes(&seen), ["APPLY websocketgateways/chat/status"]);
    assert_eq!(world.condition("Paused")["status"], "True");
}

#[tokio::test]
async fn a_resource_that_is_being_deleted_is_left_to_the_garbage_collector() {
    let world = World::cluster();
    world.fake.edit(CHAT, |chat| {
        chat["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    assert_eq!(world.reconcile().await.len(), 0);
}

#[tokio::test]
async fn cut_off_after_any_request_the_next_run_comes_to_the_same_end() {
    let whole = World::cluster();
    let lines: Vec<String> = whole.reconcile().await.iter().map(Seen::line).collect();
    whole.settle().await;
    // The name of a revision is another in each world, with what is drawn.
    let is_same = |line: &&String| !line.contains("events/") && !line.contains("-accepted-");
    for line in lines.iter().filter(is_same) {
        let world = World::cluster();
        world.fake.fail(line, 500);
        assert!(world.try_reconcile().await.is_err(), "{line}");
        world.settle().await;
        for kind in Kind::ALL {
            let names = |world: &World| {
                world
                    .context
                    .stores
                    .live("default", "chat")
                    .iter()
                    .filter(|(found, ..)| *found == kind)
                    // What is drawn at random is in the digest.
                    .map(|(_, name, _)| name.split("-accepted-").next().unwrap().to_owned())
                    .collect::<Vec<_>>()
            };
            assert_eq!(names(&world), names(&whole), "{line}");
        }
    }
}

#[tokio::test]
async fn an_object_that_the_api_server_refuses_is_told_in_a_condition() {
    let world = World::cluster();
    world.settle().await;
    world.set_spec(json!({"replicas": 4, "wsc": {"distributed": {"enabled": true}}}));
    world.fake.fail("APPLY deployments/chat", 403);
    assert!(world.try_reconcile().await.is_err());
    let degraded = world.condition("Degraded");
    assert_eq!(degraded["reason"], "ApplyFailed");
    assert_eq!(
        degraded["message"],
        "applying Deployment/chat in namespace default: as the test wants"
    );
    world.settle().await;
    assert_eq!(world.condition("Degraded")["status"], "False");
}

#[tokio::test]
async fn an_api_server_that_fails_is_told_and_the_rest_of_the_status_is_current() {
    let world = World::cluster();
    world.settle().await;
    world.set_spec(json!({"replicas": 4, "wsc": {"distributed": {"enabled": true}}}));
    world
        .fake
        .edit(CHAT, |chat| chat["metadata"]["generation"] = json!(2));
    world.fake.fail("APPLY deployments/chat", 500);
    assert!(world.try_reconcile().await.is_err());
    let degraded = world.condition("Degraded");
    assert_eq!(degraded["reason"], "ApplyFailed");
    assert_eq!(degraded["observedGeneration"], 2);
}

const CLAIM: &str = "/api/v1/namespaces/default/persistentvolumeclaims/chat-redis";

/// Three gateways and a Redis with a volume of this size.
fn with_volume(replicas: i32, size: &str) -> Value {
    json!({
        "replicas": replicas,
        "managedRedis": {"persistence": {"size": size}},
        "wsc": {"distributed": {"enabled": true}},
    })
}

#[tokio::test]
async fn a_volume_that_cannot_grow_is_told_and_keeps_nothing_else_back() {
    let world = World::new(with_volume(3, "1Gi"));
    world.settle().await;
    world.set_spec(with_volume(4, "2Gi"));
    world
        .fake
        .fail("APPLY persistentvolumeclaims/chat-redis", 403);
    assert!(world.try_reconcile().await.is_err());
    let degraded = world.condition("Degraded");
    assert_eq!(degraded["reason"], "ApplyFailed");
    let message = degraded["message"].as_str().unwrap();
    assert!(
        message.contains("PersistentVolumeClaim/chat-redis"),
        "{message}"
    );
    let deployment = world.fake.get(DEPLOYMENT).unwrap();
    assert_eq!(deployment["spec"]["replicas"], 4);
}

#[tokio::test]
async fn what_was_refused_does_not_keep_open_what_was_switched_off() {
    let ingress = "/apis/networking.k8s.io/v1/namespaces/default/ingresses/chat";
    let with_ingress = |mut spec: Value| {
        spec["ingress"] = json!({"enabled": true, "hosts": ["chat.example.com"]});
        spec
    };
    let world = World::new(with_ingress(with_volume(3, "1Gi")));
    world.settle().await;
    assert!(world.fake.get(ingress).is_some());
    world.set_spec(with_volume(3, "2Gi"));
    let claim = "APPLY persistentvolumeclaims/chat-redis";
    world.fake.fail(claim, 403);
    assert!(world.try_reconcile().await.is_err());
    assert!(world.fake.get(ingress).is_none());
    // A Redis that the pods may still use is none of what can go.
    let external =
        json!({"wsc": {"distributed": {"enabled": true}, "redis": {"host": "redis.example.com"}}});
    world.set_spec(external);
    world.fake.fail("APPLY configmaps/chat-config", 403);
    assert!(world.try_reconcile().await.is_err());
    assert!(
        world
            .fake
            .get("/apis/apps/v1/namespaces/default/statefulsets/chat-redis")
            .is_some()
    );
}

#[tokio::test]
async fn an_autoscaled_gateway_never_has_fewer_pods_than_the_autoscaler_may_choose() {
    let wsc = json!({"distributed": {"enabled": true}});
    let world = World::new(json!({"replicas": 5, "wsc": wsc}));
    world.settle().await;
    // Without `replicas`, as kubectl takes it out; the API server puts 1 there.
    let scaled = |replicas: i32| {
        let autoscaling = json!({"enabled": true, "minReplicas": 3, "maxReplicas": 6});
        json!({"replicas": replicas, "autoscaling": autoscaling, "wsc": wsc})
    };
    for (wanted, expected) in [(1, 3), (9, 6), (4, 4), (0, 0)] {
        world.set_spec(scaled(wanted));
        world.settle().await;
        let deployment = world.fake.get(DEPLOYMENT).unwrap();
        assert_eq!(deployment["spec"]["replicas"], expected, "of {wanted}");
    }
}

#[tokio::test]
async fn pods_do_not_start_under_the_hash_of_a_file_that_was_refused() {
    let world = World::cluster();
    world.settle().await;
    let before = config_hash(&world);
    world.set_spec(json!({
        "replicas": 3, "wsc": {"path": "/chat", "distributed": {"enabled": true}},
    }));
    world.fake.fail("APPLY configmaps/chat-config", 403);
    assert!(world.try_reconcile().await.is_err());
    assert_eq!(config_hash(&world), before);
    world.settle().await;
    assert_ne!(config_hash(&world), before);
}

#[tokio::test]
async fn a_volume_that_grew_by_itself_is_never_asked_to_shrink() {
    let world = World::new(with_volume(3, "1Gi"));
    world.settle().await;
    world.fake.edit(CLAIM, |claim| {
        claim["spec"]["resources"]["requests"]["storage"] = json!("2Gi");
    });
    assert_eq!(world.reconcile().await.len(), 0);
    world.set_spec(with_volume(3, "1536Mi"));
    world.settle().await;
    let claim = world.fake.get(CLAIM).unwrap();
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "2Gi");
}

/// The text of a key of the managed Redis' Secret.
fn redis_key(world: &World, key: &str) -> String {
    let secret = world.fake.get(&format!("{SECRETS}/chat-redis")).unwrap();
    let bytes = STANDARD.decode(secret["data"][key].as_str().unwrap());
    String::from_utf8(bytes.unwrap()).unwrap()
}

fn set_redis_key(world: &World, key: &str, text: &str) {
    world.fake.edit(&format!("{SECRETS}/chat-redis"), |secret| {
        secret["data"][key] = json!(STANDARD.encode(text));
    });
}

#[tokio::test]
async fn a_password_that_somebody_changed_reaches_redis_as_well() {
    let world = World::cluster();
    world.settle().await;
    let drawn = redis_key(&world, "redis-password");
    assert_eq!(
        redis_key(&world, "auth.conf"),
        format!("requirepass {drawn}\n")
    );

    set_redis_key(&world, "redis-password", "rotated by hand\n");
    world.settle().await;
    assert_eq!(redis_key(&world, "redis-password"), "rotated by hand");
    assert_eq!(
        redis_key(&world, "auth.conf"),
        "requirepass \"rotated\\x20by\\x20hand\"\n"
    );

    // The password decides, also when only the line was changed or is gone.
    set_redis_key(&world, "auth.conf", "requirepass another");
    world.settle().await;
    world.fake.edit(&format!("{SECRETS}/chat-redis"), |secret| {
        secret["data"].as_object_mut().unwrap().remove("auth.conf");
    });
    world.settle().await;
    assert_eq!(redis_key(&world, "redis-password"), "rotated by hand");
    assert_eq!(
        redis_key(&world, "auth.conf"),
        "requirepass \"rotated\\x20by\\x20hand\"\n"
    );
}

#[tokio::test]
async fn a_key_that_came_meanwhile_is_never_overwritten_by_a_drawn_one() {
    let world = World::cluster();
    world.settle().await;
    let auth = format!("{SECRETS}/chat-auth");
    world.fake.edit(&auth, |secret| {
        secret["data"].as_object_mut().unwrap().remove("jwt-key");
    });
    world.catch_up();
    let stale = world.context.secret_facts("default", "chat-auth").await;
    assert!(!stale.unwrap().unwrap().keys.contains_key("jwt-key"));
    // The user is faster than the watch.
    let theirs = json!(STANDARD.encode("a-key-of-more-than-thirty-two-bytes-in-all"));
    world
        .fake
        .edit(&auth, |secret| secret["data"]["jwt-key"] = theirs.clone());
    let refused = world.reconcile_as_watched().await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
    world.settle().await;
    assert_eq!(world.fake.get(&auth).unwrap()["data"]["jwt-key"], theirs);
}

#[tokio::test]
async fn generated_keys_show_nowhere_but_in_their_secret_and_are_never_drawn_again() {
    let world = World::cluster();
    let seen = world.reconcile().await;
    let texts: Vec<String> = seen
        .iter()
        .filter(|seen| seen.object.starts_with("secrets/"))
        .flat_map(|seen| {
            seen.body["stringData"]
                .as_object()
                .cloned()
                .unwrap_or_default()
        })
        .map(|(_, value)| value.as_str().unwrap().trim().to_owned())
        .collect();
    assert_eq!(texts.len(), 4);
    for other in seen
        .iter()
        .filter(|seen| !seen.object.starts_with("secrets/"))
    {
        let body = other.body.to_string();
        assert!(
            !texts.iter().any(|text| body.contains(text)),
            "{}",
            other.line()
        );
    }
    let auth = format!("{SECRETS}/chat-auth");
    let drawn = world.fake.get(&auth).unwrap()["data"].clone();
    world.settle().await;
    world.set_spec(json!({"replicas": 2, "wsc": {"distributed": {"enabled": true}}}));
    world.settle().await;
    assert_eq!(world.fake.get(&auth).unwrap()["data"], drawn);
}

/// A gateway pod with so many connections, as the census found it.
pub fn pods_with(world: &World, connections: &[(&str, i64)]) {
    let mut counts = Counts::default();
    for (pod, held) in connections {
        let body = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod, "namespace": "default", "labels": {
                "app.kubernetes.io/managed-by": "wsc-operator", "app.kubernetes.io/component": "gateway",
                "wsc.dev/gateway": "chat"}},
        });
        world
            .fake
            .put(&format!("/api/v1/namespaces/default/pods/{pod}"), body);
        let count = PodCount::new(*held, Phase::Serving, RedisLink::Up);
        counts.insert((*pod).to_owned(), count);
    }
    let key = ("default".to_owned(), "chat".to_owned());
    world
        .context
        .census
        .publish(&key, counts, tokio::time::Instant::now());
}

#[tokio::test]
async fn before_a_scale_in_each_pod_is_told_what_it_costs_to_lose_it() {
    let world = World::cluster();
    world.settle().await;
    pods_with(
        &world,
        &[("chat-a", 700), ("chat-b", 3), ("chat-c", i64::MAX)],
    );
    // No news for the status.
    pods_with(
        &world,
        &[("chat-a", 690), ("chat-b", 4), ("chat-c", i64::MAX)],
    );
    let distributed = json!({"distributed": {"enabled": true}});
    world.set_spec(json!({"replicas": 2, "wsc": distributed}));
    let mut told = writes(&world.reconcile().await);
    let last = told
        .iter()
        .position(|line| line == "APPLY deployments/chat")
        .unwrap();
    let mut before: Vec<String> = told
        .drain(..last)
        .filter(|line| line.contains("pods/"))
        .collect();
    before.sort();
    assert_eq!(
        before,
        [
            "MERGE pods/chat-a",
            "MERGE pods/chat-b",
            "MERGE pods/chat-c"
        ]
    );
    let costs = ["chat-a", "chat-b", "chat-c"].map(|pod| {
        let pod = world
            .fake
            .get(&format!("/api/v1/namespaces/default/pods/{pod}"))
            .unwrap();
        pod["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"].clone()
    });
    assert_eq!(costs, ["690", "4", "2147483647"]);

    world.set_spec(json!({"replicas": 4, "wsc": distributed}));
    let written = writes(&world.reconcile().await);
    assert!(
        written.iter().all(|line| !line.contains("pods/")),
        "{written:?}"
    );
}

#[tokio::test]
async fn a_pod_that_has_not_said_how_many_connections_it_has_goes_after_those_that_have() {
    let world = World::cluster();
    world.settle().await;
    pods_with(&world, &[("chat-full", 20_000), ("chat-silent", 20_000)]);
    // It was asked again and again, and has not answered.
    let mut counts = Counts::default();
    let full = PodCount::new(20_000, Phase::Serving, RedisLink::Up);
    counts.insert("chat-full".to_owned(), full);
    let key = ("default".to_owned(), "chat".to_owned());
    let now = tokio::time::Instant::now();
    assert!(world.context.census.publish(&key, counts, now));
    world.set_spec(json!({"replicas": 2, "wsc": {"distributed": {"enabled": true}}}));
    world.reconcile().await;
    let cost = |pod: &str| -> i64 {
        let path = format!("/api/v1/namespaces/default/pods/{pod}");
        let annotations = world.fake.get(&path).unwrap()["metadata"]["annotations"].clone();
        let cost = &annotations["controller.kubernetes.io/pod-deletion-cost"];
        cost.as_str().unwrap().parse().unwrap()
    };
    assert!(cost("chat-silent") > cost("chat-full"));
}

#[tokio::test]
async fn a_pod_that_cannot_be_told_does_not_hold_up_a_scale_in() {
    let world = World::cluster();
    world.settle().await;
    pods_with(&world, &[("chat-a", 1), ("chat-b", 2)]);
    world.fake.fail("MERGE pods/chat-a", 404);
    world.set_spec(json!({"replicas": 2, "wsc": {"distributed": {"enabled": true}}}));
    let written = writes(&world.reconcile().await);
    assert!(
        written.contains(&"APPLY deployments/chat".to_owned()),
        "{written:?}"
    );
}
