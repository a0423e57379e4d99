//! What a kubelet and the controllers of Deployments would do, as far as an operator sees it: pods of the gateway, what is said
//! of their containers, and the gateway's admin port behind a pod's address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::ground::Ground;

/// The port that gateways are asked at.
const ADMIN_PORT: u16 = 9100;

/// A pod of the gateway `chat`, made of its Deployment's template.
pub struct Kubelet {
    pods: Api<Pod>,
    name: &'static str,
}

impl Kubelet {
    pub async fn runs(ground: &Ground, name: &'static str) -> Self {
        let deployments: Api<Deployment> =
            Api::namespaced(ground.client.clone(), &ground.namespace);
        let spec = deployments.get("chat").await.unwrap().spec.unwrap();
        let template = serde_json::to_value(spec.template).unwrap();
        let mut pod = json!({"metadata": template["metadata"], "spec": template["spec"]});
        pod["metadata"]["name"] = json!(name);
        let pods: Api<Pod> = Api::namespaced(ground.client.clone(), &ground.namespace);
        let pod = serde_json::from_value(pod).unwrap();
        pods.create(&PostParams::default(), &pod).await.unwrap();
        Self { pods, name }
    }

    async fn says(&self, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        let params = PatchParams::default();
        self.pods
            .patch_status(self.name, &params, &patch)
            .await
            .unwrap();
    }

    /// It waits, for this reason.
    pub async fn waits(&self, reason: &str, image: &str) {
        let waiting =
            json!({"reason": reason, "message": format!("Back-off pulling image {image}")});
        let container = json!({
            "name": "gateway", "image": image, "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": waiting},
        });
        self.says(json!({"phase": "Pending", "containerStatuses": [container]}))
            .await;
    }

    /// It runs and is ready, and is asked at this address.
    pub async fn is_ready(&self, address: &str) {
        let container = json!({
            "name": "gateway", "image": "gateway", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        });
        self.says(json!({
            "phase": "Running", "containerStatuses": [container],
            "conditions": [{"type": "Ready", "status": "True"}],
            "podIP": address, "podIPs": [{"ip": address}],
        }))
        .await;
    }
}

/// The admin port of a gateway that says whether it reaches Redis.
pub struct Gateway {
    reaches: Arc<AtomicBool>,
    _serving: AbortOnDropHandle<()>,
}

impl Gateway {
    pub async fn at(address: &str) -> Self {
        let reaches = Arc::new(AtomicBool::new(true));
        let address: SocketAddr = format!("{address}:{ADMIN_PORT}").parse().unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let status = |State(reaches): State<Arc<AtomicBool>>| async move {
            let redis = if reaches.load(Ordering::SeqCst) {
                "up"
            } else {
                "down"
            };
            Json(json!({"connections": 3, "phase": "serving", "redis": redis}))
        };
        let router = Router::new()
            .route("/status", get(status))
            .with_state(Arc::clone(&reaches));
        let serving = TaskTracker::new().spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            reaches,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// Whether it reaches Redis from now on.
    pub fn reaches_redis(&self, reaches: bool) {
        self.reaches.store(reaches, Ordering::SeqCst);
    }
}
