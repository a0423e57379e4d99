//! The operator with the rights that the chart gives its account, and no others: everything is made, changed and taken away
//! with them, and nothing is touched but in the namespace of the resource.

use std::path::Path;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::chart::chart;
use crate::failpoints::{everything, little, settled};
use crate::faults::undisturbed;
use crate::ground::Ground;
use crate::operator::Operator;
use crate::plane::{self, Own};
use crate::proxy::Proxy;
use crate::snapshot::{Snapshot, difference, snapshot};
use crate::tools::Tools;

const RELEASE: &str = "wsc-operator";

/// What is taken away when it is no longer asked for; Redis only once the gateways have rolled out, and here nobody does that.
const PRUNED: [&str; 3] = [
    "Ingress/chat",
    "HorizontalPodAutoscaler/chat",
    "NetworkPolicy/chat",
];

/// Applies what the chart renders of rights, and gives a token of the account that has them.
fn account(tools: &Tools, namespace: &str, rights: &[&str]) -> String {
    let chart = chart().display().to_string();
    let parts = ["serviceaccount.yaml", "rbac-own.yaml"].map(|file| format!("templates/{file}"));
    let mut args = vec!["template", RELEASE, &chart, "--namespace", namespace];
    for part in &parts {
        args.extend(["--show-only", part]);
    }
    args.extend(rights);
    let rendered = tools.run("helm", &args);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{namespace}-rights.yaml"));
    std::fs::write(&file, rendered).unwrap();
    let file = file.display().to_string();
    tools.run(
        "kubectl",
        &["apply", "--validate=false", "-n", namespace, "-f", &file],
    );
    let token = tools.run("kubectl", &["create", "token", RELEASE, "-n", namespace]);
    token.trim().to_owned()
}

/// What stands there, without the account itself.
async fn made(ground: &Ground, operator: &Operator) -> Snapshot {
    let mut all = settled(ground, operator).await;
    all.remove(&format!("ServiceAccount/{RELEASE}"));
    all
}

/// Nothing was refused, and whatever was written is in this namespace.
async fn lacks_nothing_and_stays(operator: &Operator, namespace: &str) {
    let ready = operator.readiness().await.unwrap();
    assert_eq!(ready, (200, "ok".to_owned()));
    assert_eq!(operator.metric("wsc_operator_missing_rights").await, 0);
    let said = operator.log();
    assert!(!said.to_lowercase().contains("forbidden"), "{said}");
    let within = format!("/namespaces/{namespace}/");
    for call in operator.proxy.calls() {
        let is_here = call.write.is_none() || call.path.contains(&within);
        assert!(is_here, "{} {}", call.method, call.path);
    }
}

async fn is_refused(client: &Client, namespace: &str) {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let refused = secrets.list(&ListParams::default()).await;
    let is_so = matches!(&refused, Err(kube::Error::Api(status)) if status.code == 403);
    assert!(is_so, "{namespace}: {refused:?}");
}

#[tokio::test]
async fn what_the_chart_grants_in_a_namespace_is_enough_for_everything_and_reaches_no_further() {
    let wanted = undisturbed("no-least").await;
    let (ground, other) = (
        Ground::new("granted").await,
        Ground::new("granted-other").await,
    );
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("least.kubeconfig");
    let rights = ["--show-only", "templates/rbac-namespaces.yaml"];
    let token = account(&Tools(plane::kubeconfig(&file)), "granted", &rights);
    let client = plane::client_as(&token);
    for namespace in ["granted-other", "kube-system"] {
        is_refused(&client, namespace).await;
    }
    ground.apply("chat", &everything()).await;
    other.apply("chat", &everything()).await;
    let before = snapshot(&other).await;
    let proxy = Proxy::new(client).await;
    let operator = Operator::behind(proxy, &ground, "operator", &["--leader-election"]);
    let end = made(&ground, &operator).await;
    assert_eq!(difference(&wanted, &end), [] as [String; 0]);
    // What is no longer wanted goes, and comes again.
    ground.apply("chat", &little()).await;
    let end = made(&ground, &operator).await;
    for gone in PRUNED {
        assert!(!end.contains_key(gone), "{gone}");
    }
    ground.apply("chat", &everything()).await;
    let end = made(&ground, &operator).await;
    for there in PRUNED {
        assert!(end.contains_key(there), "{there}");
    }
    assert_eq!(
        difference(&before, &snapshot(&other).await),
        [] as [String; 0]
    );
    lacks_nothing_and_stays(&operator, "granted").await;
}

/// What a user has in another namespace by the very names that the operator uses.
async fn theirs(client: &Client, namespace: &str) {
    let metadata = json!({"name": "chat-redis", "labels": {"wsc.dev/gateway": "chat"}});
    let body = |data: Value| json!({"metadata": metadata, "data": data});
    let secret: Secret =
        serde_json::from_value(body(json!({"redis-password": "dGhlaXJz"}))).unwrap();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    let map: ConfigMap = serde_json::from_value(body(json!({"redis.conf": "theirs"}))).unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    maps.create(&PostParams::default(), &map).await.unwrap();
}

#[tokio::test]
async fn what_the_chart_grants_for_all_namespaces_is_enough_and_a_resource_touches_its_own_only() {
    let own = Own::start("least").await;
    let ground = Ground::on(own.client(), "granted-all").await;
    let other = Ground::on(own.client(), "granted-theirs").await;
    theirs(&own.client(), "granted-theirs").await;
    let before = snapshot(&other).await;
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("least-all.kubeconfig");
    let rights = [
        "--show-only",
        "templates/rbac-cluster.yaml",
        "--set",
        "watchNamespaces={*}",
    ];
    let token = account(&Tools(own.kubeconfig(&file)), "granted-all", &rights);
    ground.apply("chat", &everything()).await;
    let proxy = Proxy::new(own.client_as(&token)).await;
    let operator = Operator::everywhere(proxy, &ground, "operator", &["--leader-election"]);
    let end = made(&ground, &operator).await;
    for there in PRUNED {
        assert!(end.contains_key(there), "{there}");
    }
    ground.apply("chat", &little()).await;
    let end = made(&ground, &operator).await;
    for gone in PRUNED {
        assert!(!end.contains_key(gone), "{gone}");
    }
    assert_eq!(
        difference(&before, &snapshot(&other).await),
        [] as [String; 0]
    );
    lacks_nothing_and_stays(&operator, "granted-all").await;
}
