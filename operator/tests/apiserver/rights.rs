//! Rights that are lost while the operator runs: it is named which, and whatever can be served is. The webhook is called by
//! the API server itself, as for any pod.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Pod, PodTemplate, Secret, Service, ServiceAccount};
use kube::Api;
use kube::api::PostParams;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::failpoints::WITHIN;
use crate::ground::{Ground, eventually};
use crate::operator::Operator;
use crate::plane::free_ports;
use crate::proxy::{Deed, Proxy};

const SERVICE: &str = "hook";

/// A watch that is refused is tried again after ten seconds and a fifth at most.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

async fn create<K>(api: Api<K>, body: Value) -> kube::Result<K>
where
    K: Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    let object = serde_json::from_value(body).unwrap();
    api.create(&PostParams::default(), &object).await
}

/// What the chart and the namespace's controller make, with a Service that leads to this machine.
async fn prepare(ground: &Ground, port: u16) {
    let (client, namespace) = (&ground.client, ground.namespace.as_str());
    let secret = json!({"metadata": {"name": SERVICE}, "type": "Opaque"});
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    create(secrets, secret).await.unwrap();
    let account = json!({"metadata": {"name": "default"}});
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    create(accounts, account).await.unwrap();
    let service = json!({
        "metadata": {"name": SERVICE},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    });
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    create(services, service).await.unwrap();
    let webhook = json!({
        "metadata": {"name": namespace},
        "webhooks": [{
            "name": "inject.wsc.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "timeoutSeconds": 5,
            "clientConfig": {"service": {"name": SERVICE, "namespace": namespace, "path": "/inject", "port": port}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "objectSelector": {"matchExpressions": [{"key": "wsc.dev/gateway", "operator": "Exists"}]},
        }],
    });
    let webhooks: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    create(webhooks, webhook).await.unwrap();
}

/// The init containers of a pod of an application that asks for a gateway.
async fn injected(ground: &Ground, name: &str) -> kube::Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(ground.client.clone(), &ground.namespace);
    let pod = json!({
        "metadata": {"name": name, "labels": {"wsc.dev/gateway": "chat"}},
        "spec": {"containers": [{"name": "application", "image": "application:1"}]},
    });
    let made = create(pods, pod).await?;
    let containers = made.spec.unwrap().init_containers.unwrap_or_default();
    Ok(containers.into_iter().map(|one| one.name).collect())
}

async fn condition(ground: &Ground, kind: &str) -> Option<(String, String)> {
    let found = ground.gateways().get("chat").await.ok()?;
    let mut all = found.status?.conditions.into_iter();
    let found = all.find(|one| one.type_ == kind)?;
    Some((found.reason, found.message))
}

#[tokio::test]
async fn pods_get_their_gateway_while_the_operator_lacks_rights_and_is_named_which() {
    let ground = Ground::new("rights").await;
    let [port] = free_ports();
    prepare(&ground, port).await;
    let spec = json!({"mode": "Sidecar", "wsc": {"distributed": {"enabled": true}}});
    ground.apply("chat", &spec).await;
    let proxy = Proxy::new(ground.client.clone()).await;
    let flags = [
        "--injector-service",
        SERVICE,
        "--injector-configuration",
        "rights",
    ];
    let port = port.to_string();
    let flags = [&flags[..], &["--injector-port", &port]].concat();
    let operator = Operator::behind(proxy, &ground, "operator", &flags);
    eventually(WITHIN, "it is ready", async || {
        (operator.readiness().await? == (200, "ok".to_owned())).then_some(())
    })
    .await;
    let templates: Api<PodTemplate> = Api::namespaced(ground.client.clone(), &ground.namespace);
    eventually(WITHIN, "the template is there", async || {
        templates.get("chat").await.ok()
    })
    .await;
    eventually(WITHIN, "the API server believes the webhook", async || {
        injected(&ground, "before").await.ok()
    })
    .await;

    operator.proxy.plan(|call| {
        let is_lost =
            call.path.ends_with("/deployments") || call.path.ends_with("/websocketgateways");
        if is_lost {
            Deed::Refuse(403, None)
        } else {
            Deed::Pass
        }
    });
    operator.proxy.cut_all();
    eventually(TOLD_WITHIN, "the rights are counted", async || {
        (operator.metric("wsc_operator_missing_rights").await == 2).then_some(())
    })
    .await;
    // Rights are missed one after the other, and it says so of each.
    eventually(TOLD_WITHIN, "the status names both", async || {
        let (reason, told) = condition(&ground, "Degraded").await?;
        let both = "deployments.apps, list and watch websocketgateways.wsc.dev any more";
        (reason == "NotPermitted" && told.contains(both)).then_some(())
    })
    .await;
    let (code, words) = operator.readiness().await.unwrap();
    assert_eq!(code, 200, "{words}");
    assert_eq!(
        words,
        "ok, but the operator may not list and watch deployments.apps, websocketgateways.wsc.dev"
    );
    assert_eq!(
        injected(&ground, "meanwhile").await.unwrap(),
        ["wsc-gateway"]
    );
    assert!(operator.said().contains("lacks a right"), "the log says so");

    operator.proxy.plan(|_| Deed::Pass);
    // One that goes on where it was says nothing until something changes: time tells.
    eventually(Duration::from_secs(60), "nothing is missing", async || {
        (operator.readiness().await? == (200, "ok".to_owned())).then_some(())
    })
    .await;
    assert_eq!(operator.metric("wsc_operator_missing_rights").await, 0);
}
