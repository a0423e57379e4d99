//! The status from what was seen. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::jiff::Timestamp;

use super::autoscalers::{Complaint, complaint};
use super::conditions::{Facts, Look, conditions};
use super::routes::Routes;
use crate::api::{DrainStatus, GatewayStatus, PodStatus, WebSocketGateway};
use crate::census::Counts;
use crate::gateway::apply::{Applied, Verdict};
use crate::gateway::held::Running;
use crate::gateway::live::Live;
use crate::gateway::rollout::Rollout;
use crate::gateway::validate::pods;
use crate::names::{Names, selector_text};
use crate::owned::Kind;
use crate::stores::PodView;

/// What a status is computed from.
pub struct Seen<'a> {
    /// The resource with its last status.
    pub gateway: &'a WebSocketGateway,
    /// What was applied.
    pub applied: &'a Applied,
    /// Its pods.
    pub pods: &'a [Arc<PodView>],
    /// What the operator may not see any more.
    pub lacking: &'a [String],
    /// What the gateways say of themselves; `None`: they have not been asked yet, and the last status stands.
    pub counts: Option<&'a Counts>,
    /// The time of conditions that change.
    pub now: Timestamp,
}

/// Computes the status.
pub fn compute(seen: &Seen<'_>) -> GatewayStatus {
    let gateway = seen.gateway;
    let names = Names::of(gateway.metadata.name.as_deref().unwrap_or_default());
    let live = &seen.applied.live;
    let deployment: Option<Deployment> = live.typed(Kind::Deployment, names.gateway());
    let redis: Option<StatefulSet> = live.typed(Kind::StatefulSet, &names.redis());
    let gateways: Vec<&PodView> = gateway_pods(seen.pods);
    let remembered = remembered(seen);
    let running = remembered.unwrap_or_else(|| Running::asked_for(gateway));
    let autoscalers = complaint(live, seen.now);
    let mode = running.mode;
    let rollout = Rollout::of(mode, live, names.gateway(), seen.pods);
    let config_hash = rollout.as_ref().and_then(|rollout| rollout.hash.clone());
    let generation = gateway.metadata.generation.unwrap_or_default();
    let before = gateway.status.clone().unwrap_or_default();
    let counts = seen
        .counts
        .map_or_else(|| Counts::recalled(&before.pods), Clone::clone);
    let routes = Routes::of(live, &names);
    GatewayStatus {
        observed_generation: generation,
        conditions: conditions(
            &Facts {
                verdict: &seen.applied.verdict,
                unimplemented: &seen.applied.unimplemented,
                unserved: &seen.applied.unserved,
                lacking: seen.lacking,
                unmeasured: seen.applied.unmeasured,
                refused_route: routes.refused.as_deref(),
                autoscaler: match &autoscalers {
                    Complaint::Standing(why) => Some(why),
                    Complaint::Fresh | Complaint::None => None,
                },
                look: look(seen, remembered),
                paused: gateway.spec.paused,
                mode,
                rollout: rollout.as_ref(),
                deployment: deployment.as_ref(),
                redis_mode: running.redis,
                redis: redis.as_ref(),
                pods: seen.pods,
                counts: &counts,
                asked: seen.counts.is_some(),
            },
            &before.conditions,
            (generation, seen.now),
        ),
        replicas: rollout.as_ref().map_or(0, |rollout| rollout.total),
        ready_replicas: rollout.as_ref().map_or(0, |rollout| rollout.ready),
        selector: selector_text(&pods(mode, &names)),
        connections: gateways
            .iter()
            .map(|pod| counts.connections(&pod.name))
            .sum(),
        drain: drain(&gateways, &counts),
        pods: gateways
            .iter()
            .map(|pod| PodStatus {
                name: pod.name.clone(),
                phase: counts.phase(&pod.name).as_str().to_owned(),
                connections: counts.connections(&pod.name),
                surplus: counts.surplus(&pod.name),
            })
            .collect(),
        address: live
            .typed::<Service>(Kind::Service, names.gateway())
            .and_then(|service| address(gateway, &service)),
        addresses: addresses(gateway, live, routes.hosts),
        updated_pods: updated(&gateways, config_hash.as_deref()),
        config_hash,
    }
}

/// What kind of gateway runs, where that may be another than what is asked for: that was rejected, or waits.
fn remembered(seen: &Seen<'_>) -> Option<Running> {
    let uid = seen.gateway.metadata.uid.as_deref().unwrap_or_default();
    match seen.applied.verdict {
        Verdict::Realised | Verdict::Failed(_) => None,
        Verdict::Paused | Verdict::Rejected(..) => Running::remembered(&seen.applied.live, uid),
    }
}

/// What this reconcile has looked at.
const fn look(seen: &Seen<'_>, remembered: Option<Running>) -> Look {
    match (&seen.applied.verdict, remembered) {
        (Verdict::Realised | Verdict::Failed(_), _) => Look::Wanted,
        (Verdict::Rejected(..), Some(_)) => Look::Held,
        (Verdict::Rejected(..), None) | (Verdict::Paused, _) => Look::Nothing,
    }
}

/// The gateway pods that are not over, by name.
fn gateway_pods(pods: &[Arc<PodView>]) -> Vec<&PodView> {
    pods.iter()
        .map(AsRef::as_ref)
        .filter(|pod| pod.has_gateway() && !pod.finished)
        .collect()
}

fn updated(pods: &[&PodView], hash: Option<&str>) -> i32 {
    let count = pods
        .iter()
        .filter(|pod| !pod.terminating && hash.is_some() && pod.config_hash.as_deref() == hash)
        .count();
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn drain(pods: &[&PodView], counts: &Counts) -> Option<DrainStatus> {
    let leaving: Vec<_> = pods.iter().filter(|pod| pod.terminating).collect();
    (!leaving.is_empty()).then(|| DrainStatus {
        pods: i32::try_from(leaving.len()).unwrap_or(i32::MAX),
        remaining: leaving
            .iter()
            .map(|pod| counts.connections(&pod.name))
            .sum(),
    })
}

/// The names by which clients come in from outside, each with the path of WebSocket.
fn addresses(gateway: &WebSocketGateway, live: &Live, routed: BTreeSet<String>) -> Vec<String> {
    let name = gateway.metadata.name.as_deref().unwrap_or_default();
    let ingress: Option<Ingress> = live.typed(Kind::Ingress, name);
    let mut hosts = routed;
    let rules = ingress
        .and_then(|ingress| ingress.spec)
        .and_then(|spec| spec.rules);
    hosts.extend(rules.into_iter().flatten().filter_map(|rule| rule.host));
    let path = &gateway.spec.wsc.path;
    hosts.iter().map(|host| format!("{host}{path}")).collect()
}

/// What a load balancer gave, else the Service's name.
fn address(gateway: &WebSocketGateway, service: &Service) -> Option<String> {
    let wsc = &gateway.spec.wsc;
    let port = if wsc.enabled {
        wsc.node_port
    } else {
        gateway.spec.listeners.http.port
    };
    let balancer = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref())
        .and_then(|balancer| balancer.ingress.as_ref())
        .and_then(|ingress| ingress.first())
        .and_then(|first| first.hostname.clone().or_else(|| first.ip.clone()));
    let host = match balancer {
        Some(host) if host.contains(':') => format!("[{host}]"),
        Some(host) => host,
        None => format!(
            "{}.{}.svc",
            service.metadata.name.as_deref()?,
            service.metadata.namespace.as_deref()?
        ),
    };
    Some(format!("{host}:{port}"))
}
