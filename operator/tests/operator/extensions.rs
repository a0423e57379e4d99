//! Objects of extensions: made where the cluster has their kinds, named where it has not.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
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

type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// An API server with nothing in it, and what it does about the kinds of Gateway API. Watches never tell anything; those of
/// a kind that goes end.
#[derive(Clone, Default)]
struct Empty {
    has_routes: Arc<AtomicBool>,
    /// Routes may be listed, and not watched.
    hides_changes: Arc<AtomicBool>,
    lists: Arc<AtomicUsize>,
}

impl Empty {
    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = server.answer(&request.uri().to_string());
            async move { Ok::<_, Infallible>(answer) }
        });
        Client::new(service, "default")
    }

    fn answer(&self, uri: &str) -> Response<Answer> {
        let is_route = uri.contains("gateway.networking.k8s.io");
        let is_watch = uri.contains("watch=true");
        if is_route && !self.has_routes.load(Ordering::SeqCst) {
            return refusal(StatusCode::NOT_FOUND, "NotFound");
        }
        if is_route && is_watch && self.hides_changes.load(Ordering::SeqCst) {
            return refusal(StatusCode::FORBIDDEN, "Forbidden");
        }
        if is_watch {
            let has_routes = Arc::clone(&self.has_routes);
            let until_gone = stream::once(async move {
                while !is_route || has_routes.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            });
            let nothing =
                until_gone.filter_map(|()| async { None::<Result<Frame<Bytes>, Infallible>> });
            return Response::new(StreamBody::new(nothing).boxed_unsync());
        }
        if is_route {
            self.lists.fetch_add(1, Ordering::SeqCst);
        }
        let list = json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []});
        Response::new(whole(&list))
    }
}

fn refusal(code: StatusCode, reason: &str) -> Response<Answer> {
    let status = json!({
        "kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": reason, "message": "as the test wants",
    });
    let mut response = Response::new(whole(&status));
    *response.status_mut() = code;
    response
}

fn whole(body: &Value) -> Answer {
    Full::new(Bytes::from(body.to_string())).boxed_unsync()
}

/// The watches of an operator before it.
struct Watching {
    stores: Stores,
    told: mpsc::Receiver<Concern>,
    token: CancellationToken,
    tracker: TaskTracker,
}

impl Watching {
    fn start(server: &Empty) -> Self {
        let (concerns, told) = mpsc::channel(64);
        let token = CancellationToken::new();
        let heard = Concerns::default();
        heard.heard_by(concerns);
        let watches = Watches {
            client: server.client(),
            scope: Scope::All,
            concerns: heard,
            metrics: Arc::new(Metrics::default()),
            token: token.clone(),
        };
        let (stores, tracker) = (Stores::default(), TaskTracker::new());
        watches.start_pods(&stores, &tracker);
        watches.start(&stores, &tracker);
        Self {
            stores,
            told,
            token,
            tracker,
        }
    }

    async fn stop(self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_missing_holds_nothing_up_and_is_found_when_it_comes() {
    let server = Empty::default();
    let mut watching = Watching::start(&server);
    watching.stores.ready().await.unwrap();
    assert!(!watching.stores.served().contains(&Kind::HttpRoute));
    assert!(watching.stores.served().contains(&Kind::Deployment));

    // The CRDs come, are deleted, and with them every object, and come again.
    for has_routes in [true, false, true] {
        server.has_routes.store(has_routes, Ordering::SeqCst);
        served(&mut watching, has_routes).await;
    }
    watching.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_be_listed_and_not_watched_is_done_without_and_found_when_it_may() {
    let server = Empty::default();
    server.has_routes.store(true, Ordering::SeqCst);
    server.hides_changes.store(true, Ordering::SeqCst);
    let mut watching = Watching::start(&server);
    watching.stores.ready().await.unwrap();
    let mut served_of_late = Vec::new();
    // On a clock that jumps: many looks.
    for _ in 0..240 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        served_of_late.push(watching.stores.served().contains(&Kind::HttpRoute));
    }
    assert!(server.lists.load(Ordering::SeqCst) > 20, "it is looked for");
    assert!(!served_of_late.contains(&true), "it came and went");
    // Once for each of the two.
    let mut told = 0;
    while watching.told.try_recv().is_ok() {
        told += 1;
    }
    assert_eq!(told, 2);

    server.hides_changes.store(false, Ordering::SeqCst);
    served(&mut watching, true).await;
    watching.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_watched_is_kept_current_when_nobody_hears_of_it_any_more() {
    let server = Empty::default();
    let Watching {
        stores,
        told,
        token,
        tracker,
    } = Watching::start(&server);
    stores.ready().await.unwrap();
    // The controller has ended; the metrics API is asked for a while longer.
    drop(told);
    for has_routes in [true, false, true] {
        server.has_routes.store(has_routes, Ordering::SeqCst);
        let seen = async {
            while stores.served().contains(&Kind::HttpRoute) != has_routes {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(2), seen)
            .await
            .unwrap();
    }
    token.cancel();
    tracker.close();
    tracker.wait().await;
}

/// Waits until routes are served, or no longer, as everybody is told.
async fn served(watching: &mut Watching, wanted: bool) {
    let Watching { stores, told, .. } = watching;
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
