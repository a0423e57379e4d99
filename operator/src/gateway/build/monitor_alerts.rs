//! The alerts: a few, each something a person has to do something about.
//!
//! That every metric exists is compared with the gateway's own names in `tests/operator/monitoring.rs`; when each fires and
//! when it does not is in `tests/alerts.yaml`, which `scripts/alerts-check` has promtool judge.

use serde_json::{Value, json};

use super::monitor::series;
use crate::gateway::validate::Validated;

/// One alert; `{}` in the expression stands for what picks the gateway's series.
struct Alert {
    name: &'static str,
    expression: String,
    lasting: &'static str,
    severity: Severity,
    summary: &'static str,
    what_to_do: &'static str,
}

#[derive(Clone, Copy)]
enum Severity {
    Critical,
    Warning,
}

impl Severity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

/// The groups of a `PrometheusRule`.
pub(super) fn groups(input: &Validated) -> Value {
    let series = series(input);
    let mut alerts = of_every_gateway(input, &series);
    if input.config.wsc.distributed.enabled {
        alerts.extend(of_a_cluster(&series));
    }
    let rules: Vec<Value> = alerts.iter().map(rule).collect();
    let name = format!("wsc-gateway.{}.{}", input.namespace, input.names.gateway());
    json!({ "groups": [{ "name": name, "rules": rules }] })
}

fn rule(alert: &Alert) -> Value {
    let Alert {
        name,
        expression,
        lasting,
        severity,
        summary,
        what_to_do,
    } = alert;
    json!({
        "alert": name,
        "expr": expression,
        "for": lasting,
        "labels": { "severity": severity.as_str() },
        "annotations": { "summary": summary, "description": what_to_do },
    })
}

fn of_every_gateway(input: &Validated, series: &str) -> Vec<Alert> {
    let limit = input.config.wsc.performance.max_connections_per_node;
    vec![
        Alert {
            name: "WscGatewaysNotReady",
            // A pod that does not answer has no `wsc_ready`, only an `up` of 0: it counts as not ready.
            expression: format!("max(wsc_ready{{{series}}} or up{{{series}}}) == 0"),
            lasting: "2m",
            severity: Severity::Critical,
            summary: "No gateway is ready: new clients are not let in.",
            what_to_do: "Look at the conditions by kubectl describe wsg, and at problems in GET /status of a pod's admin port.",
        },
        Alert {
            name: "WscGatewayNotReady",
            expression: format!("wsc_ready{{{series}}} == 0 and wsc_draining{{{series}}} == 0"),
            lasting: "10m",
            severity: Severity::Warning,
            summary: "Gateway {{ $labels.pod }} is not ready and does not drain.",
            what_to_do: "Look at problems in GET /status of the pod's admin port, and at its log.",
        },
        Alert {
            name: "WscGatewayDown",
            expression: format!("up{{{series}}} == 0"),
            lasting: "5m",
            severity: Severity::Warning,
            summary: "Gateway {{ $labels.pod }} does not answer Prometheus.",
            what_to_do: "Look at the pod; where networkPolicy is enabled, Prometheus must be in networkPolicy.metrics.",
        },
        Alert {
            name: "WscConnectionsNearLimit",
            expression: format!("wsc_connections{{{series}}} > 0.9 * {limit}"),
            lasting: "5m",
            severity: Severity::Warning,
            summary: "Gateway {{ $labels.pod }} has {{ $value }} connections, close to what it takes.",
            what_to_do: "Scale out, or raise wsc.performance.maxConnectionsPerNode with the pods' memory.",
        },
        Alert {
            name: "WscMessagesDropped",
            expression: format!(
                "sum by (policy) (rate(wsc_messages_dropped_total{{{series}}}[5m])) > 0"
            ),
            lasting: "10m",
            severity: Severity::Warning,
            summary: "Messages to slow readers are dropped ({{ $labels.policy }}), {{ $value | printf \"%.3g\" }} a second.",
            what_to_do: "Clients read more slowly than they are sent to: look at wsc.messageBufferSize and wsc.slowConsumerPolicy.",
        },
        Alert {
            name: "WscDeliverySlow",
            expression: format!(
                "histogram_quantile(0.99, sum by (le) (rate(wsc_delivery_duration_seconds_bucket{{{series}}}[5m]))) > 1"
            ),
            lasting: "10m",
            severity: Severity::Warning,
            summary: "One message in a hundred takes longer than a second through a gateway.",
            what_to_do: "Look at CPU and its throttling, and at wsc_queue_length; scale out.",
        },
        Alert {
            name: "WscConfigurationNotTaken",
            expression: format!("wsc_config_last_reload_successful{{{series}}} == 0"),
            lasting: "5m",
            severity: Severity::Warning,
            summary: "Gateway {{ $labels.pod }} goes on with an older configuration or certificate.",
            what_to_do: "reload.problems in GET /status of the pod's admin port names what is wrong.",
        },
    ]
}

fn of_a_cluster(series: &str) -> Vec<Alert> {
    vec![
        Alert {
            name: "WscRedisUnreachable",
            expression: format!("min(wsc_redis_up{{{series}}}) == 0"),
            lasting: "1m",
            severity: Severity::Critical,
            summary: "A gateway does not reach Redis: messages do not cross from pod to pod, and its pod takes no new clients.",
            what_to_do: "The condition RedisReady names the pods; look at Redis, its address, password and network policy.",
        },
        Alert {
            name: "WscClusterMessagesLost",
            expression: format!(
                "increase(wsc_cluster_canaries_lost_total{{{series}}}[5m]) > 0 and wsc_redis_up{{{series}}} == 1"
            ),
            lasting: "5m",
            severity: Severity::Warning,
            summary: "Test messages of gateway {{ $labels.pod }} do not come back through Redis.",
            what_to_do: "Look at Redis' load, its output buffers for pub/sub and the network between.",
        },
        Alert {
            name: "WscGatewayFenced",
            expression: format!("wsc_fenced{{{series}}} == 1"),
            lasting: "5m",
            severity: Severity::Warning,
            summary: "Gateway {{ $labels.pod }} is fenced: a newer process has its name.",
            what_to_do: "Two gateways share a name: two resources with one wsc.distributed.clusterName and prefix in one Redis?",
        },
    ]
}
