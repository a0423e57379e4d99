//! Golden files: `fixtures/NAME.in.yaml` holds a resource and the Secrets around it, `NAME.out.yaml` every object that the
//! operator makes of it, or why it makes none. `# served: everything but KIND, KIND` as the first line takes kinds away.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;
use wsc_operator::owned::{Kind, Object};

use crate::cel::admit;
use crate::pipeline::{desired, desired_where_users_are_assigned};

#[test]
fn every_fixture_gives_the_objects_in_its_golden_file() {
    compare(inputs(), "built", |input| {
        render(&std::fs::read_to_string(input).unwrap())
    });
}

#[test]
fn building_twice_gives_the_same_bytes() {
    for input in inputs() {
        let text = std::fs::read_to_string(&input).unwrap();
        assert_eq!(render(&text), render(&text));
    }
}

fn inputs() -> Vec<PathBuf> {
    fixtures("fixtures", 8)
}

/// Every `NAME.in.yaml` of a folder of the tests, of which there are at least so many.
pub(crate) fn fixtures(folder: &str, least: usize) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(folder);
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".in.yaml"))
        .collect();
    found.sort();
    assert!(found.len() >= least, "only {} fixtures", found.len());
    found
}

/// Holds what is made of each fixture against its `NAME.out.yaml`, or writes that anew with `WSC_UPDATE=1`.
pub(crate) fn compare(inputs: Vec<PathBuf>, what: &str, make: impl Fn(&Path) -> String) {
    let mut stale = Vec::new();
    for input in inputs {
        let wanted = make(&input);
        let output = PathBuf::from(input.to_string_lossy().replace(".in.yaml", ".out.yaml"));
        if std::env::var_os("WSC_UPDATE").is_some() {
            std::fs::write(&output, &wanted).unwrap();
        }
        if std::fs::read_to_string(&output).unwrap_or_default() != wanted {
            stale.push(output);
        }
    }
    assert!(
        stale.is_empty(),
        "not what is {what} now: {stale:?}; look at the difference after: WSC_UPDATE=1 cargo test -p wsc-operator --test operator"
    );
}

fn render(input: &str) -> String {
    let mut gateway = None;
    let mut secrets: Vec<Secret> = Vec::new();
    for document in input.split("\n---\n") {
        let value: Value = serde_saphyr::from_str(document).unwrap();
        if value["kind"] == "Secret" {
            secrets.push(serde_json::from_value(value).unwrap());
        } else {
            gateway = Some(admit(value));
        }
    }
    let desired = match desired(gateway.unwrap(), &secrets, served(input)) {
        Ok(desired) => desired,
        Err(rejection) => return format!("# {}\n# {rejection}\n", rejection.reason()),
    };
    let unserved = desired
        .unserved
        .iter()
        .map(|kind| format!("# not served: {}\n", kind.as_str()));
    let unserved: String = unserved.collect();
    let awaits = desired.awaits.as_ref();
    let awaits = awaits.map(|why| {
        format!(
            "# {}
# {why}
",
            why.reason()
        )
    });
    let secrets = desired.secrets.iter().map(|write| {
        let text = serde_saphyr::to_string(write.secret()).unwrap();
        format!("# {write:?}\n{text}")
    });
    let objects = desired
        .objects
        .iter()
        .map(|object| serde_saphyr::to_string(&without_copies(object)).unwrap());
    let documents: Vec<String> = secrets.chain(objects).collect();
    awaits.unwrap_or_default() + &unserved + &documents.join("---\n")
}

/// A revision holds the objects before it once more; its name is a digest of them.
fn without_copies(object: &Object) -> Value {
    let mut body = object.body.clone();
    if object.kind == Kind::ControllerRevision {
        body["data"] = serde_json::json!({});
    }
    body
}

/// The kinds that the cluster of a fixture has.
fn served(input: &str) -> BTreeSet<Kind> {
    let first = input.lines().next().unwrap();
    let Some(list) = first.strip_prefix("# served: everything but ") else {
        return Kind::ALL.into();
    };
    let missing: Vec<&str> = list.split(", ").collect();
    let served: BTreeSet<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| !missing.contains(&kind.as_str()))
        .collect();
    assert_eq!(served.len() + missing.len(), Kind::ALL.len(), "{list}");
    served
}

/// As `restricted-v2` of `OpenShift` wants it, which refuses users and groups that are not of the namespace's own range.
#[test]
fn where_the_platform_assigns_users_no_pod_names_one_and_all_are_restricted_still() {
    let mut pods = 0;
    for name in ["cluster", "replicated-redis", "sidecar"] {
        let input = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let text = std::fs::read_to_string(input.join(format!("{name}.in.yaml"))).unwrap();
        let gateway = text.split("\n---\n").next().unwrap();
        let gateway = admit(serde_saphyr::from_str(gateway).unwrap());
        for object in desired_where_users_are_assigned(gateway).objects {
            let body = object.body.to_string();
            for named in ["runAsUser", "runAsGroup", "fsGroup\"", "supplementalGroups"] {
                assert!(!body.contains(named), "{name}: {named} in {body}");
            }
            let template = ["/spec/template/spec", "/template/spec"];
            let Some(pod) = template.iter().find_map(|path| object.body.pointer(path)) else {
                continue;
            };
            let containers = pod["containers"].as_array().unwrap();
            let bound = |security: &Value| {
                security["runAsNonRoot"] == true
                    && security["seccompProfile"]["type"] == "RuntimeDefault"
            };
            let whole = containers
                .iter()
                .all(|container| bound(&container["securityContext"]));
            assert!(bound(&pod["securityContext"]) || whole, "{name}: {pod}");
            pods += 1;
        }
    }
    assert!(pods >= 5, "only {pods} pods were looked at");
}
