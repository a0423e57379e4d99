//! The `PodMonitor`: Prometheus scrapes each pod's admin port, also of one that is not ready, since its numbers say why.

use serde_json::json;

use super::gateway_container::port_name;
use super::{monitor_alerts, monitor_dashboard};
use crate::api::MonitoringSpec;
use crate::gateway::validate::Validated;
use crate::names::Component;
use crate::owned::{Kind, Object};

/// The monitor, the alerts and the dashboard, as far as they are asked for.
pub(super) fn build(input: &Validated) -> Result<Vec<Object>, serde_json::Error> {
    let MonitoringSpec {
        enabled,
        alerts,
        dashboard,
        interval,
        labels,
    } = &input.monitoring;
    let mut objects = Vec::with_capacity(3);
    let mut meta = input.meta(input.names.gateway(), Component::Gateway);
    let own = meta.labels.get_or_insert_default();
    // What the objects are found by is not the user's to change.
    own.extend(
        labels
            .iter()
            .filter(|(key, _)| !own.contains_key(*key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<Vec<_>>(),
    );
    if *enabled {
        let mut endpoint = json!({ "port": port_name(input.mode, "admin"), "path": "/metrics" });
        if let (Some(interval), Some(endpoint)) = (interval, endpoint.as_object_mut()) {
            endpoint.insert("interval".to_owned(), json!(interval));
        }
        let spec = json!({
            "selector": input.selector(),
            "podMetricsEndpoints": [endpoint],
        });
        objects.push(Object::extension(Kind::PodMonitor, &meta, &spec)?);
    }
    if *enabled && *alerts {
        let spec = monitor_alerts::groups(input);
        objects.push(Object::extension(Kind::PrometheusRule, &meta, &spec)?);
    }
    if *dashboard {
        let dashboard = monitor_dashboard::build(input);
        objects.push(Object::new(Kind::ConfigMap, &dashboard)?);
    }
    Ok(objects)
}

/// What picks this gateway's series: the job is called after the `PodMonitor`.
pub(super) fn series(input: &Validated) -> String {
    let (namespace, name) = (&input.namespace, input.names.gateway());
    format!("namespace=\"{namespace}\",job=\"{namespace}/{name}\"")
}
