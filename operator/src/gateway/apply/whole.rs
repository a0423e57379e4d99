//! Which parts of an object are the operator's as a whole: what somebody adds there changes what ours means, and goes again.
//!
//! A further label in a selector leaves a Service without pods and a policy without effect; a further port publishes what
//! was not. Everywhere else additions of others stay, and above all what controllers fill in: addresses, classes of load
//! balancers, ports for health checks. Pure.

use serde_json::{Value, json};

use crate::owned::Kind;

/// What the API server fills in within these parts where nothing is said. All other defaults are said, see `build`: what is
/// not could have any value.
const FILLED_IN: [&str; 1] = ["nodePort"];

/// The parts of a kind.
const fn parts(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Service => &["/spec/selector", "/spec/ports"],
        Kind::NetworkPolicy => &["/spec/podSelector", "/spec/ingress", "/spec/egress"],
        Kind::Ingress => &["/spec/rules", "/spec/tls", "/spec/defaultBackend"],
        Kind::HttpRoute | Kind::GrpcRoute => {
            &["/spec/parentRefs", "/spec/hostnames", "/spec/rules"]
        }
        Kind::PodMonitor | Kind::PodDisruptionBudget => &["/spec/selector"],
        Kind::ServiceAccount
        | Kind::ConfigMap
        | Kind::PrometheusRule
        | Kind::Certificate
        | Kind::PersistentVolumeClaim
        | Kind::StatefulSet
        | Kind::Deployment
        | Kind::PodTemplate
        | Kind::HorizontalPodAutoscaler
        | Kind::ScaledObject
        | Kind::ControllerRevision => &[],
    }
}

/// Whether nothing was added to `live` in the parts that are ours.
pub(super) fn is_unadded(kind: Kind, desired: &Value, live: &Value) -> bool {
    parts(kind).iter().all(|part| {
        live.pointer(part)
            .is_none_or(|live| adds_nothing(desired.pointer(part), live))
    })
}

/// A merge patch that also takes away those parts that are there and not wanted at all.
pub(super) fn replacing(kind: Kind, desired: &Value) -> Value {
    let mut patch = desired.clone();
    for part in parts(kind) {
        let key = part.trim_start_matches("/spec/");
        let spec = patch.get_mut("spec").and_then(Value::as_object_mut);
        if let Some(spec) = spec {
            spec.entry(key).or_insert(json!(null));
        }
    }
    patch
}

fn adds_nothing(desired: Option<&Value>, live: &Value) -> bool {
    match (desired, live) {
        (Some(Value::Object(desired)), Value::Object(live)) => live.iter().all(|(key, live)| {
            let wanted = desired.get(key);
            wanted.is_none() && FILLED_IN.contains(&key.as_str()) || adds_nothing(wanted, live)
        }),
        (Some(Value::Array(desired)), Value::Array(live)) => {
            desired.len() == live.len()
                && desired
                    .iter()
                    .zip(live)
                    .all(|(wanted, live)| adds_nothing(Some(wanted), live))
        }
        // That what is wanted is there is for `covers` to say.
        (Some(_), _) | (None, Value::Null) => true,
        (None, Value::Array(live)) => live.is_empty(),
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(more: &[(&str, Value)]) -> Value {
        let mut peer = json!({"podSelector": {"matchLabels": {"a": "1"}}});
        for (key, value) in more {
            peer[*key] = value.clone();
        }
        json!({"spec": {"podSelector": {}, "ingress": [{"from": [peer], "ports": [{"port": 1, "protocol": "TCP"}]}]}})
    }

    #[test]
    fn what_is_added_where_the_whole_is_ours_shows_and_what_is_filled_in_does_not() {
        let policy = peer(&[]);
        let is_ours = |live: &Value| is_unadded(Kind::NetworkPolicy, &policy, live);
        assert!(is_ours(&policy));
        // An empty selector is every namespace, and no empty value.
        assert!(!is_ours(&peer(&[("namespaceSelector", json!({}))])));
        let mut open = policy.clone();
        open["spec"]["podSelector"] = json!({"matchLabels": {"b": "2"}});
        assert!(!is_ours(&open));
        let mut wider = policy.clone();
        wider["spec"]["ingress"][0]["ports"][0]["endPort"] = json!(9);
        assert!(!is_ours(&wider));
        let mut egress = policy.clone();
        egress["spec"]["egress"] = json!([{}]);
        assert!(!is_ours(&egress));
        assert_eq!(
            replacing(Kind::NetworkPolicy, &policy)["spec"]["egress"],
            json!(null)
        );

        let port = json!({"name": "ws", "port": 1, "protocol": "TCP", "targetPort": "ws"});
        let service = json!({"spec": {"selector": {"a": "1"}, "ports": [port]}});
        // As one that a load balancer's controller and OpenShift have been at.
        let filled = json!({"spec": {
            "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "externalIPs": ["192.0.2.1"], "loadBalancerIP": "192.0.2.2", "loadBalancerClass": "example.org/lb",
            "allocateLoadBalancerNodePorts": true, "healthCheckNodePort": 30001, "selector": {"a": "1"}, "ports": [
            {"name": "ws", "port": 1, "protocol": "TCP", "targetPort": "ws", "nodePort": 30000},
        ]}});
        assert!(is_unadded(Kind::Service, &service, &filled));
        let two = json!({"spec": {"selector": {"a": "1"}, "ports": [port, {"name": "admin", "port": 2}]}});
        assert!(!is_unadded(Kind::Service, &service, &two));
        let selector = json!({"spec": {"selector": {"a": "1", "b": "2"}, "ports": [port]}});
        assert!(!is_unadded(Kind::Service, &service, &selector));
        assert!(is_unadded(Kind::ConfigMap, &service, &selector));
    }

    /// What is ours alone of each kind, by what somebody adds to it.
    fn is_noticed(kind: Kind, ours: &Value, path: &str, addition: Value) -> bool {
        let mut live = ours.clone();
        let (place, key) = path.rsplit_once('/').unwrap();
        match live.pointer_mut(place).unwrap() {
            Value::Array(elements) => elements.push(addition),
            fields => fields[key] = addition,
        }
        assert!(is_unadded(kind, ours, ours));
        !is_unadded(kind, ours, &live)
    }

    #[test]
    fn routes_are_ours_with_what_each_backend_and_gateway_is() {
        let backend =
            json!({"group": "", "kind": "Service", "name": "chat", "port": 1, "weight": 1});
        let parent =
            json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public"});
        let route = json!({"spec": {"parentRefs": [parent], "hostnames": [], "rules": [{"backendRefs": [backend]}]}});
        for kind in [Kind::HttpRoute, Kind::GrpcRoute] {
            let noticed = |path, addition| is_noticed(kind, &route, path, addition);
            assert!(noticed("/spec/parentRefs/-", json!({"name": "another"})));
            assert!(noticed("/spec/parentRefs/0/port", json!(1)));
            assert!(noticed("/spec/hostnames/-", json!("edited.example.org")));
            assert!(noticed("/spec/rules/-", json!({})));
            assert!(noticed(
                "/spec/rules/0/matches",
                json!([{"method": {"service": "none"}}])
            ));
            assert!(noticed(
                "/spec/rules/0/backendRefs/-",
                json!({"name": "another"})
            ));
            assert!(noticed("/spec/rules/0/backendRefs/0/filters", json!([{}])));
            assert!(!noticed("/spec/useDefaultGateways", json!("None")));
        }
    }

    #[test]
    fn ways_in_budgets_and_monitors_are_ours_where_they_say_what_they_are_about() {
        let paths = json!([{"path": "/chat", "pathType": "Prefix"}]);
        let ingress = json!({"spec": {"rules": [{"host": "a", "http": {"paths": paths}}]}});
        let noticed = |path, addition| is_noticed(Kind::Ingress, &ingress, path, addition);
        assert!(noticed("/spec/rules/-", json!({"host": "b"})));
        assert!(noticed("/spec/rules/0/http/paths/-", json!({"path": "/"})));
        assert!(noticed("/spec/tls", json!([{"hosts": ["a"]}])));
        assert!(noticed(
            "/spec/defaultBackend",
            json!({"service": {"name": "b"}})
        ));
        assert!(!noticed("/spec/ingressClassName", json!("nginx")));

        let selecting = json!({"spec": {"selector": {"matchLabels": {"a": "1"}}}});
        for kind in [Kind::PodMonitor, Kind::PodDisruptionBudget] {
            let noticed = |path, addition| is_noticed(kind, &selecting, path, addition);
            assert!(noticed("/spec/selector/matchLabels/b", json!("2")));
            assert!(noticed("/spec/selector/matchExpressions", json!([{}])));
            assert!(!noticed("/spec/jobLabel", json!("job")));
        }
    }
}
