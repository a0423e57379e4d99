//! Alerts and dashboards ask for metrics that there are.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

/// What a histogram's or a counter's series are called beyond its name.
const SUFFIXES: [&str; 4] = ["_total", "_bucket", "_sum", "_count"];

#[test]
fn every_metric_of_the_alerts_and_the_dashboard_is_one_of_the_gateways() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let known =
        names(&std::fs::read_to_string(root.join("../gateway/src/telemetry/metrics.rs")).unwrap());
    assert!(known.len() > 40, "only {} metrics", known.len());
    let golden = std::fs::read_to_string(root.join("tests/fixtures/monitoring.out.yaml")).unwrap();
    let asked: BTreeSet<String> = expressions(&golden)
        .iter()
        .flat_map(|expression| names(expression))
        .collect();
    assert!(asked.len() > 12, "only {asked:?}");
    for name in asked {
        let base = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
        assert!(
            known.contains(base.unwrap_or(&name)),
            "no metric is called {name}"
        );
    }
}

/// The expressions of the alerts and of the dashboard's panels.
fn expressions(golden: &str) -> Vec<String> {
    let mut found = Vec::new();
    for document in golden.split("\n---\n") {
        let object: Value = serde_saphyr::from_str(document).unwrap();
        collect(&object["spec"]["groups"], &mut found);
        for text in object["data"].as_object().into_iter().flatten() {
            if let Ok(dashboard) = serde_json::from_str(text.1.as_str().unwrap()) {
                collect(&dashboard, &mut found);
            }
        }
    }
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(
                fields
                    .get("expr")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            fields.values().for_each(|field| collect(field, found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, found)),
        _ => {}
    }
}

/// Everything in a text that is called as a metric of the gateway is.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("wsc_"))
        .map(str::to_owned)
        .collect()
}
