//! An application asks for a gateway beside it and gets it; who does not ask is left alone, also while no operator answers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::{Value, json};
use wsc_e2e::chart;
use wsc_e2e::client::{ChatClient, Who};
use wsc_e2e::gateway::{Gateway, held};
use wsc_e2e::namespace::{READY_WITHIN, with_temp_ns};
use wsc_e2e::resource::{sample, with};
use wsc_e2e::wait::{done_if, until};

use crate::operator_down::{kill_operator, scale_operator};

const SOON: Duration = Duration::from_secs(30);
/// The application's port on localhost.
const PORT: u16 = 7000;

#[tokio::test]
async fn an_application_gets_its_gateway_and_pods_that_do_not_ask_are_left_alone() -> Result<()> {
    let _operator = chart::operator_to_break().await;
    with_temp_ns("sidecar", async |cluster, namespace| {
        let gateway = Gateway::new(&cluster, &namespace, "chat").beside_the_application();
        refused_by_name(&gateway).await?;

        gateway.apply(&resource()).await?;
        gateway
            .await_condition("Ready", "True", READY_WITHIN)
            .await?;
        apply(&gateway, &workload(&gateway, "chat", 2)).await?;
        gateway.await_ready(2, READY_WITHIN).await?;
        gateway.await_mesh(2, READY_WITHIN).await?;
        hooks_answer_on_localhost(&gateway).await?;
        a_pod_leaves_as_one_of_its_own_would(&gateway).await?;

        let replicas = kill_operator(&cluster).await?;
        let left_alone = only_who_asks_needs_the_operator(&gateway).await;
        scale_operator(&cluster, replicas).await?;
        left_alone?;
        a_lost_certificate_is_made_anew(&gateway).await?;
        let name = "late";
        until("the webhook to answer again", READY_WITHIN, async || {
            let made = apply(&gateway, &pod(name, Some("chat"))).await;
            Ok(held(made.is_ok(), || format!("{made:?}")))
        })
        .await?;
        until("the late pod to be ready", READY_WITHIN, async || {
            let ready = gateway.ready_pods().await?;
            Ok(held(ready.iter().any(|pod| pod == name), || {
                format!("{ready:?}")
            }))
        })
        .await
    })
    .await
}

/// A gateway for applications, of which there may be several on a small machine.
fn resource() -> Value {
    let hook = json!({
        "name": "app", "points": ["connect", "message"], "timeout": "5s",
        "target": {"local": {"port": PORT, "path": "/hook"}},
    });
    let beside = json!({"spec": {"replicas": null, "mode": "Sidecar", "hooks": [hook]}});
    with(sample(1), &beside)
}

fn template(label: Option<&str>) -> Value {
    let mut labels = json!({"app": "app"});
    if let Some(gateway) = label {
        labels["wsc.dev/gateway"] = json!(gateway);
    }
    json!({
        "metadata": {"labels": labels},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "app",
                "image": "localhost/wsc-application:dev",
                "imagePullPolicy": "IfNotPresent",
                "args": [PORT.to_string()],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": true,
                },
            }],
        },
    })
}

fn pod(name: &str, label: Option<&str>) -> Value {
    let mut pod = template(label);
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!(name);
    pod
}

fn workload(gateway: &Gateway, label: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "app", "namespace": gateway.namespace()},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "app"}},
            "template": template(Some(label)),
        },
    })
}

async fn apply(gateway: &Gateway, object: &Value) -> Result<()> {
    let args = ["--namespace", gateway.namespace(), "apply", "-f", "-"];
    let text = object.to_string();
    gateway
        .cluster()
        .kubectl_with_input(&args, &text)
        .await
        .map(drop)
}

/// What making this pod is answered with.
async fn refusal(gateway: &Gateway, object: &Value) -> Result<String> {
    match apply(gateway, object).await {
        Ok(()) => anyhow::bail!("was made: {object}"),
        Err(refused) => Ok(format!("{refused:#}")),
    }
}

/// The API server has to have been told of the webhook's certificate; until then it refuses with another reason.
async fn refused_by_name(gateway: &Gateway) -> Result<()> {
    let asking = pod("asks-nobody", Some("nobody"));
    until("the missing gateway to be named", SOON, async || {
        let said = refusal(gateway, &asking).await?;
        let named = said.contains("WebSocketGateway nobody does not exist")
            && said.contains(gateway.namespace());
        Ok(held(named, || said))
    })
    .await?;
    apply(gateway, &pod("asks-for-nothing", None)).await?;
    ensure!(
        sidecars(gateway, "asks-for-nothing").await?.is_empty(),
        "a pod that asks for nothing got something"
    );
    Ok(())
}

/// The init containers of a pod.
async fn sidecars(gateway: &Gateway, name: &str) -> Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(gateway.client(), gateway.namespace());
    let spec = pods.get(name).await?.spec.context("a pod without a spec")?;
    let first = spec.init_containers.unwrap_or_default();
    Ok(first.into_iter().map(|container| container.name).collect())
}

/// Each pod is a gateway of the Service, and its hook is the application in it.
async fn hooks_answer_on_localhost(gateway: &Gateway) -> Result<()> {
    let pods = gateway.ready_pods().await?;
    // A Service hears of what is ready a moment later.
    until("the Service to lead to all of them", SOON, async || {
        let endpoints = gateway
            .kubectl(&[
                "get", "endpointslices", "--selector", "kubernetes.io/service-name=chat", "-o",
                "jsonpath={range .items[*].endpoints[*]}{.targetRef.name} {.conditions.ready}{\"\\n\"}{end}",
            ])
            .await?;
        let leads_to = |pod: &String| endpoints.contains(&format!("{pod} true"));
        Ok(held(pods.iter().all(leads_to), || endpoints.clone()))
    })
    .await?;
    for pod in &pods {
        ensure!(sidecars(gateway, pod).await? == ["wsc-gateway"], "{pod}");
        let user = format!("user-of-{pod}");
        let client = ChatClient::connect(gateway, Who::user(&user).at(pod)).await?;
        client.send(json!({"type": "whoami"})).await?;
        let answer = client
            .await_frame("the application's answer", SOON, |frame| {
                frame["type"] == "you"
            })
            .await?;
        ensure!(
            answer["content"] == user.as_str() && answer["data"]["pod"] == pod.as_str(),
            "not by the application of {pod}: {answer}"
        );
    }
    let [one, two] = &pods[..] else {
        anyhow::bail!("two pods are needed, there are {pods:?}")
    };
    let alice = ChatClient::connect(gateway, Who::user("alice").at(one)).await?;
    let bob = ChatClient::connect(gateway, Who::user("bob").at(two)).await?;
    alice.say("bob", "hi").await?;
    bob.await_text("alice", "hi", SOON).await?;
    until("the status to count both", SOON, async || {
        let status = gateway.get().await?.data["status"].clone();
        Ok(held(status["connections"] == 2, || status.to_string()))
    })
    .await
}

/// Clients are told to reconnect, and while they are, the application still answers.
async fn a_pod_leaves_as_one_of_its_own_would(gateway: &Gateway) -> Result<()> {
    let leaving = gateway.any_ready_pod().await?;
    let client = ChatClient::connect(gateway, Who::user("carol").at(&leaving)).await?;
    gateway
        .kubectl(&["delete", "pod", &leaving, "--wait=false"])
        .await?;
    let pods: Api<Pod> = Api::namespaced(gateway.client(), gateway.namespace());
    until("the gateway to drain", SOON, async || {
        let status = gateway.node_status(&leaving).await?;
        Ok(held(status["phase"] == "draining", || status.to_string()))
    })
    .await?;
    client.send(json!({"type": "whoami"})).await?;
    let answer = client
        .await_frame("an answer while the pod drains", SOON, |frame| {
            frame["type"] == "you"
        })
        .await?;
    ensure!(
        answer["data"]["pod"] == leaving.as_str(),
        "answered by another pod than the one that drains: {answer}"
    );
    client
        .await_frame("the word to reconnect", SOON, |frame| {
            frame["type"] == "reconnect"
        })
        .await?;
    let elsewhere = until("the client to be elsewhere", SOON, async || {
        let been = client.log().pods();
        let last = been.last().cloned().unwrap_or_default();
        Ok(done_if(last != leaving, last.clone(), || {
            format!("{been:?}")
        }))
    })
    .await?;
    let closed = client.log().closes().first().copied();
    ensure!(
        closed == Some(Some(1012)),
        "closed with {closed:?} before {elsewhere}"
    );
    until(
        "the pod to be gone before its time is over",
        SOON,
        async || {
            let found = pods.get_opt(&leaving).await?;
            Ok(held(found.is_none(), || "it is still there".to_owned()))
        },
    )
    .await?;
    let killed = gateway
        .kubectl(&[
            "get",
            "events",
            "--field-selector",
            &format!("involvedObject.name={leaving}"),
            "-o",
            "jsonpath={range .items[*]}{.reason} {.message}{\"\\n\"}{end}",
        ])
        .await?;
    ensure!(
        !killed.contains("FailedPreStopHook"),
        "a hook at the end of the pod failed: {killed}"
    );
    gateway.await_ready(2, READY_WITHIN).await.map(drop)
}

/// Without its Secret's content the operator makes another certificate, and the API server is told whom to believe.
async fn a_lost_certificate_is_made_anew(gateway: &Gateway) -> Result<()> {
    let configuration = format!("{}.{}", chart::RELEASE, chart::NAMESPACE);
    let told = async || {
        let bundle = "jsonpath={.webhooks[0].clientConfig.caBundle}";
        let name = configuration.as_str();
        let get = ["get", "mutatingwebhookconfiguration", name, "-o", bundle];
        gateway.cluster().kubectl(&get).await
    };
    let before = told().await?;
    ensure!(!before.is_empty(), "the API server was never told");
    let secret = format!("{}-injector", chart::RELEASE);
    let nothing = r#"{"data": null}"#;
    let empty = [
        "--namespace",
        chart::NAMESPACE,
        "patch",
        "secret",
        &secret,
        "--type=merge",
        "-p",
        nothing,
    ];
    gateway.cluster().kubectl(&empty).await?;
    until("the API server to be told anew", READY_WITHIN, async || {
        let now = told().await?;
        Ok(held(now != before, || {
            "the bundle is what it was".to_owned()
        }))
    })
    .await
}

async fn only_who_asks_needs_the_operator(gateway: &Gateway) -> Result<()> {
    apply(gateway, &pod("without-an-operator", None)).await?;
    ensure!(sidecars(gateway, "without-an-operator").await?.is_empty());
    // A killed operator may still answer for a moment; nothing is made by asking.
    let asking = pod("with-one", Some("chat")).to_string();
    let namespace = ["--namespace", gateway.namespace()];
    let ask = [&namespace[..], &["create", "--dry-run=server", "-f", "-"]].concat();
    until("a pod that asks to be refused", SOON, async || {
        let answer = gateway.cluster().kubectl_with_input(&ask, &asking).await;
        let said = answer.map_or_else(
            |refused| format!("{refused:#}"),
            |_| "it was not".to_owned(),
        );
        Ok(held(said.contains("inject.wsc.dev"), || said))
    })
    .await?;
    let pods = gateway.ready_pods().await?;
    ensure!(pods.len() == 2, "gateways went with the operator: {pods:?}");
    let dave = ChatClient::connect(gateway, Who::user("dave")).await?;
    dave.send(json!({"type": "whoami"})).await?;
    dave.await_frame("an answer without an operator", SOON, |frame| {
        frame["type"] == "you"
    })
    .await
    .map(drop)
}
