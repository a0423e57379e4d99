//! The chart grants exactly what the operator uses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use wsc_operator::access::{Place, TABLE};

/// What is granted: verbs by group and resource.
type Rights = BTreeMap<(String, String), BTreeSet<String>>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
    verbs: Vec<String>,
}

fn rules(file: &str) -> Vec<Rule> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../charts/wsc-operator/files")
        .join(file);
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn granted(file: &str) -> Rights {
    let mut rights = Rights::new();
    for rule in rules(file) {
        for group in &rule.api_groups {
            for resource in &rule.resources {
                let verbs = rights.entry((group.clone(), resource.clone())).or_default();
                verbs.extend(rule.verbs.iter().cloned());
            }
        }
    }
    rights
}

fn used(place: Place) -> Rights {
    TABLE
        .iter()
        .filter(|access| access.place == place)
        .map(|access| {
            let verbs = access.verbs.iter().map(|verb| (*verb).to_owned());
            let key = (access.group.to_owned(), access.resource.to_owned());
            (key, verbs.collect())
        })
        .collect()
}

#[test]
fn the_chart_grants_no_more_and_no_less_than_the_operator_uses() {
    assert_eq!(granted("watched-rules.yaml"), used(Place::Watched));
    assert_eq!(granted("own-rules.yaml"), used(Place::Own));
    assert_eq!(granted("metrics-api-rules.yaml"), used(Place::MetricsApi));
    assert_eq!(
        granted("metrics-api-own-rules.yaml"),
        used(Place::MetricsApiOwn)
    );
    assert_eq!(granted("injector-rules.yaml"), used(Place::Injector));
    assert_eq!(granted("injector-own-rules.yaml"), used(Place::InjectorOwn));
}

#[test]
fn what_is_one_object_can_be_read_and_written_as_that_one_only() {
    for file in [
        "own-rules.yaml",
        "metrics-api-rules.yaml",
        "metrics-api-own-rules.yaml",
        "injector-rules.yaml",
        "injector-own-rules.yaml",
    ] {
        for rule in rules(file) {
            assert!(
                rule.verbs == ["create"] || rule.resource_names.len() == 1,
                "{file}: {:?}",
                rule.verbs
            );
        }
    }
}

#[test]
fn nothing_is_granted_by_wildcard_and_nothing_that_leads_to_more() {
    const FORBIDDEN: [&str; 5] = ["*", "escalate", "bind", "impersonate", "deletecollection"];
    for file in [
        "watched-rules.yaml",
        "own-rules.yaml",
        "metrics-api-rules.yaml",
        "metrics-api-own-rules.yaml",
        "injector-rules.yaml",
        "injector-own-rules.yaml",
    ] {
        for ((group, resource), verbs) in granted(file) {
            assert!(group != "*" && resource != "*", "{group} {resource}");
            assert!(
                !resource.contains("exec") && !resource.contains("attach"),
                "{resource}"
            );
            assert!(!group.contains("rbac"), "{group}");
            assert!(
                !FORBIDDEN.iter().any(|verb| verbs.contains(*verb)),
                "{resource}: {verbs:?}"
            );
            if resource == "secrets" {
                assert!(
                    !verbs.contains("delete") && !verbs.contains("update"),
                    "{verbs:?}"
                );
            }
        }
    }
}
