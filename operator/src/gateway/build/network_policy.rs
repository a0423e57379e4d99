//! The `NetworkPolicies` of gateway pods and of the managed Redis.
//!
//! Pods of the application are its own matter: beside sidecars there is a policy of Redis alone, since one of the pods
//! would close the application's ports. Ports are named as the containers name them. Peers reach each other through Redis, so no port is open among them.

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec as Rules,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{REDIS_PORT, SENTINEL_PORT};
use crate::api::{Mode, NetworkPolicySpec, ParentRef, RouteSpec};
use crate::gateway::validate::{self, Layout, ManagedRedis, Validated};
use crate::names::Component;

/// Where name servers listen.
const DNS: i32 = 53;

pub(super) fn gateway(input: &Validated) -> Option<NetworkPolicy> {
    let NetworkPolicySpec {
        enabled,
        clients,
        apis,
        metrics,
        egress,
    } = &input.network_policy;
    if !enabled || input.mode == Mode::Sidecar {
        return None;
    }
    let mut ingress = Vec::with_capacity(3);
    if input.config.wsc.enabled {
        ingress.push(from(
            with_routes(input, clients, &input.route.parent_refs),
            &["ws"],
        ));
    }
    let apis = if apis.is_empty() {
        vec![pods(LabelSelector::default())]
    } else {
        apis.clone()
    };
    ingress.push(from(apis, &["http", "grpc"]));
    ingress.extend(routed(input));
    // Streams between the pods of one gateway.
    ingress.push(from(gateways(input).into(), &["grpc"]));
    let mut watchers = vec![namespace(&input.operator_namespace)];
    watchers.extend(metrics.iter().cloned());
    ingress.push(from(watchers, &["admin"]));
    let egress = egress.as_ref().map(|rules| {
        let mut all = vec![names(), to_gateways(input)];
        all.extend(input.redis.iter().map(|redis| to_redis(input, redis)));
        all.extend(rules.iter().cloned());
        all
    });
    Some(policy(input, Component::Gateway, (ingress, egress)))
}

/// Redis asks nobody but its like, and only this gateway's pods ask it.
pub(super) fn redis(input: &Validated) -> Option<NetworkPolicy> {
    let redis = input.redis.as_ref()?;
    if !input.network_policy.enabled {
        return None;
    }
    let mut peers: Vec<NetworkPolicyPeer> = gateways(input).into();
    let (ports, egress): (&[&str], _) = match redis.layout {
        Layout::Standalone => (&["redis"], Vec::new()),
        Layout::Replicated(_) => {
            peers.push(redis_pods(input));
            (
                &["redis", "sentinel"],
                vec![names(), to_redis(input, redis)],
            )
        }
    };
    let ingress = vec![from(peers, ports)];
    Some(policy(input, Component::Redis, (ingress, Some(egress))))
}

fn policy(
    input: &Validated,
    component: Component,
    (ingress, egress): (
        Vec<NetworkPolicyIngressRule>,
        Option<Vec<NetworkPolicyEgressRule>>,
    ),
) -> NetworkPolicy {
    let name = match component {
        Component::Gateway => input.names.gateway().to_owned(),
        Component::Redis => input.names.redis(),
    };
    let mut types = vec!["Ingress".to_owned()];
    types.extend(egress.is_some().then(|| "Egress".to_owned()));
    NetworkPolicy {
        metadata: input.meta(&name, component),
        spec: Some(Rules {
            pod_selector: Some(LabelSelector {
                match_labels: Some(input.names.selector(component)),
                match_expressions: None,
            }),
            ingress: Some(ingress),
            egress,
            policy_types: Some(types),
        }),
    }
}

/// Who is let in, and the Gateways that send them; no peers stay everyone.
fn with_routes(
    input: &Validated,
    peers: &[NetworkPolicyPeer],
    parents: &[ParentRef],
) -> Vec<NetworkPolicyPeer> {
    let mut all = peers.to_vec();
    if input.route.enabled && !all.is_empty() {
        all.extend(namespaces(input, parents));
    }
    all
}

/// The Gateways that the APIs' routes belong to, to the port that each sends to.
fn routed(input: &Validated) -> Vec<NetworkPolicyIngressRule> {
    let RouteSpec {
        enabled,
        parent_refs,
        hostnames: _,
        http,
        grpc,
    } = &input.route;
    let mut rules = Vec::with_capacity(2);
    for (api, port) in [(http, "http"), (grpc, "grpc")] {
        if *enabled && api.enabled {
            let own = !api.parent_refs.is_empty();
            let parents = if own { &api.parent_refs } else { parent_refs };
            rules.push(from(namespaces(input, parents), &[port]));
        }
    }
    rules
}

/// The namespaces of Gateways: most have their proxies there.
fn namespaces(input: &Validated, parents: &[ParentRef]) -> Vec<NetworkPolicyPeer> {
    let names: BTreeSet<&str> = parents
        .iter()
        .map(|parent| parent.namespace.as_deref().unwrap_or(&input.namespace))
        .collect();
    names.into_iter().map(namespace).collect()
}

/// No peers: everyone.
fn from(peers: Vec<NetworkPolicyPeer>, ports: &[&str]) -> NetworkPolicyIngressRule {
    let ports = ports
        .iter()
        .map(|name| port(IntOrString::String((*name).to_owned()), "TCP"));
    NetworkPolicyIngressRule {
        from: (!peers.is_empty()).then_some(peers),
        ports: Some(ports.collect()),
    }
}

fn names() -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: None,
        ports: Some(
            ["UDP", "TCP"]
                .map(|protocol| port(IntOrString::Int(DNS), protocol))
                .into(),
        ),
    }
}

/// The pods of this gateway, of both modes: after a change of it those of the other are there until they are empty, or
/// made anew.
fn gateways(input: &Validated) -> [NetworkPolicyPeer; 2] {
    [Mode::Standalone, Mode::Sidecar].map(|mode| {
        pods(LabelSelector {
            match_labels: Some(validate::pods(mode, &input.names)),
            match_expressions: None,
        })
    })
}

fn to_gateways(input: &Validated) -> NetworkPolicyEgressRule {
    let grpc = IntOrString::String("grpc".to_owned());
    NetworkPolicyEgressRule {
        to: Some(gateways(input).into()),
        ports: Some(vec![port(grpc, "TCP")]),
    }
}

fn to_redis(input: &Validated, redis: &ManagedRedis) -> NetworkPolicyEgressRule {
    let ports: &[u16] = match redis.layout {
        Layout::Standalone => &[REDIS_PORT],
        Layout::Replicated(_) => &[REDIS_PORT, SENTINEL_PORT],
    };
    let ports = ports
        .iter()
        .map(|number| port(IntOrString::Int(i32::from(*number)), "TCP"));
    NetworkPolicyEgressRule {
        to: Some(vec![redis_pods(input)]),
        ports: Some(ports.collect()),
    }
}

fn redis_pods(input: &Validated) -> NetworkPolicyPeer {
    pods(LabelSelector {
        match_labels: Some(input.names.selector(Component::Redis)),
        match_expressions: None,
    })
}

fn port(port: IntOrString, protocol: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(port),
        protocol: Some(protocol.to_owned()),
        end_port: None,
    }
}

/// Pods of the resource's namespace.
fn pods(selector: LabelSelector) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(selector),
        ..NetworkPolicyPeer::default()
    }
}

/// All pods of a namespace, by the label that the API server gives each.
fn namespace(name: &str) -> NetworkPolicyPeer {
    let label = ("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some([label].into()),
            match_expressions: None,
        }),
        ..NetworkPolicyPeer::default()
    }
}
