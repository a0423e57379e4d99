//! What a namespace looked like when its test failed: resources, pods, events, logs; each bounded.

use crate::chart;
use crate::cluster::Cluster;

/// Most lines printed of one answer.
const LINES: usize = 60;
/// Most lines of each container's log.
const LOG_TAIL: &str = "--tail=25";

/// Prints it to standard error. Never fails: it is called when something already has.
pub async fn print(cluster: &Cluster, namespace: &str) {
    let here = ["--namespace", namespace];
    show(
        cluster,
        "resources",
        &[&here[..], &["get", "wsg,deploy,sts,hpa,pods", "-o", "wide"]].concat(),
    )
    .await;
    let status = [
        "get",
        "wsg",
        "-o",
        "jsonpath={range .items[*]}{.metadata.name}: {.status}{\"\\n\"}{end}",
    ];
    show(cluster, "status", &[&here[..], &status].concat()).await;
    show(
        cluster,
        "events",
        &[&here[..], &["get", "events", "--sort-by=.lastTimestamp"]].concat(),
    )
    .await;
    for component in ["gateway", "redis"] {
        let label = format!("app.kubernetes.io/component={component}");
        let logs = [
            "logs",
            "--selector",
            &label,
            "--prefix",
            LOG_TAIL,
            "--max-log-requests=10",
        ];
        show(
            cluster,
            &format!("logs of {component}"),
            &[&here[..], &logs].concat(),
        )
        .await;
    }
    let selector = format!("app.kubernetes.io/instance={}", chart::RELEASE);
    let logs = [
        "--namespace",
        chart::NAMESPACE,
        "logs",
        "--selector",
        &selector,
        "--prefix",
        "--tail=40",
    ];
    show(cluster, "logs of the operator", &logs).await;
}

async fn show(cluster: &Cluster, what: &str, args: &[&str]) {
    let text = cluster
        .kubectl(args)
        .await
        .unwrap_or_else(|error| format!("{error:#}"));
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LINES);
    eprintln!(
        "--- {what}{}",
        if from > 0 {
            format!(" (last {LINES} of {} lines)", lines.len())
        } else {
            String::new()
        }
    );
    for line in lines.iter().skip(from) {
        eprintln!("{line}");
    }
}
