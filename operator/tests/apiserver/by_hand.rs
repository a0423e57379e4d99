//! Owned objects that somebody edits or deletes: each is as it was within ten seconds. The number of gateways is the
//! resource's own, which an autoscaler or `kubectl scale` sets, and nobody takes it back.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};
use tokio::time::Instant;
use wsc_operator::owned::Kind;

use crate::failpoints::{everything, settled};
use crate::ground::{Ground, eventually};
use crate::operator::{Operator, QUIET};
use crate::snapshot::{Snapshot, difference};
use crate::walk::served;

const RESTORED_WITHIN: Duration = Duration::from_secs(10);

/// What somebody might do to an object, as a merge patch. What they add stays, so it is none of that.
fn edit(kind: &str, object: &DynamicObject) -> Value {
    match kind {
        "ConfigMap" => {
            let keys = object.data["data"].as_object().unwrap().keys();
            let edited: serde_json::Map<String, Value> =
                keys.map(|key| (key.clone(), json!("edited"))).collect();
            json!({"data": edited})
        }
        "Service" => json!({"spec": {"selector": {"wsc.dev/gateway": "edited"}}}),
        "NetworkPolicy" => json!({"spec": {"ingress": [{}]}}),
        "Ingress" => json!({"spec": {"rules": [{"host": "edited.example.org"}]}}),
        "StatefulSet" | "Deployment" => {
            json!({"spec": {"template": {"spec": {"serviceAccountName": "edited"}}}})
        }
        "PodDisruptionBudget" => json!({"spec": {"maxUnavailable": "100%"}}),
        "HorizontalPodAutoscaler" => json!({"spec": {"maxReplicas": 99}}),
        "PodTemplate" => json!({"template": {"spec": {"terminationGracePeriodSeconds": 1}}}),
        // A key that is gone; another value of one is the user's to set.
        "Secret" => json!({"data": {"api-key": null, "auth.conf": null}}),
        _ => json!({"metadata": {"labels": {"app.kubernetes.io/part-of": "edited"}}}),
    }
}

/// What somebody might add, as JSON patches: each changes what the rest means.
fn additions(kind: &str, object: &DynamicObject) -> Vec<Value> {
    const UNREADY: &str = "/spec/publishNotReadyAddresses";
    let add = |path: &str, value: Value| json!([{"op": "add", "path": path, "value": value}]);
    let label = |path: &str| add(path, json!("yes"));
    match kind {
        "Service" => vec![
            label("/spec/selector/edited"),
            add(
                "/spec/ports/-",
                json!({"name": "edited", "port": 9199, "targetPort": 9100}),
            ),
            add("/spec/sessionAffinity", json!("ClientIP")),
            add(
                UNREADY,
                json!(object.data.pointer(UNREADY) != Some(&json!(true))),
            ),
        ],
        "NetworkPolicy" => {
            let mut all = vec![
                label("/spec/podSelector/matchLabels/edited"),
                add("/spec/ingress/-", json!({})),
            ];
            let first = object.data.pointer("/spec/ingress/0/from/0");
            if first.is_some_and(|peer| peer.get("namespaceSelector").is_none()) {
                all.push(add("/spec/ingress/0/from/0/namespaceSelector", json!({})));
            }
            all
        }
        "PodDisruptionBudget" => vec![label("/spec/selector/matchLabels/edited")],
        "Ingress" => {
            let backend = json!({"service": {"name": "edited", "port": {"number": 1}}});
            vec![
                add("/spec/rules/-", json!({"host": "edited.example.org"})),
                add("/spec/tls", json!([{"hosts": ["edited.example.org"]}])),
                add("/spec/defaultBackend", backend),
            ]
        }
        "Deployment" => vec![add("/spec/paused", json!(true))],
        "StatefulSet" => vec![add(
            "/spec/updateStrategy/rollingUpdate/partition",
            json!(9),
        )],
        _ => Vec::new(),
    }
}

/// What somebody might take away, as JSON patches: what is not there means something else.
fn removals(kind: &str) -> Vec<Value> {
    const TOKEN: &str = "automountServiceAccountToken";
    const ESCALATION: &str = "containers/0/securityContext/allowPrivilegeEscalation";
    let pods = match kind {
        "ServiceAccount" => return vec![removal(&format!("/{TOKEN}"))],
        "Deployment" | "StatefulSet" => "/spec/template/spec",
        // The pods are the application's own; the container is not.
        "PodTemplate" => return vec![removal(&format!("/template/spec/{ESCALATION}"))],
        _ => return Vec::new(),
    };
    [TOKEN, ESCALATION]
        .map(|field| removal(&format!("{pods}/{field}")))
        .into()
}

fn removal(path: &str) -> Value {
    json!([{"op": "remove", "path": path}])
}

/// What somebody does, and how long until nothing of it is seen.
struct Hand<'a> {
    ground: &'a Ground,
    wanted: &'a Snapshot,
}

impl Hand<'_> {
    async fn restored(&self, what: &str) {
        let began = Instant::now();
        // It says less of what differs than is said here.
        let look = eventually(RESTORED_WITHIN * 2, what, async || {
            let differs = difference(self.wanted, &served(self.ground).await);
            differs.is_empty().then_some(())
        });
        if tokio::time::timeout(RESTORED_WITHIN, look).await.is_err() {
            let differs = difference(self.wanted, &served(self.ground).await);
            panic!("{what}: not restored: {differs:#?}");
        }
        println!("{what}: restored after {:.1?}", began.elapsed());
    }

    /// An edit that changes the object, until nothing of it is seen.
    async fn edits(
        &self,
        (api, name): (&Api<DynamicObject>, &str),
        patch: &Patch<Value>,
        what: &str,
    ) {
        let before = api.get(name).await.unwrap().metadata.resource_version;
        let edited = api.patch(name, &PatchParams::default(), patch).await;
        let edited = edited.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_ne!(edited.metadata.resource_version, before, "{what}: no edit");
        self.restored(what).await;
    }

    async fn edits_and_deletes(&self, resource: &ApiResource) -> usize {
        let (client, namespace) = (self.ground.client.clone(), &self.ground.namespace);
        let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, resource);
        let all = api.list(&ListParams::default()).await.unwrap();
        for object in &all {
            let name = object.metadata.name.as_deref().unwrap();
            let what = format!("{}/{name}", resource.kind);
            let patch = Patch::Merge(edit(&resource.kind, object));
            let edited = format!("{what} edited");
            self.edits((&api, name), &patch, &edited).await;
            let mut patches = additions(&resource.kind, object);
            patches.extend(removals(&resource.kind));
            for each in patches {
                let what = format!("{what} with {each}");
                let patch = Patch::Json(serde_json::from_value(each).unwrap());
                self.edits((&api, name), &patch, &what).await;
            }
            let uid = object.metadata.uid.clone();
            api.delete(name, &DeleteParams::default()).await.unwrap();
            // Whatever its controllers wait for is over.
            let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            let _ = api.patch(name, &PatchParams::default(), &free).await;
            self.restored(&format!("{what} deleted")).await;
            let made = api.list(&ListParams::default()).await.unwrap();
            assert!(made.iter().all(|made| made.metadata.uid != uid), "{what}");
        }
        all.items.len()
    }
}

#[tokio::test]
async fn every_owned_object_that_is_edited_or_deleted_is_restored_within_ten_seconds() {
    let sidecar = json!({"mode": "Sidecar", "wsc": {"distributed": {"enabled": true}}});
    for (namespace, spec, least) in [
        ("by-hand", everything(), 16),
        ("by-hand-sidecar", sidecar, 12),
    ] {
        let ground = Ground::new(namespace).await;
        ground.apply("chat", &spec).await;
        let proxy = crate::proxy::Proxy::new(ground.client.clone()).await;
        let [port] = crate::plane::free_ports();
        let port = port.to_string();
        // Sidecars are made only where there is a webhook for them.
        let flags = ["--injector-service", "hook", "--injector-port", &port];
        let operator = Operator::behind(proxy, &ground, "operator", &flags);
        settled(&ground, &operator).await;
        let wanted = served(&ground).await;
        let hand = Hand {
            ground: &ground,
            wanted: &wanted,
        };
        let mut objects = 0;
        for kind in Kind::ALL {
            if kind.extension().is_none() {
                objects += hand.edits_and_deletes(&kind.api_resource()).await;
            }
        }
        let secrets = ApiResource::erase::<k8s_openapi::api::core::v1::Secret>(&());
        objects += hand.edits_and_deletes(&secrets).await;
        assert!(objects >= least, "only {objects} objects");
    }
}

#[tokio::test]
async fn the_number_that_an_autoscaler_or_kubectl_scale_sets_is_followed_and_not_taken_back() {
    let ground = Ground::new("scaled").await;
    ground.apply("chat", &everything()).await;
    let operator = Operator::start(&ground, "operator").await;
    settled(&ground, &operator).await;
    let deployments: Api<Deployment> = Api::namespaced(ground.client.clone(), &ground.namespace);
    let runs = async || {
        deployments
            .get("chat")
            .await
            .unwrap()
            .spec
            .unwrap()
            .replicas
    };
    for replicas in [5, 4] {
        // As a HorizontalPodAutoscaler does, through the resource's own scale.
        let scale = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let params = PatchParams::default();
        let gateways = ground.gateways();
        gateways.patch_scale("chat", &params, &scale).await.unwrap();
        eventually(RESTORED_WITHIN, "the Deployment follows", async || {
            (runs().await == Some(replicas)).then_some(())
        })
        .await;
        // Who applies the resource again, without a word on it, changes nothing of that.
        let mut spec = everything();
        spec.as_object_mut().unwrap().remove("replicas");
        ground.apply("chat", &spec).await;
        settled(&ground, &operator).await;
        let writes = operator.proxy.writes();
        tokio::time::sleep(QUIET).await;
        assert_eq!(operator.proxy.writes(), writes, "it is fought over");
        assert_eq!(runs().await, Some(replicas));
        let asked = gateways.get("chat").await.unwrap().spec.replicas;
        assert_eq!(asked, replicas);
    }
}
