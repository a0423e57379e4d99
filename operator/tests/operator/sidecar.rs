//! Gateways in pods of the application: what is made and taken away when the mode changes, and what the status says.

use serde_json::{Value, json};

use crate::reconcile::{CHAT, World, writes};

const POD: &str = "/api/v1/namespaces/default/pods";
const TEMPLATE: &str = "/api/v1/namespaces/default/podtemplates/chat";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/chat";
const SERVICE: &str = "/api/v1/namespaces/default/services/chat";

fn sidecar() -> Value {
    json!({"mode": "Sidecar", "wsc": {"distributed": {"enabled": true}}})
}

fn standalone() -> Value {
    json!({"replicas": 2, "wsc": {"distributed": {"enabled": true}}})
}

/// A pod of the application, with or without its gateway, that runs a configuration.
fn pod(name: &str, gateway: &str, hash: &str, ready: &str) -> Value {
    let beside = json!([{"name": gateway, "restartPolicy": "Always"}]);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "default",
            "labels": {"wsc.dev/gateway": "chat", "app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"wsc.dev/config-hash": hash},
        },
        "spec": {"containers": [{"name": "app"}], "initContainers": beside},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    })
}

impl World {
    fn put_pod(&self, pod: Value) {
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        self.fake.put(&format!("{POD}/{name}"), pod);
    }

    fn wanted_hash(&self) -> String {
        let template = self.fake.get(TEMPLATE).unwrap();
        let hash = &template["template"]["metadata"]["annotations"]["wsc.dev/config-hash"];
        hash.as_str().unwrap().to_owned()
    }

    /// Status and reason.
    fn said(&self, kind: &str) -> (String, String) {
        let found = self.condition(kind);
        let word = |key: &str| found[key].as_str().unwrap().to_owned();
        (word("status"), word("reason"))
    }
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[tokio::test]
async fn sidecars_have_no_pods_of_their_own_and_the_services_find_the_applications() {
    let world = World::new(sidecar());
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
            "APPLY podtemplates/chat",
            "APPLY websocketgateways/chat/status",
        ]
    );
    let selector = &world.fake.get(SERVICE).unwrap()["spec"]["selector"];
    assert_eq!(
        selector,
        &json!({"wsc.dev/gateway": "chat", "wsc.dev/injected": "true"})
    );
    world.settle().await;
    assert_eq!(world.reconcile().await.len(), 0);
}

#[tokio::test]
async fn without_a_webhook_nothing_is_touched_and_the_status_says_how_to_get_one() {
    let mut world = World::new(standalone());
    world.settle().await;
    world.context.defaults.injects = false;
    world.set_spec(sidecar());
    let seen = world.reconcile().await;
    assert_eq!(writes(&seen), ["APPLY websocketgateways/chat/status"]);
    assert_eq!(world.said("Accepted"), pair("False", "NoInjector"));
    assert!(world.fake.get(DEPLOYMENT).is_some());
}

#[tokio::test]
async fn each_mode_takes_away_what_the_other_made_and_nothing_else() {
    let world = World::new(standalone());
    world.settle().await;
    let redis = "/apis/apps/v1/namespaces/default/statefulsets/chat-redis";
    let before = world.fake.get(redis).unwrap();

    world.set_spec(sidecar());
    let seen = world.reconcile().await;
    assert_eq!(
        writes(&seen),
        [
            "APPLY services/chat",
            "APPLY services/chat-nodes",
            "APPLY podtemplates/chat",
            "DELETE poddisruptionbudgets/chat",
            "DELETE deployments/chat",
            "APPLY websocketgateways/chat/status",
        ]
    );
    assert!(world.fake.get(DEPLOYMENT).is_none());
    world.settle().await;

    world.set_spec(standalone());
    let seen = world.reconcile().await;
    assert_eq!(
        writes(&seen),
        [
            "APPLY services/chat",
            "APPLY services/chat-nodes",
            "APPLY poddisruptionbudgets/chat",
            "APPLY deployments/chat",
            "DELETE podtemplates/chat",
            "APPLY websocketgateways/chat/status",
        ]
    );
    assert_eq!(world.fake.get(redis).unwrap(), before);
    world.settle().await;
}

#[tokio::test]
async fn the_status_counts_pods_with_a_gateway_and_names_those_without() {
    let world = World::new(sidecar());
    world.settle().await;
    assert_eq!(world.said("Ready"), pair("True", "NoPods"));

    let hash = world.wanted_hash();
    world.put_pod(pod("app-1", "wsc-gateway", &hash, "True"));
    world.put_pod(pod("app-2", "wsc-gateway", &hash, "False"));
    world.reconcile().await;
    let status = world.fake.get(CHAT).unwrap()["status"].clone();
    assert_eq!(
        (&status["replicas"], &status["readyReplicas"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(status["pods"].as_array().unwrap().len(), 2);
    assert_eq!(
        status["selector"],
        "wsc.dev/gateway=chat,wsc.dev/injected=true"
    );
    assert_eq!(world.said("Ready"), pair("False", "GatewaysNotReady"));
    assert_eq!(world.said("Progressing"), pair("True", "RollingOut"));

    world.put_pod(pod("app-2", "wsc-gateway", &hash, "True"));
    world.put_pod(pod("app-3", "other", "", "True"));
    world.reconcile().await;
    assert_eq!(world.said("Ready"), pair("True", "GatewaysReady"));
    assert_eq!(world.said("Progressing"), pair("False", "Stable"));
    assert_eq!(world.said("Degraded"), pair("True", "NotInjected"));
    let told = world.condition("Degraded")["message"].to_string();
    assert!(told.contains("app-3") && !told.contains("app-1"), "{told}");
}

#[tokio::test]
async fn pods_with_an_older_gateway_are_told_of_and_keep_their_redis() {
    let world = World::new(sidecar());
    world.settle().await;
    let older = world.wanted_hash();
    world.put_pod(pod("app-1", "wsc-gateway", &older, "True"));
    let mut external = sidecar();
    external["wsc"]["redis"] = json!({"host": "redis.example.org"});
    world.set_spec(external);
    let seen = world.reconcile().await;
    assert!(
        !writes(&seen).iter().any(|line| line.starts_with("DELETE")),
        "{seen:?}"
    );
    assert_eq!(world.said("Progressing"), pair("True", "RestartNeeded"));
    assert_eq!(world.fake.get(CHAT).unwrap()["status"]["updatedPods"], 0);

    world.put_pod(pod("app-1", "wsc-gateway", &world.wanted_hash(), "True"));
    let gone = writes(&world.reconcile().await);
    assert!(
        gone.contains(&"DELETE statefulsets/chat-redis".to_owned()),
        "{gone:?}"
    );
    assert_eq!(world.said("Progressing"), pair("False", "Stable"));
}

#[tokio::test]
async fn what_only_new_pods_can_have_changes_the_hash_also_where_it_is_the_image() {
    let world = World::new(sidecar());
    world.settle().await;
    let before = world.wanted_hash();
    let mut other = sidecar();
    other["image"] = json!("example/gateway:2");
    world.set_spec(other);
    world.reconcile().await;
    assert_ne!(world.wanted_hash(), before);
}
