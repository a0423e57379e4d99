//! The CRD of an older release, upgraded as docs/operations.md says, and what becomes of it and of resources when the release goes
//! back. By helm and kubectl, before an API server of its own: there is one CRD on each.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use wsc_operator::api::crd;

use crate::chart::{chart, older};
use crate::ground::eventually;
use crate::plane::Own;
use crate::tools::Tools;

/// A part of the spec that the older CRD does not have.
const NEWER: &str = "rebalance";
/// The API server takes a moment to go by another schema.
const WITHIN: Duration = Duration::from_secs(60);

/// What users do with a release and its CRD.
struct Release(Tools);

impl Release {
    fn helm(&self, args: &[&str]) {
        self.0
            .run("helm", &[args, &["--namespace", "wsc-system"]].concat());
    }

    /// As the docs say.
    fn upgrade_crd(&self, chart: &str) {
        let crds = format!("{chart}/crds/");
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", &crds];
        self.0.run("kubectl", &apply);
    }

    /// Applies a resource with this spec.
    fn apply(&self, file: &Path, spec: &Value) -> Result<String, String> {
        let resource = json!({
            "apiVersion": "wsc.dev/v1alpha1", "kind": "WebSocketGateway",
            "metadata": {"name": "chat", "namespace": "default"}, "spec": spec,
        });
        std::fs::write(file, resource.to_string()).unwrap();
        self.0
            .tried("kubectl", &["apply", "-f", file.to_str().unwrap()])
    }

    fn spec(&self) -> Value {
        let found = self.0.run("kubectl", &["get", "wsg", "chat", "-o", "json"]);
        serde_json::from_str::<Value>(&found).unwrap()["spec"].take()
    }
}

/// The chart of an older release, whose CRD lacks a part of the spec.
fn older_chart(to: &Path) {
    older(to);
    let mut crd = serde_json::to_value(crd()).unwrap();
    let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let spec = &mut schema["properties"]["spec"]["properties"];
    assert!(spec.as_object_mut().unwrap().remove(NEWER).is_some());
    std::fs::write(to.join("crds/websocketgateways.yaml"), crd.to_string()).unwrap();
}

#[tokio::test]
async fn the_crd_is_upgraded_by_hand_and_stays_when_the_release_goes_back() {
    let own = Own::bare("crd").await;
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (old, file) = (dir.join("older-crd-chart"), dir.join("crd-resource.json"));
    older_chart(&old);
    let release = Release(Tools(own.kubeconfig(&dir.join("crd.kubeconfig"))));
    let (old, new) = (old.to_str().unwrap(), chart());
    let new = new.to_str().unwrap();
    let plain = json!({"replicas": 1});
    let newer = json!({"replicas": 1, NEWER: {"absolute": 70}});
    let taken = async |spec: &Value| {
        eventually(WITHIN, "the resource is taken", async || {
            release.apply(&file, spec).ok()
        })
        .await;
    };

    release.helm(&["install", "wsc-operator", old, "--create-namespace"]);
    taken(&plain).await;
    let refused = release.apply(&file, &newer).unwrap_err();
    assert!(refused.contains(NEWER), "{refused}");

    // Helm leaves the CRD as it is.
    release.helm(&["upgrade", "wsc-operator", new, "--reset-then-reuse-values"]);
    let refused = release.apply(&file, &newer).unwrap_err();
    assert!(refused.contains(NEWER), "{refused}");
    release.upgrade_crd(new);
    taken(&newer).await;
    assert_eq!(release.spec()[NEWER]["absolute"], 70);

    release.helm(&["rollback", "wsc-operator", "1"]);
    assert_eq!(release.spec()[NEWER]["absolute"], 70, "the CRD went back");
    // Whoever puts the older CRD back loses what it lacks, and nothing else.
    release.upgrade_crd(old);
    eventually(WITHIN, "the key to be gone", async || {
        let spec = release.spec();
        (spec.get(NEWER).is_none() && spec["replicas"] == 1).then_some(())
    })
    .await;
    release.helm(&["uninstall", "wsc-operator"]);
    assert_eq!(release.spec()["replicas"], 1, "the resource went as well");
}
