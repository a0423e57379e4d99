//! The chart's life before a real API server, by helm: a release of an older state is upgraded, rolled back, taken away and
//! made again; what gateways are made of stays as it is all the while. Without controllers, so that no pod runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::failpoints::settled;
use crate::ground::Ground;
use crate::operator::Operator;
use crate::plane::kubeconfig;
use crate::snapshot::{difference, snapshot};
use crate::tools::Tools;

const RELEASE: &str = "wsc-operator";

/// A right that the older chart does not give.
const NEWER: &str = "controllerrevisions";

struct Release {
    /// Where it is.
    system: Ground,
    /// The namespace that it looks after.
    watched: Ground,
    tools: Tools,
}

impl Release {
    fn helm(&self, args: &[&str]) -> String {
        let namespace = ["--namespace", &self.system.namespace];
        self.tools.run("helm", &[args, &namespace].concat())
    }

    /// Whether the operator's own account may watch the Secret of this name.
    fn may_watch(&self, secret: &str) -> bool {
        let namespace = &self.system.namespace;
        let path = format!(
            "/api/v1/namespaces/{namespace}/secrets?watch=true&timeoutSeconds=1&fieldSelector=metadata.name%3D{secret}"
        );
        let account = format!("system:serviceaccount:{namespace}:{RELEASE}");
        let args = ["get", "--raw", &path, "--as", &account];
        self.tools.tried("kubectl", &args).is_ok()
    }

    /// Whether the operator has the newer right, and its image.
    async fn state(&self) -> (bool, String) {
        let roles: Api<Role> =
            Api::namespaced(self.watched.client.clone(), &self.watched.namespace);
        let role = roles.get(RELEASE).await.unwrap();
        let rules = role.rules.unwrap_or_default();
        let mut resources = rules
            .iter()
            .flat_map(|rule| rule.resources.iter().flatten());
        let has_newer = resources.any(|resource| resource == NEWER);
        let deployments: Api<Deployment> =
            Api::namespaced(self.system.client.clone(), &self.system.namespace);
        let deployment = deployments.get(RELEASE).await.unwrap();
        let pod = deployment.spec.unwrap().template.spec.unwrap();
        (has_newer, pod.containers[0].image.clone().unwrap())
    }

    /// How many objects of the release there are, of those that give rights or run.
    async fn count(&self) -> usize {
        let (system, watched) = (&self.system, &self.watched);
        let all = ListParams::default().labels("app.kubernetes.io/instance=wsc-operator");
        let deployments: Api<Deployment> =
            Api::namespaced(system.client.clone(), &system.namespace);
        let accounts: Api<ServiceAccount> =
            Api::namespaced(system.client.clone(), &system.namespace);
        let roles: Api<Role> = Api::namespaced(watched.client.clone(), &watched.namespace);
        let bindings: Api<RoleBinding> =
            Api::namespaced(watched.client.clone(), &watched.namespace);
        deployments.list(&all).await.unwrap().items.len()
            + accounts.list(&all).await.unwrap().items.len()
            + roles.list(&all).await.unwrap().items.len()
            + bindings.list(&all).await.unwrap().items.len()
    }
}

pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/wsc-operator")
}

/// The chart as an older version of it might have been: another version, and a right fewer.
pub fn older(to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    let copied = Command::new("cp").arg("-rL").arg(chart()).arg(to).status();
    assert!(copied.unwrap().success());
    let edit = |file: &str, change: &dyn Fn(&str) -> String| {
        let path = to.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let changed = change(&text);
        assert_ne!(text, changed, "{file}");
        std::fs::write(path, changed).unwrap();
    };
    edit("files/watched-rules.yaml", &|text| {
        text.replace(&format!("{NEWER}, "), "")
    });
    edit("Chart.yaml", &|text| {
        let lines = text.lines().map(|line| {
            if line.starts_with("version: ") {
                "version: 0.0.9"
            } else if line.starts_with("appVersion: ") {
                "appVersion: 0.0.9"
            } else {
                line
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    });
}

#[tokio::test]
async fn a_release_is_upgraded_rolled_back_taken_away_and_made_again_and_gateways_stay() {
    let watched = Ground::new("chart-watched").await;
    let system = Ground::new("chart-system").await;
    watched.apply("chat", &json!({})).await;
    let operator = Operator::start(&watched, "operator").await;
    let before = settled(&watched, &operator).await;
    drop(operator);

    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let old = dir.join("older-chart");
    older(&old);
    let release = Release {
        system,
        watched,
        tools: Tools(kubeconfig(&dir.join("chart.kubeconfig"))),
    };
    let (old, new) = (old.to_str().unwrap(), chart());
    let new = new.to_str().unwrap();
    release.helm(&[
        "install",
        RELEASE,
        old,
        "--skip-crds",
        "--set",
        "watchNamespaces={chart-watched}",
    ]);
    assert_eq!(
        release.state().await,
        (false, "wsc-operator:0.0.9".to_owned())
    );

    // As docs/operations.md says; the values stay.
    release.helm(&["upgrade", RELEASE, new, "--reset-then-reuse-values"]);
    let image = format!("wsc-operator:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(release.state().await, (true, image.clone()));

    release.helm(&["rollback", RELEASE, "1"]);
    assert_eq!(
        release.state().await,
        (false, "wsc-operator:0.0.9".to_owned())
    );

    assert_eq!(release.count().await, 4);
    release.helm(&["uninstall", RELEASE]);
    assert_eq!(release.count().await, 0);
    let all: Api<CustomResourceDefinition> = Api::all(release.watched.client.clone());
    assert!(all.get("websocketgateways.wsc.dev").await.is_ok());
    let after = snapshot(&release.watched).await;
    assert_eq!(difference(&before, &after), [] as [String; 0]);

    release.helm(&[
        "install",
        RELEASE,
        new,
        "--skip-crds",
        "--set",
        "watchNamespaces={chart-watched}",
    ]);
    assert_eq!(release.state().await, (true, image));
    release.helm(&["uninstall", RELEASE]);
}

/// What the operator leaves in its namespace beside what the chart makes: the Lease, and the keys in the chart's own Secret.
async fn run_for_a_while(system: &Ground) {
    let leases: Api<Lease> = Api::namespaced(system.client.clone(), &system.namespace);
    let lease = serde_json::from_value(json!({"metadata": {"name": RELEASE}})).unwrap();
    leases.create(&PostParams::default(), &lease).await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(system.client.clone(), &system.namespace);
    let filled = Patch::Merge(json!({"stringData": {"tls.key": "a key"}}));
    let params = PatchParams::default();
    secrets.patch(INJECTOR, &params, &filled).await.unwrap();
}

const INJECTOR: &str = "wsc-operator-injector";

#[tokio::test]
async fn what_an_uninstalled_release_takes_and_leaves_is_what_its_notes_say() {
    let watched = Ground::new("left-watched").await;
    let system = Ground::new("left-system").await;
    watched.apply("chat", &json!({})).await;
    let operator = Operator::start(&watched, "operator").await;
    let before = settled(&watched, &operator).await;
    drop(operator);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let release = Release {
        system,
        watched,
        tools: Tools(kubeconfig(&dir.join("left.kubeconfig"))),
    };
    let client = release.system.client.clone();
    let namespace = release.system.namespace.clone();
    release.helm(&[
        "install",
        RELEASE,
        chart().to_str().unwrap(),
        "--skip-crds",
        "--set",
        "watchNamespaces={left-watched},sidecars.enabled=true",
    ]);
    run_for_a_while(&release.system).await;
    // So that a replica hears at once of the certificate that another one made, and of nothing else.
    assert!(release.may_watch(INJECTOR));
    assert!(!release.may_watch("other"));
    let notes = release.helm(&["get", "notes", RELEASE]);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let webhooks: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let webhook = format!("{RELEASE}.{namespace}");
    assert!(webhooks.get(&webhook).await.is_ok());

    release.helm(&["uninstall", RELEASE]);
    // Taken: what would refuse pods, and keys that nobody needs any more.
    assert!(
        notes.contains("takes away the operator, its rights, the webhook"),
        "{notes}"
    );
    assert_eq!(release.count().await, 0);
    assert_eq!(webhooks.get_opt(&webhook).await.unwrap(), None);
    assert!(secrets.get_opt(INJECTOR).await.unwrap().is_none());
    // Left.
    assert!(notes.contains("It leaves the CRD,"), "{notes}");
    let all: Api<CustomResourceDefinition> = Api::all(client.clone());
    assert!(all.get("websocketgateways.wsc.dev").await.is_ok());
    let after = snapshot(&release.watched).await;
    assert_eq!(difference(&before, &after), [] as [String; 0]);
    let leases: Api<Lease> = Api::namespaced(client, &namespace);
    assert!(leases.get_opt(RELEASE).await.unwrap().is_some());

    // What the notes say to be rid of that does it; but the CRD, which other tests need.
    let told = notes.lines().map(str::trim);
    let commands: Vec<&str> = told
        .filter(|line| line.starts_with("kubectl delete "))
        .flat_map(|line| line.split("; "))
        .collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    for command in commands {
        let args: Vec<&str> = command.split(' ').skip(1).collect();
        if args.contains(&"crd") {
            assert_eq!(args, ["delete", "crd", "websocketgateways.wsc.dev"]);
        } else {
            release.tools.run("kubectl", &args);
        }
    }
    assert!(leases.get_opt(RELEASE).await.unwrap().is_none());
    let left = release
        .watched
        .gateways()
        .list(&ListParams::default())
        .await;
    assert_eq!(left.unwrap().items.len(), 0);
}
