//! What is put into a pod that asks for a gateway: `fixtures/inject/NAME.in.yaml` holds the resource and the pod,
//! `NAME.out.yaml` the JSON patch, or why the pod is refused. And the webhook's answers, over HTTP.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::{StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use json_patch::Patch;
use k8s_openapi::api::core::v1::PodTemplate;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt;
use wsc_operator::inject::{Pod, Refusal, Reviewer, patch, router};
use wsc_operator::metrics::Metrics;
use wsc_operator::owned::Kind;

use crate::cel::admit;
use crate::fake::Fake;
use crate::golden::{compare, fixtures};
use crate::pipeline::desired;
use crate::reconcile::CHAT;

const TEMPLATE: &str = "/api/v1/namespaces/default/podtemplates/chat";

fn inputs() -> Vec<PathBuf> {
    fixtures("fixtures/inject", 7)
}

/// The pod of a fixture, and what the operator makes of its resource.
fn parts(input: &Path) -> (Value, PodTemplate) {
    let text = std::fs::read_to_string(input).unwrap();
    let (gateway, pod) = text.split_once("\n---\n").unwrap();
    let gateway = admit(serde_saphyr::from_str(gateway).unwrap());
    let built = desired(gateway, &[], Kind::ALL.into()).unwrap();
    let mut objects = built.objects.iter();
    let template = objects
        .find(|object| object.kind == Kind::PodTemplate)
        .unwrap();
    let template = serde_json::from_value(template.body.clone()).unwrap();
    (serde_saphyr::from_str(pod).unwrap(), template)
}

fn patched(pod: &Value, template: &PodTemplate) -> Result<Patch, Refusal> {
    let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
    patch(&pod, template)
}

#[test]
fn every_pod_gets_the_patch_in_its_golden_file() {
    compare(inputs(), "injected", |input| {
        let (pod, template) = parts(input);
        match patched(&pod, &template) {
            Ok(patch) => serde_saphyr::to_string(&patch).unwrap(),
            Err(refusal) => format!("# {refusal}\n"),
        }
    });
}

#[test]
fn a_pod_that_has_its_gateway_gets_nothing_more_whatever_others_added_meanwhile() {
    let mut seen = 0;
    for input in inputs() {
        let (mut pod, template) = parts(&input);
        let Ok(first) = patched(&pod, &template) else {
            continue;
        };
        json_patch::patch(&mut pod, &first).unwrap();
        assert_eq!(patched(&pod, &template).unwrap().0, [], "{input:?}");
        // As other webhooks do, between this one and its second time.
        let theirs = json!({"name": "other", "image": "example/other"});
        pod["spec"]["initContainers"]
            .as_array_mut()
            .unwrap()
            .insert(0, theirs);
        let sidecar = pod["spec"]["initContainers"]
            .as_array_mut()
            .unwrap()
            .last_mut()
            .unwrap();
        sidecar["env"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "THEIRS", "value": "1"}));
        assert_eq!(patched(&pod, &template).unwrap().0, [], "{input:?}");
        seen += 1;
    }
    assert!(seen >= 3, "only {seen} pods get a gateway");
}

#[test]
fn the_gateway_is_a_sidecar_within_restricted_that_sees_no_token_of_the_application() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inject");
    let (mut pod, template) = parts(&fixtures.join("beside-others.in.yaml"));
    let first = patched(&pod, &template).unwrap();
    json_patch::patch(&mut pod, &first).unwrap();
    let sidecar = pod["spec"]["initContainers"]
        .as_array()
        .unwrap()
        .last()
        .unwrap();
    assert_eq!(sidecar["name"], "wsc-gateway");
    assert_eq!(sidecar["restartPolicy"], "Always");
    // https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, whatever the pod says.
    let security = &sidecar["securityContext"];
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(security["runAsNonRoot"], true);
    assert_eq!(security["runAsUser"], 65_532);
    assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
    let mounts = sidecar["volumeMounts"].as_array().unwrap();
    let over = mounts
        .iter()
        .find(|mount| mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount")
        .unwrap();
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let nothing = volumes
        .iter()
        .find(|volume| volume["name"] == over["name"])
        .unwrap();
    assert_eq!(nothing["emptyDir"], json!({}));
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 100);
    let held = |index: usize| &pod["spec"]["containers"][index]["lifecycle"]["preStop"];
    assert_eq!(held(0)["httpGet"]["path"], "/drained");
    assert_eq!(held(1)["httpGet"]["port"], 9100);
    assert_eq!(held(2)["exec"]["command"], json!(["say-goodbye"]));
}

fn webhook(fake: &Fake) -> Router {
    router(Reviewer::new(fake.client(), Arc::new(Metrics::default())))
}

async fn sent(webhook: &Router, body: Body) -> Response<Body> {
    let request = Request::post("/inject").header("content-type", "application/json");
    let request = request.body(body).unwrap();
    webhook.clone().oneshot(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// What the API server is told about a pod.
async fn answered(fake: &Fake, pod: Value) -> Value {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "0001", "operation": "CREATE", "namespace": "default", "userInfo": {},
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "object": pod, "oldObject": null, "dryRun": false,
        },
    });
    let response = sent(&webhook(fake), Body::from(review.to_string())).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["response"]["uid"], "0001");
    answer["response"].clone()
}

fn asking(label: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "app-", "labels": {"wsc.dev/gateway": label}},
        "spec": {"containers": [{"name": "app", "image": "example/app"}]},
    })
}

fn gateway(spec: Value) -> Value {
    let resource = json!({
        "apiVersion": "wsc.dev/v1alpha1", "kind": "WebSocketGateway",
        "metadata": {"name": "chat", "namespace": "default", "uid": crate::pipeline::UID},
        "spec": spec,
    });
    serde_json::to_value(admit(resource)).unwrap()
}

fn sidecar() -> Value {
    gateway(json!({"mode": "Sidecar", "wsc": {"distributed": {"enabled": true}}}))
}

async fn refused(fake: &Fake, pod: Value) -> String {
    let answer = answered(fake, pod).await;
    assert_eq!(answer["allowed"], false, "{answer}");
    assert_eq!(answer.get("patch"), None);
    answer["status"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn who_asks_gets_a_patch_and_who_does_not_is_let_through() {
    let fake = Fake::default();
    let built = desired(
        serde_json::from_value(sidecar()).unwrap(),
        &[],
        Kind::ALL.into(),
    )
    .unwrap();
    let template = built
        .objects
        .iter()
        .find(|object| object.kind == Kind::PodTemplate);
    fake.put(TEMPLATE, template.unwrap().body.clone());
    let answer = answered(&fake, asking("chat")).await;
    assert_eq!(answer["allowed"], true, "{answer}");
    assert_eq!(answer["patchType"], "JSONPatch");
    // Bytes as numbers: Go reads them as well as base64.
    let patch: Vec<u8> = serde_json::from_value(answer["patch"].clone()).unwrap();
    let patch: Patch = serde_json::from_slice(&patch).unwrap();
    let mut pod = asking("chat");
    json_patch::patch(&mut pod, &patch).unwrap();
    assert_eq!(pod["spec"]["initContainers"][0]["name"], "wsc-gateway");
    assert_eq!(pod["metadata"]["labels"]["wsc.dev/injected"], "true");

    fake.take_seen();
    let mut without = asking("chat");
    without["metadata"]["labels"] = json!({"app": "app"});
    let mut ours = asking("chat");
    ours["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("wsc-operator");
    for pod in [without, ours] {
        let answer = answered(&fake, pod).await;
        assert_eq!(
            (&answer["allowed"], answer.get("patch")),
            (&json!(true), None)
        );
    }
    assert!(
        fake.take_seen().is_empty(),
        "asked for a pod that asks for nothing"
    );
}

#[tokio::test]
async fn a_pod_whose_gateway_cannot_be_injected_is_refused_by_name() {
    let fake = Fake::default();
    let missing = refused(&fake, asking("chat")).await;
    assert!(
        missing.contains("WebSocketGateway chat does not exist in namespace default"),
        "{missing}"
    );
    fake.take_seen();
    let path = refused(&fake, asking("../secrets/chat-auth")).await;
    assert!(path.contains("../secrets/chat-auth"), "{path}");
    assert!(fake.take_seen().is_empty(), "a label became part of a path");

    fake.put(CHAT, gateway(json!({})));
    let standalone = refused(&fake, asking("chat")).await;
    assert!(standalone.contains("spec.mode"), "{standalone}");

    fake.put(CHAT, sidecar());
    let early = refused(&fake, asking("chat")).await;
    assert!(early.contains("has not made it yet"), "{early}");
    fake.edit(CHAT, |chat| {
        chat["status"] = json!({"conditions": [{
            "type": "Accepted", "status": "False", "reason": "SecretMissing",
            "message": "Secret ours does not exist", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]});
    });
    let rejected = refused(&fake, asking("chat")).await;
    assert!(
        rejected.contains("Secret ours does not exist"),
        "{rejected}"
    );

    let theirs = json!({
        "apiVersion": "v1", "kind": "PodTemplate",
        "metadata": {"name": "chat", "namespace": "default"},
        "template": {"spec": {"containers": [{"name": "theirs"}]}},
    });
    fake.put(TEMPLATE, theirs);
    let foreign = refused(&fake, asking("chat")).await;
    assert!(foreign.contains("does not belong"), "{foreign}");
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_refuses_who_asks() {
    let fake = Fake::default();
    fake.fail("GET podtemplates/chat", 500);
    let failed = refused(&fake, asking("chat")).await;
    assert!(failed.contains("PodTemplate default/chat"), "{failed}");
}

/// A body that begins and goes on when it likes.
fn never_ending() -> Body {
    let begin = stream::iter([Ok::<_, Infallible>("{")]);
    Body::from_stream(begin.chain(stream::pending()))
}

#[tokio::test(start_paused = true)]
async fn slow_reviews_have_seconds_and_keep_one_who_comes_after_them_waiting_no_longer() {
    let fake = Fake::default();
    let webhook = webhook(&fake);
    let began = Instant::now();
    let slow = (0..4).map(|_| sent(&webhook, never_ending()));
    let slow = futures_util::future::join_all(slow);
    let late = async {
        // When all four have their turns.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let answer = sent(&webhook, Body::from("{}")).await;
        (answer, began.elapsed())
    };
    let (slow, (late, waited)) = tokio::join!(slow, late);
    assert_eq!(late.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(late.headers()["retry-after"], "1");
    assert!(
        text(late)
            .await
            .contains("too many pods are being reviewed")
    );
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    for answer in slow {
        assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
        assert!(text(answer).await.contains("within 5 seconds"));
    }
    assert!(began.elapsed() < Duration::from_secs(6));
    // Their places are free again.
    let next = sent(&webhook, Body::from("{}")).await;
    assert_eq!(next.status(), StatusCode::BAD_REQUEST);
    assert!(text(next).await.contains("request"));
}

#[tokio::test]
async fn a_review_that_would_fill_the_memory_is_refused_before_it_does() {
    let fake = Fake::default();
    let webhook = webhook(&fake);
    let huge = sent(&webhook, Body::from(vec![b' '; 4 * 1024 * 1024 + 1])).await;
    assert_eq!(huge.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // As whole containers, each of these would be more than a kilobyte.
    let containers = vec![json!({"name": ""}); 300_000];
    let review = json!({"request": {"uid": "1", "object": {"spec": {"containers": containers}}}});
    let many = sent(&webhook, Body::from(review.to_string())).await;
    assert_eq!(many.status(), StatusCode::BAD_REQUEST);
    let said = text(many).await;
    assert!(said.contains("at most 4096"), "{said}");
    assert!(fake.take_seen().is_empty());
}
