//! The webhook of real operators, called as the API server calls it: by the bundle in the configuration. When it is ready,
//! what an emptied Secret costs, and what its end costs.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;

use crate::failpoints::WITHIN;
use crate::ground::{Ground, eventually};
use crate::operator::Operator;
use crate::plane::free_ports;
use crate::proxy::Proxy;
use crate::trust::believing;

const SERVICE: &str = "wsc-operator-injector";

/// How far an API server may be behind what was written.
const BEHIND: Duration = Duration::from_secs(1);

/// An operator, and the port of its webhook.
struct Replica {
    operator: Operator,
    port: u16,
}

/// What the chart makes of it; the configuration is called as the namespace.
struct Chart {
    ground: Ground,
    secrets: Api<Secret>,
    configurations: Api<MutatingWebhookConfiguration>,
}

impl Chart {
    async fn new(namespace: &str) -> Self {
        let ground = Ground::new(namespace).await;
        let secrets: Api<Secret> = Api::namespaced(ground.client.clone(), namespace);
        let secret = json!({"metadata": {"name": SERVICE}});
        let secret = serde_json::from_value(secret).unwrap();
        let made = secrets.create(&PostParams::default(), &secret).await;
        made.unwrap();
        Self {
            configurations: Api::all(ground.client.clone()),
            ground,
            secrets,
        }
    }

    async fn configure(&self) {
        let namespace = &self.ground.namespace;
        let configuration = json!({
            "metadata": {"name": namespace},
            "webhooks": [{
                "name": "inject.wsc.dev", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": {"service": {"namespace": namespace, "name": SERVICE, "path": "/inject"}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            }],
        });
        let configuration = serde_json::from_value(configuration).unwrap();
        let params = PostParams::default();
        let made = self.configurations.create(&params, &configuration).await;
        made.unwrap();
    }

    async fn start(&self, name: &str) -> Replica {
        let [port] = free_ports();
        let proxy = Proxy::new(self.ground.client.clone()).await;
        let given = port.to_string();
        let flags = [
            "--leader-election",
            "--injector-service",
            SERVICE,
            "--injector-configuration",
            &self.ground.namespace,
            "--injector-port",
            &given,
        ];
        let operator = Operator::behind(proxy, &self.ground, name, &flags);
        Replica { operator, port }
    }

    /// Whom the API server believes now.
    async fn bundle(&self) -> String {
        let configuration = self.configurations.get(&self.ground.namespace).await;
        let webhooks = configuration.unwrap().webhooks.unwrap();
        let bundle = webhooks[0].client_config.ca_bundle.clone().unwrap();
        String::from_utf8(bundle.0).unwrap()
    }

    /// Calls a replica as an API server that goes by this bundle.
    async fn dial(&self, replica: &Replica, bundle: &str) -> Result<Called, String> {
        let config = believing(bundle).with_no_client_auth();
        let name = format!("{SERVICE}.{}.svc", self.ground.namespace);
        let name = ServerName::try_from(name).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", replica.port)).await;
        let socket = socket.map_err(|error| error.to_string())?;
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, socket);
        let stream = connecting.await.map_err(|error| error.to_string())?;
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        TaskTracker::new().spawn(connection);
        Ok(Called {
            shown: shown.into_owned(),
            sender,
        })
    }

    /// What it shows to an API server that goes by this bundle, once it has answered.
    async fn asked(&self, replica: &Replica, bundle: &str) -> CertificateDer<'static> {
        let called = self.dial(replica, bundle).await;
        let mut called = called.unwrap_or_else(|error| panic!("a pod is refused: {error}"));
        called.ask().await;
        called.shown
    }
}

/// A connection to a replica.
struct Called {
    shown: CertificateDer<'static>,
    sender: SendRequest<Full<Bytes>>,
}

impl Called {
    /// Has a pod reviewed that asks for nothing; whether the connection ends with it.
    async fn ask(&mut self) -> bool {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "1", "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "operation": "CREATE", "namespace": "default", "userInfo": {},
                "object": {"metadata": {"name": "a"}, "spec": {"containers": []}},
            },
        });
        let request = http::Request::post("/inject")
            .header("host", "webhook")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(review.to_string())))
            .unwrap();
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let ends = response
            .headers()
            .get("connection")
            .is_some_and(|value| value == "close");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["response"]["allowed"], true, "{answer}");
        ends
    }
}

impl Replica {
    async fn is_ready(&self) {
        eventually(WITHIN, "it is ready", async || {
            let (code, _) = self.operator.readiness().await?;
            (code == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_webhook_is_ready_when_the_api_server_believes_it_and_not_before() {
    let chart = Chart::new("webhook-told").await;
    let replica = chart.start("only").await;
    let why = eventually(WITHIN, "it has a certificate", async || {
        let (code, why) = replica.operator.readiness().await?;
        (code == 503 && why.contains("whom to believe")).then_some(why)
    })
    .await;
    assert!(why.contains("webhook"), "{why}");
    chart.configure().await;
    replica.is_ready().await;
    chart.asked(&replica, &chart.bundle().await).await;
}

#[tokio::test]
async fn an_emptied_secret_is_filled_anew_and_no_pod_is_refused_meanwhile() {
    let chart = Chart::new("webhook-emptied").await;
    chart.configure().await;
    let replicas = [chart.start("one").await, chart.start("other").await];
    for replica in &replicas {
        replica.is_ready().await;
    }
    let old = chart.bundle().await;
    let before = chart.asked(&replicas[0], &old).await;
    let emptied = Patch::Merge(json!({"data": null}));
    let params = PatchParams::default();
    chart
        .secrets
        .patch(SERVICE, &params, &emptied)
        .await
        .unwrap();
    let began = Instant::now();
    let mut behind = (began, old.clone());
    // Before a look would have found it: who waits for one is later.
    let deadline = began + Duration::from_secs(25);
    loop {
        let now = chart.bundle().await;
        let mut renewed = 0;
        for replica in &replicas {
            // Both an API server that has heard of everything and one that has not yet.
            let shown = chart.asked(replica, &now).await;
            chart.asked(replica, &behind.1).await;
            renewed += usize::from(shown != before);
        }
        if renewed == replicas.len() {
            break;
        }
        assert!(Instant::now() < deadline, "{renewed} show another one");
        if behind.0.elapsed() > BEHIND {
            behind = (Instant::now(), now);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("emptied: both show another one after {:?}", began.elapsed());
    assert!(
        chart.bundle().await.contains(old.trim()),
        "the old one went"
    );
}

#[tokio::test]
async fn one_that_is_told_to_stop_is_unready_at_once_and_goes_on_answering_until_that_has_spread() {
    let chart = Chart::new("webhook-stopped").await;
    chart.configure().await;
    let mut replica = chart.start("only").await;
    replica.is_ready().await;
    let bundle = chart.bundle().await;
    let mut kept = chart.dial(&replica, &bundle).await.unwrap();
    assert!(!kept.ask().await);
    replica.operator.signal("-TERM");
    let told = Instant::now();
    let (_, why) = eventually(Duration::from_secs(2), "it is unready", async || {
        let said = replica.operator.readiness().await?;
        (said.0 == 503).then_some(said)
    })
    .await;
    assert!(why.contains("stopping"), "{why}");
    assert!(kept.ask().await, "who keeps a connection is not told");
    while told.elapsed() < Duration::from_secs(8) {
        chart.asked(&replica, &bundle).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let status = loop {
        if let Some(status) = replica.operator.ended() {
            break status;
        }
        // The grace period of its pod is thirty seconds.
        assert!(told.elapsed() < Duration::from_secs(20), "it goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(status.success(), "{status}");
}
