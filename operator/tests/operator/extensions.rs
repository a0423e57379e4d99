//! Objects of extensions: made where the cluster has their kinds, named where it has not.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wsc_operator::gateway::validate::Counted;
use wsc_operator::metrics::Metrics;
use wsc_operator::owned::Kind;
use wsc_operator::scope::Scope;
use wsc_operator::stores::Stores;
use wsc_operator::watch::{Concern, Concerns, Watches};

use crate::reconcile::{CHAT, World, events, writes};

const AUTOSCALER: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/chat";
const ROUTE: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes/chat";

fn routed() -> Value {
    json!({"route": {
        "enabled": true, "parentRefs": [{"name": "public"}], "hostnames": ["chat.example.org"],
        "grpc": {"enabled": true, "hostnames": ["grpc.example.org"]},
    }})
}

#[tokio::test]
async fn routes_come_and_go_with_their_switch_where_the_cluster_has_them() {
    let world = World::new(routed());
    world.settle().await;
    assert_eq!(world.condition("Degraded")["status"], "False");
    world.set_spec(json!({}));
    assert_eq!(
        writes(&world.reconcile().await)[..2],
        ["DELETE httproutes/chat", "DELETE grpcroutes/chat"]
    );
}

#[tokio::test]
async fn a_kind_that_the_cluster_has_not_is_told_once_and_its_objects_come_with_it() {
    let mut world = World::new(routed());
    world.absent = [Kind::HttpRoute, Kind::GrpcRoute].into();
    let seen = world.reconcile().await;
    assert!(
        !writes(&seen).iter().any(|line| line.contains("routes/")),
        "{seen:?}"
    );
    assert_eq!(
        events(&seen)
            .iter()
            .filter(|it| **it == "KindMissing")
            .count(),
        1
    );
    let degraded = world.condition("Degraded");
    assert_eq!(degraded["reason"], "KindMissing", "{degraded}");
    let words = degraded["message"].as_str().unwrap();
    for word in [
        "HTTPRoute",
        "GRPCRoute",
        "gateway.networking.k8s.io/v1",
        "Gateway API",
    ] {
        assert!(words.contains(word), "{words}");
    }
    assert_eq!(writes(&world.reconcile().await), Vec::<String>::new());

    world.absent.clear();
    let seen = world.reconcile().await;
    let made = writes(&seen);
    assert!(
        made.contains(&"APPLY httproutes/chat".to_owned()),
        "{made:?}"
    );
    assert!(
        made.contains(&"APPLY grpcroutes/chat".to_owned()),
        "{made:?}"
    );
    assert_eq!(world.condition("Degraded")["status"], "False");
}

#[tokio::test]
async fn what_a_gateway_says_of_a_route_is_in_the_status() {
    let world = World::new(routed());
    world.settle().await;
    let addresses = || world.fake.get(CHAT).unwrap()["status"]["addresses"].clone();
    assert_eq!(addresses(), json!([]));

    let parent = |status: &str| {
        json!({"parents": [{"parentRef": {"name": "public"}, "conditions": [
            {"type": "Accepted", "status": status, "reason": "NotAllowedByListeners", "message": "not from here"},
        ]}]})
    };
    world
        .fake
        .edit(ROUTE, |route| route["status"] = parent("False"));
    let seen = world.reconcile().await;
    assert!(events(&seen).contains(&"RouteRefused"), "{seen:?}");
    assert_eq!(
        world.condition("Degraded")["message"],
        "HTTPRoute/chat: Gateway public does not take it: NotAllowedByListeners: not from here"
    );
    assert_eq!(addresses(), json!([]));

    world
        .fake
        .edit(ROUTE, |route| route["status"] = parent("True"));
    world.reconcile().await;
    assert_eq!(world.condition("Degraded")["status"], "False");
    assert_eq!(addresses(), json!(["chat.example.org/ws"]));
}

#[tokio::test]
async fn a_certificate_is_asked_for_and_everything_else_waits_until_it_is_there() {
    let tls = |name: &str| {
        json!({"listeners": {"ws": {"tls": {
            "secretName": name, "issuerRef": {"name": "private"}, "dnsNames": ["chat.example.org"],
        }}}})
    };
    let world = World::new(json!({}));
    world.settle().await;
    world.set_spec(tls("chat-tls"));
    let seen = world.reconcile().await;
    let made = writes(&seen);
    assert_eq!(made[0], "APPLY certificates/chat-tls");
    assert_eq!(made.len(), 2, "beside the status: {made:?}");
    assert!(events(&seen).contains(&"CertificatePending"), "{seen:?}");
    let accepted = world.condition("Accepted");
    let words = accepted["message"].as_str().unwrap();
    assert!(
        words.contains("spec.listeners.ws.tls.secretName: Secret chat-tls"),
        "{words}"
    );

    // What cert-manager does.
    let pem = |what: &str| format!("-----BEGIN {what}-----\nAAAA\n-----END {what}-----\n");
    let secret = |name: &str| {
        json!({"metadata": {"name": name, "namespace": "default"}, "data": {
            "tls.crt": STANDARD.encode(pem("CERTIFICATE")), "tls.key": STANDARD.encode(pem("PRIVATE KEY")),
        }})
    };
    world.fake.put(
        "/api/v1/namespaces/default/secrets/chat-tls",
        secret("chat-tls"),
    );
    world.settle().await;
    assert_eq!(world.condition("Accepted")["status"], "True");

    // Another Secret: the old Certificate stays until that one is there too.
    world.set_spec(tls("other-tls"));
    let made = writes(&world.reconcile().await);
    assert!(
        !made.iter().any(|line| line.starts_with("DELETE")),
        "{made:?}"
    );
    world.fake.put(
        "/api/v1/namespaces/default/secrets/other-tls",
        secret("other-tls"),
    );
    let made = writes(&world.reconcile().await);
    assert!(
        made.contains(&"DELETE certificates/chat-tls".to_owned()),
        "{made:?}"
    );
}

#[tokio::test]
async fn connections_that_nothing_tells_the_autoscaler_are_named_with_what_to_do() {
    let scaled = |more: Value| {
        let mut autoscaling = json!({"enabled": true, "connectionsPerPod": 5000});
        let fields = autoscaling.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        json!({"replicas": 2, "autoscaling": autoscaling, "wsc": {"distributed": {"enabled": true}}})
    };
    let mut world = World::new(scaled(json!({})));
    world.settle().await;
    assert_eq!(world.condition("Degraded")["status"], "False");
    assert!(world.fake.get(AUTOSCALER).is_some());

    // An operator that was installed without it.
    world.context.defaults.counted = Counted::default();
    let seen = world.reconcile().await;
    assert!(events(&seen).contains(&"ConnectionsUnmeasured"), "{seen:?}");
    assert_eq!(world.fake.get(AUTOSCALER), None, "by nothing");
    let degraded = world.condition("Degraded");
    let words = degraded["message"].as_str().unwrap();
    for word in ["connectionsPerPod", "metricsApi.enabled", "ScaledObject"] {
        assert!(words.contains(word), "{words}");
    }
    world.set_spec(scaled(json!({"cpuUtilization": 60})));
    world.settle().await;
    let metrics = world.fake.get(AUTOSCALER).unwrap()["spec"]["metrics"].clone();
    assert_eq!(metrics.as_array().unwrap().len(), 1, "by CPU: {metrics}");
    assert_eq!(world.condition("Degraded")["status"], "True");

    world.set_spec(scaled(json!({"scaler": "ScaledObject"})));
    world.settle().await;
    let degraded = world.condition("Degraded");
    let words = degraded["message"].as_str().unwrap();
    assert!(words.contains("metricsService.enabled"), "{words}");
    world.set_spec(json!({}));
    world.settle().await;
    assert_eq!(world.condition("Degraded")["status"], "False");
}

/// An API server with nothing in it, that has the kinds of Gateway API while `has_routes` says so. Watches never tell
/// anything; those of a kind that goes end.
fn empty(has_routes: &Arc<AtomicBool>) -> Client {
    let has_routes = Arc::clone(has_routes);
    let service = tower::service_fn(move |request: Request<Body>| {
        let has_routes = Arc::clone(&has_routes);
        async move {
            let uri = request.uri().to_string();
            let served =
                || !uri.contains("gateway.networking.k8s.io") || has_routes.load(Ordering::SeqCst);
            while served() && uri.contains("watch=true") {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let (code, body) = if served() {
                let list = json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []});
                (StatusCode::OK, list)
            } else {
                let status = json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "no such page"});
                (StatusCode::NOT_FOUND, status)
            };
            let mut response = Response::new(Body::from(body.to_string().into_bytes()));
            *response.status_mut() = code;
            Ok::<_, Infallible>(response)
        }
    });
    Client::new(service, "default")
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_missing_holds_nothing_up_and_is_found_when_it_comes() {
    let has_routes = Arc::new(AtomicBool::new(false));
    let (concerns, mut told) = mpsc::channel(64);
    let token = CancellationToken::new();
    let heard = Concerns::default();
    heard.heard_by(concerns);
    let watches = Watches {
        client: empty(&has_routes),
        scope: Scope::All,
        concerns: heard,
        metrics: Arc::new(Metrics::default()),
        token: token.clone(),
    };
    let (stores, tracker) = (Stores::default(), TaskTracker::new());
    watches.start_pods(&stores, &tracker);
    watches.start(&stores, &tracker);
    stores.ready().await.unwrap();
    assert!(!stores.served().contains(&Kind::HttpRoute));
    assert!(stores.served().contains(&Kind::Deployment));

    has_routes.store(true, Ordering::SeqCst);
    served(&stores, &mut told, true).await;
    // The CRDs are deleted, and with them every object.
    has_routes.store(false, Ordering::SeqCst);
    served(&stores, &mut told, false).await;
    has_routes.store(true, Ordering::SeqCst);
    served(&stores, &mut told, true).await;

    token.cancel();
    tracker.close();
    tracker.wait().await;
}

/// Waits until routes are served, or no longer, as everybody is told.
async fn served(stores: &Stores, told: &mut mpsc::Receiver<Concern>, wanted: bool) {
    let both = async {
        while [Kind::HttpRoute, Kind::GrpcRoute]
            .iter()
            .any(|kind| stores.served().contains(kind) != wanted)
        {
            assert_eq!(told.recv().await, Some(Concern::Everyone));
        }
    };
    // On a clock that jumps.
    tokio::time::timeout(Duration::from_mins(2), both)
        .await
        .unwrap();
}
